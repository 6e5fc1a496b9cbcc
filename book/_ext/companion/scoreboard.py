"""The scoreboard: a table of claims and verdicts, a line of counts, a verdict in prose.

``{claims}`` is the table of all claims; with scripts it can be filtered by verdict and world.
``{score}`` is the line that counts the verdicts, and ``{verdict}`dip-new` `` the verdict on one
claim, both linked to the table. All read ``book/claims.toml`` and the measured numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from dip_book.claims import scoreboard
from dip_lib.errors import one_of

from .gallery import title
from .measured import numbers_dir
from .templates import html

logger = logging.getLogger(__name__)
SIGNS = {"reproduced": "✓", "not reproduced": "✗", "inconclusive": "~", "not measured": "○"}
WORLDS = {"embedded": "Glyph World", "paper": "real CLIP", "any": "both"}
HOME = "book/index"
"""The page that holds the table."""
FAULTS = (OSError, ValueError, TypeError, KeyError)


def rows_of(env: BuildEnvironment) -> list[dict[str, Any]]:
    """The rows of the scoreboard; the page that asks depends on all its files."""
    source = Path(env.srcdir)
    claims, numbers = source / "book" / "claims.toml", numbers_dir(source)
    for path in (claims, *numbers.glob("*.json")):
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


def shown(row: dict[str, Any], page: str, link: str) -> dict[str, Any]:
    """What the table says of one claim; ``page`` and ``link`` are the notebook's title and page."""
    asked, _, more = row["detail"].partition("; ")
    rule = [f"Source: {row['source']}", f"Statistic: {row['statistic']}", more.capitalize()]
    value, *ends = ("",) if row["value"] is None else numbers(row["value"], *row["interval"] or ())
    kept = {name: row[name] for name in ("id", "verdict", "world")}
    words = {"claim": prose(row["claim"]), "asked": prose(asked), "rule": [*map(prose, rule)]}
    return kept | words | {"value": value, "ends": ends, "page": page, "link": link}


class Claims(SphinxDirective):
    """A table with one row a claim; on a narrow screen each row becomes a card."""

    def run(self) -> list[nodes.Node]:
        try:
            rows = [shown(row, *self.page(row["notebook"])) for row in rows_of(self.env)]
        except FAULTS as error:
            logger.warning("claims: %s", error, location=self.get_location())
            return []
        verdicts = {verdict: f"{sign} {verdict}" for verdict, sign in SIGNS.items()}
        return [html("claims.html", rows=rows, verdicts=verdicts, signs=SIGNS, worlds=WORLDS)]

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
    """ "26 claims: 14 reproduced, 2 not reproduced, ...", in the order of SIGNS."""

    def run(self) -> list[nodes.Node]:
        try:
            verdicts = [row["verdict"] for row in rows_of(self.env)]
        except FAULTS as error:
            logger.warning("score: %s", error, location=self.get_location())
            return []
        counts = {verdict: count for verdict in SIGNS if (count := verdicts.count(verdict))}
        return [html("score.html", total=len(verdicts), counts=counts)]


class Verdict(SphinxRole):
    """The verdict on one claim, linked to its row."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        try:
            rows = {row["id"]: row for row in rows_of(self.env)}
            verdict = rows[one_of("claim", self.text, rows)]["verdict"]
        except FAULTS as error:
            logger.warning("verdict: %s", error, location=self.get_location())
            return [nodes.problematic(self.rawtext, self.rawtext)], []
        home = self.env.app.builder.get_relative_uri(self.env.docname, HOME)
        link = f"{'' if self.env.docname == HOME else home}#claim-{self.text}"
        return [html("verdict_link.html", verdict=verdict, signs=SIGNS, link=link)], []
