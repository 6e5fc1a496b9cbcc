"""The scoreboard: a table of claims and verdicts, lines of counts, a verdict in prose.

``{claims}`` is the table of all claims, with a column for each world: primary claims first, then
exploratory ones, then counts, which hold by construction; claims that state one fact are one row.
With scripts it can be filtered by verdict and world. ``{score}`` counts each world's verdicts in a
line. Of one claim ``{verdict}`dip-new` `` is the verdict of the first world that judged it, and
``{verdict}`dip-new photos` `` that of Photo World, with its name; both are linked to the table, and
``{why}`dip-new` `` says why worlds have left it open.
``{changed}`` lists the verdicts that changed when intervals were made anew. All read
``book/claims.toml``, ``book/pilot.toml`` and the measured numbers. ``{coverage}`` shows how often
intervals hold the truth.
"""

from __future__ import annotations

import json
from pathlib import Path

from docutils import nodes
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from dip_book.changes import BEFORE, changes
from dip_book.pilots import PILOT
from dip_book.scoreboard import scoreboard

from .claim_rows import (
    EVERY,
    SIGNS,
    WORLDS,
    Row,
    choices,
    grouped,
    reasons,
    said,
    score,
    shown,
    value_of,
)
from .gallery import title
from .measured import numbers_dir
from .templates import html

logger = logging.getLogger(__name__)
HOME = "book/index"
"""The page that holds the table."""
FAULTS = (OSError, ValueError, TypeError, KeyError)


def rows_of(env: BuildEnvironment) -> list[Row]:
    """The rows of the scoreboard; the page that asks depends on all its files."""
    source = Path(env.srcdir)
    claims, numbers = source / "book" / "claims.toml", numbers_dir(source)
    for path in (claims, claims.with_name(PILOT), *numbers.glob("*.json")):
        env.note_dependency(str(path))
    return scoreboard(claims, numbers)


def home_of(env: BuildEnvironment) -> str:
    """The address of the page that holds the table, "" on that page itself."""
    if env.docname == HOME:
        return ""
    return str(env.app.builder.get_relative_uri(env.docname, HOME))


class Claims(SphinxDirective):
    """A table with one row a claim; on a narrow screen each row becomes a card."""

    def run(self) -> list[nodes.Node]:
        try:
            rows = [shown(row, *self.page(row["notebook"])) for row in rows_of(self.env)]
        except FAULTS as error:
            logger.warning("claims: %s", error, location=self.get_location())
            return []
        groups = grouped(rows)
        count = sum(map(len, groups.values()))
        known = {"signs": SIGNS, "worlds": WORLDS, "choices": choices(rows), "count": count}
        return [html("claims.html", groups=groups, **known)]

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


class Changed(SphinxDirective):
    """A table of the verdicts that changed when intervals were made anew, with the reasons."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / "book" / BEFORE
        self.env.note_dependency(str(path))
        try:
            found = changes(path, rows_of(self.env))
        except FAULTS as error:
            logger.warning("changed: %s", error, location=self.get_location())
            return []
        rows = [
            each | {"text": value_of(each["now"]), "where": WORLDS.get(each["world"], EVERY)}
            for each in found
        ]
        home = home_of(self.env)
        return [html("changed.html", rows=rows, home=home, signs=SIGNS)]


class Coverage(SphinxDirective):
    """A table of how often intervals hold the truth, as ``dip_book/coverage.py`` simulated it."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / "results" / "coverage.json"
        self.env.note_dependency(str(path))
        try:
            rows = json.loads(path.read_text("utf-8"))
            counts = [f"{count} datasets" for count in rows[0]["coverage"]]
        except (*FAULTS, IndexError) as error:
            logger.warning("coverage: %s", error, location=self.get_location())
            return []
        return [html("coverage.html", rows=rows, counts=counts)]


class Verdict(SphinxRole):
    """The verdict on one claim, linked to its row."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        try:
            claim, verdict, world = said(rows_of(self.env), self.text)
        except FAULTS as error:
            logger.warning("verdict: %s", error, location=self.get_location())
            return [nodes.problematic(self.rawtext, self.rawtext)], []
        link = f"{home_of(self.env)}#claim-{claim}"
        return [html("verdict_link.html", verdict=verdict, world=world, signs=SIGNS, link=link)], []


class Why(SphinxRole):
    """Why a claim is open: a sentence for each world that has not decided it."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        try:
            text = " ".join(reasons(rows_of(self.env), self.text))
        except FAULTS as error:
            logger.warning("why: %s", error, location=self.get_location())
            return [nodes.problematic(self.rawtext, self.rawtext)], []
        return [nodes.inline(text, text, classes=["why"])] if text else [], []
