"""What the scoreboard says of each claim and world, in words and in the order of its table."""

from __future__ import annotations

from collections import Counter
from typing import Any

from dip_book.claims import ANY, VERDICTS
from dip_book.pilots import FEW
from dip_lib.errors import one_of

SIGNS = dict(zip(VERDICTS, "✓✗≈~?○=", strict=True))
WORLDS = {"embedded": "Glyph World", "photos": "Photo World", "paper": "Real CLIP"}
EVERY = "Every world"
"""What stands for a world's name where a count is said once for all."""
OPEN = ("inconclusive", "cannot judge")
"""Verdicts that need a reason."""
Row = dict[str, Any]
SKEWED = 1.0
"""Units more skewed than that have an interval that holds the truth less often than it promises."""
KINDS = {
    "primary": "Primary claims: corrected for each other (Holm)",
    "exploratory": "Exploratory claims: not corrected",
    "construction": "By construction: a count that no measurement could refute, and no evidence",
}
"""The parts of the table, in its order."""


def prose(text: str) -> str:
    """The text with typographic signs (minus, at least) in place of ASCII."""
    return text.replace(">=", "≥").replace("<=", "≤").replace("==", "=")


def numbers(*values: float) -> list[str]:
    """The values with the same digits after the point: none for counts, three below 1, else two."""
    if all(float(value).is_integer() for value in values):
        return [f"{value:,.0f}" for value in values]
    digits = 3 if max(map(abs, values)) < 1 else 2
    return [f"{value:.{digits}f}" for value in values]


def cell(world: str, judged: Row | None) -> Row:
    """What the table says of a claim in one world; without a verdict, that the world has none."""
    named = {"world": world, "name": WORLDS.get(world, EVERY)}
    if judged is None:
        return named | {"verdict": ""}
    n, half = judged["n"], judged["half_width"]
    measured = _measured(judged)
    value, *ends = numbers(*measured) if measured else ("",)
    few = half is not None and n is not None and n <= FEW
    units = [numbers(*measured, half)[-1], n] if few else []
    said = {"verdict": judged["verdict"], "value": value, "ends": ends, "few": units}
    return named | said | {"tested": tested(judged)}


def _measured(judged: Row) -> tuple[float, ...]:
    return () if judged["value"] is None else (judged["value"], *(judged["interval"] or ()))


def value_of(judged: Row) -> str:
    """The value with its interval: "0.18 [-1.02, 1.40]"; "" of what was not measured."""
    value, *ends = numbers(*_measured(judged)) if _measured(judged) else ("",)
    return f"{value} [{', '.join(ends)}]" if ends else value


def chance(p: float) -> str:
    """A p-value: "0.012", "< 0.001"."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def tested(judged: Row) -> str:
    """The p-values of a primary claim, as its cell shows them, and a marked skew; "" for others."""
    if judged["holm"] is None:
        return ""
    raw, corrected, signs = (chance(judged[name]) for name in ("p", "holm", "sign_flip"))
    skewed = f"; skew {judged['skew']:.1f}" if abs(judged["skew"]) > SKEWED else ""
    return f"p {raw}, corrected {corrected}, by signs {signs}{skewed}"


def told(judged: Row) -> str:
    """What a world's cell leaves out: detail, p-values, skew, and the ends over these datasets."""
    parts = [judged["detail"]]
    if judged["p"] is not None and judged["holm"] is None:
        raw, signs = chance(judged["p"]), chance(judged["sign_flip"])
        parts.append(f"p {raw}, by signs {signs}, not corrected")
    if judged["skew"] is not None and abs(judged["skew"]) > SKEWED:
        parts.append(f"the datasets' skew is {judged['skew']:.1f}: the interval is too narrow")
    if judged["these"]:
        low, high = numbers(*judged["these"])
        parts.append(f"over seeds, with these datasets, [{low}, {high}]")
    if judged["shared"]:
        parts.append(f"measured by others, and taken in: {judged['shared']}")
    return "; ".join(filter(None, parts))


def shown(row: Row, page: str, link: str) -> Row:
    """What the table says of one claim; ``page`` and ``link`` are the notebook's title and page."""
    judged = row["judged"]
    details = {WORLDS.get(world, EVERY): told(each) for world, each in judged.items()}
    over = f"over {row['estimand']}" if row["estimand"] else ""
    rule = {"Source": row["source"], "Statistic": row["statistic"], "Interval": over}
    rule |= {"Why primary": row["primary"], "Seen before it was written": row["seen"], **details}
    lines = [prose(f"{name}: {text.removesuffix('.')}") for name, text in rule.items() if text]
    words = {"claim": prose(row["claim"]), "asked": prose(row["asked"]), "rule": lines}
    cells = [cell(world, judged.get(world)) for world in ((ANY,) if ANY in judged else WORLDS)]
    kept = {name: row[name] for name in ("id", "disagree", "part_of")}
    kind = "construction" if ANY in judged else "primary" if row["primary"] else "exploratory"
    return kept | words | {"cells": cells, "page": page, "link": link, "kind": kind}


def grouped(rows: list[Row]) -> dict[str, list[Row]]:
    """Heading of each part of the table -> its rows, each with the ``parts`` that say the same."""
    whole = [
        row | {"parts": [each for each in rows if each["part_of"] == row["id"]]}
        for row in rows
        if not row["part_of"]
    ]
    groups = {title: [r for r in whole if r["kind"] == kind] for kind, title in KINDS.items()}
    return {title: each for title, each in groups.items() if each}


def choices(rows: list[Row]) -> dict[str, dict[str, tuple[str, int]]]:
    """What the filter offers: its name -> value -> text and the number of rows with it."""
    rows = [row for row in rows if not row["part_of"]]
    said = [[each for each in row["cells"] if each["verdict"]] for row in rows]
    verdicts = Counter(verdict for cells in said for verdict in {each["verdict"] for each in cells})
    worlds = Counter(each["world"] for cells in said for each in cells)
    return {
        "verdict": {v: (f"{SIGNS[v]} {v}", verdicts[v]) for v in VERDICTS if verdicts[v]},
        "world": {
            world: (name, worlds[world])
            for world, name in {**WORLDS, ANY: "counts"}.items()
            if worlds[world]
        },
    }


def score(rows: list[Row]) -> list[tuple[str, int, int, dict[str, int]]]:
    """Of each world its name, how many claims it has, how many are primary and how many have each
    verdict; counts last. Claims that state one fact are one.
    """
    lines = []
    rows = [row for row in rows if not row["part_of"]]
    for world, name in {**WORLDS, ANY: "Counts, which are no evidence"}.items():
        asked = [row for row in rows if world in row["judged"]]
        found = Counter(row["judged"][world]["verdict"] for row in asked)
        if asked:
            primary = sum(bool(row["primary"]) for row in asked)
            lines.append((name, len(asked), primary, {v: found[v] for v in VERDICTS if found[v]}))
    return lines


def said(rows: list[Row], text: str) -> tuple[str, str, str]:
    """The claim that "dip-new" or "dip-new photos" names, the verdict, and the world's name.

    Without a world it is the first that judged the claim; then the name is "" unless another would
    be expected: the first that could.

    Raises:
        ValueError: an unknown claim, or a world that does not judge it; names the nearest.
    """
    name, _, world = text.partition(" ")
    by_id = {row["id"]: row["judged"] for row in rows}
    judged = by_id[one_of("claim", name, by_id)]
    if world:
        one_of(f"world of claim {name}", world, judged)
        return name, judged[world]["verdict"], WORLDS.get(world, EVERY)
    first = next(iter(judged))
    found = (each for each in judged if judged[each]["verdict"] != "not measured")
    world = next(found, first)
    return name, judged[world]["verdict"], "" if world == first else WORLDS[world]


def reasons(rows: list[Row], name: str) -> list[str]:
    """ "Inconclusive in Glyph World: ...", a sentence for each world that has left a claim open.

    Raises:
        ValueError: an unknown claim; names the nearest.
    """
    by_id = {row["id"]: row["judged"] for row in rows}
    judged = by_id[one_of("claim", name, by_id)]
    return [
        f"{each['verdict'].capitalize()} in {WORLDS.get(world, EVERY)}: {each['detail']}."
        for world, each in judged.items()
        if each["verdict"] in OPEN
    ]
