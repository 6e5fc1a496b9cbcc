"""The scoreboard: a table of claims and verdicts, lines of counts, a verdict in prose.

``{claims}`` is the table of all claims, with a column for each world; with scripts it can be
filtered by verdict and world. ``{score}`` counts each world's verdicts in a line. Of one claim
``{verdict}`dip-new` `` is the verdict of the first world that judged it, and
``{verdict}`dip-new photos` `` that of Photo World, with its name; both are linked to the table.
All read ``book/claims.toml``, ``book/pilot.toml`` and the measured numbers.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from dip_book.claims import ANY, VERDICTS
from dip_book.scoreboard import FEW, PILOT, scoreboard
from dip_lib.errors import one_of

from .gallery import title
from .measured import numbers_dir
from .templates import html

logger = logging.getLogger(__name__)
SIGNS = dict(zip(VERDICTS, "✓✗~?○", strict=True))
WORLDS = {"embedded": "Glyph World", "photos": "Photo World", "paper": "Real CLIP"}
EVERY = "Every world"
"""What stands for a world's name where a count is said once for all."""
HOME = "book/index"
"""The page that holds the table."""
FAULTS = (OSError, ValueError, TypeError, KeyError)
Row = dict[str, Any]


def rows_of(env: BuildEnvironment) -> list[Row]:
    """The rows of the scoreboard; the page that asks depends on all its files."""
    source = Path(env.srcdir)
    claims, numbers = source / "book" / "claims.toml", numbers_dir(source)
    for path in (claims, claims.with_name(PILOT), *numbers.glob("*.json")):
        env.note_dependency(str(path))
    return scoreboard(claims, numbers)


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
    measured = () if judged["value"] is None else (judged["value"], *(judged["interval"] or ()))
    value, *ends = numbers(*measured) if measured else ("",)
    few = half is not None and n is not None and n <= FEW
    units = [numbers(*measured, half)[-1], n] if few else []
    return named | {"verdict": judged["verdict"], "value": value, "ends": ends, "few": units}


def shown(row: Row, page: str, link: str) -> Row:
    """What the table says of one claim; ``page`` and ``link`` are the notebook's title and page."""
    judged = row["judged"]
    details = {WORLDS.get(world, EVERY): each["detail"] for world, each in judged.items()}
    rule = {"Source": row["source"], "Statistic": row["statistic"], **details}
    lines = [prose(f"{name}: {text}") for name, text in rule.items() if text]
    words = {"claim": prose(row["claim"]), "asked": prose(row["asked"]), "rule": lines}
    cells = [cell(world, judged.get(world)) for world in ((ANY,) if ANY in judged else WORLDS)]
    kept = {name: row[name] for name in ("id", "disagree")}
    return kept | words | {"cells": cells, "page": page, "link": link}


def choices(rows: list[Row]) -> dict[str, dict[str, tuple[str, int]]]:
    """What the filter offers: its name -> value -> text and the number of rows with it."""
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


def score(rows: list[Row]) -> list[tuple[str, int, dict[str, int]]]:
    """Of each world its name, its number of claims and how many have each verdict; counts last."""
    lines = []
    for world, name in {**WORLDS, ANY: "Counts, the same in every world"}.items():
        found = Counter(row["judged"][world]["verdict"] for row in rows if world in row["judged"])
        if total := found.total():
            lines.append((name, total, {v: found[v] for v in VERDICTS if found[v]}))
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


class Claims(SphinxDirective):
    """A table with one row a claim; on a narrow screen each row becomes a card."""

    def run(self) -> list[nodes.Node]:
        try:
            rows = [shown(row, *self.page(row["notebook"])) for row in rows_of(self.env)]
        except FAULTS as error:
            logger.warning("claims: %s", error, location=self.get_location())
            return []
        return [html("claims.html", rows=rows, choices=choices(rows), signs=SIGNS, worlds=WORLDS)]

    def page(self, notebook: str) -> tuple[str, str]:
        """The notebook's title and a link to its page; without one, its name and no link."""
        name = f"notebooks/{notebook}"
        if name not in self.env.found_docs:
            return notebook, ""
        path = Path(self.env.srcdir) / f"{name}.ipynb"
        self.env.note_dependency(str(path))
        link = self.env.app.builder.get_relative_uri(self.env.docname, name)
        return title(json.loads(path.read_text("utf-8"))), link


class Score(SphinxDirective):
    """ "Glyph World, 26 claims: 14 reproduced, 2 not reproduced, ...", a line for each world."""

    def run(self) -> list[nodes.Node]:
        try:
            rows = rows_of(self.env)
        except FAULTS as error:
            logger.warning("score: %s", error, location=self.get_location())
            return []
        disagree = sum(row["disagree"] for row in rows)
        return [html("score.html", lines=score(rows), disagree=disagree)]


class Verdict(SphinxRole):
    """The verdict on one claim, linked to its row."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        try:
            claim, verdict, world = said(rows_of(self.env), self.text)
        except FAULTS as error:
            logger.warning("verdict: %s", error, location=self.get_location())
            return [nodes.problematic(self.rawtext, self.rawtext)], []
        home = self.env.app.builder.get_relative_uri(self.env.docname, HOME)
        link = f"{'' if self.env.docname == HOME else home}#claim-{claim}"
        return [html("verdict_link.html", verdict=verdict, world=world, signs=SIGNS, link=link)], []
