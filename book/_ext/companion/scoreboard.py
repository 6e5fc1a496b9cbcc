"""What the paper claims, what was measured, what held: one table, one line, one word.

``{claims}`` is the table of all claims; with scripts it can be filtered by verdict and world.
``{score}`` is the line that counts the verdicts, and ``{verdict}`dip-new` `` the verdict on one
claim, both linked to the table. All read ``book/claims.toml`` and the measured numbers.
"""

from __future__ import annotations

import json
from html import escape
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

logger = logging.getLogger(__name__)
# A verdict is said in words and has a sign, so that colour is never the only carrier.
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


def prose(text: object) -> str:
    """Escaped text with the signs of a book for the signs of a program."""
    return escape(str(text).replace(">=", "≥").replace("<=", "≤").replace("==", "="))


def sign(verdict: str) -> str:
    """A verdict in words with its sign."""
    return (
        f'<span class="verdict {verdict.replace(" ", "-")}">'
        f'<span aria-hidden="true">{SIGNS[verdict]}</span> {verdict}</span>'
    )


def numbers(*values: float) -> list[str]:
    """The values with the same digits after the point: none for counts, three below 1, else two."""
    if all(float(value).is_integer() for value in values):
        return [f"{value:,.0f}" for value in values]
    digits = 3 if max(map(abs, values)) < 1 else 2
    return [f"{value:.{digits}f}" for value in values]


def measured_cell(row: dict[str, Any]) -> str:
    """Value and interval, or a dash."""
    if row["value"] is None:
        return "&mdash;"
    value, *ends = numbers(row["value"], *(row["interval"] or ()))
    interval = f' <span class="interval">[{", ".join(ends)}]</span>' if ends else ""
    return f"<b>{value}</b>{interval}"


def row_html(row: dict[str, Any], where: str) -> str:
    """One claim; ``where`` is the link to its page."""
    asked, _, more = row["detail"].partition("; ")
    judged = [f"Source: {row['source']}", f"Statistic: {row['statistic']}", more.capitalize()]
    return (
        f'<tr id="claim-{escape(row["id"])}" data-verdict="{escape(row["verdict"])}" '
        f'data-world="{escape(row["world"])}"><th scope="row">{prose(row["claim"])}'
        "<details><summary>How it is judged</summary>"
        f"{''.join(f'<p>{prose(each)}.</p>' for each in judged if each)}</details></th>"
        f'<td data-label="World">{escape(WORLDS[row["world"]])}</td>'
        f'<td data-label="Measured">{measured_cell(row)}'
        f'<span class="asked">{prose(asked)}</span></td>'
        f'<td data-label="Verdict">{sign(row["verdict"])}<span class="where">{where}</span></td>'
        "</tr>"
    )


def choices(rows: list[dict[str, Any]], name: str, words: dict[str, str]) -> str:
    """Radio buttons for one column of the table, each with how many claims it leaves."""
    counts = {value: sum(row[name] == value for row in rows) for value in words}
    shown = {"": f"all {len(rows)}"} | {v: f"{words[v]} {n}" for v, n in counts.items() if n}
    buttons = "".join(
        f'<label><input type="radio" name="{name}" value="{escape(value)}"'
        f"{' checked' if not value else ''}><span>{escape(text)}</span></label>"
        for value, text in shown.items()
    )
    return f"<fieldset><legend>{name.capitalize()}</legend>{buttons}</fieldset>"


class Claims(SphinxDirective):
    """A table with one row a claim; on a narrow screen each row becomes a card."""

    def run(self) -> list[nodes.Node]:
        try:
            rows = rows_of(self.env)
            body = "".join(row_html(row, self.link(row["notebook"])) for row in rows)
        except FAULTS as error:
            logger.warning("claims: %s", error, location=self.get_location())
            return []
        signs = {verdict: f"{sign} {verdict}" for verdict, sign in SIGNS.items()}
        html = (
            '<form class="claims-filter" hidden>'  # companion.js shows it: it needs scripts
            f"{choices(rows, 'verdict', signs)}{choices(rows, 'world', WORLDS)}"
            f'<output aria-live="polite">{len(rows)} of {len(rows)} claims</output></form>'
            '<table class="claims cards"><thead><tr><th>Claim</th><th>World</th>'
            f"<th>Measured</th><th>Verdict</th></tr></thead><tbody>{body}</tbody></table>"
        )
        return [nodes.raw("", html, format="html")]

    def link(self, notebook: str) -> str:
        """The notebook's title, linked to its page; its name when the book has no such page."""
        page = f"notebooks/{notebook}"
        if page not in self.env.found_docs:
            return escape(notebook)
        path = Path(self.env.srcdir) / f"{page}.ipynb"
        self.env.note_dependency(str(path))
        address = self.env.app.builder.get_relative_uri(self.env.docname, page)
        heading = title(json.loads(path.read_text("utf-8")))
        return f'<a href="{escape(address)}">{escape(heading)}</a>'


class Score(SphinxDirective):
    """ "26 claims: 14 reproduced, 2 not reproduced, ...", in the order of SIGNS."""

    def run(self) -> list[nodes.Node]:
        try:
            found = [row["verdict"] for row in rows_of(self.env)]
        except FAULTS as error:
            logger.warning("score: %s", error, location=self.get_location())
            return []
        counts = {verdict: found.count(verdict) for verdict in SIGNS}
        said = ", ".join(
            f'<span class="{verdict.replace(" ", "-")}">{count} {verdict}</span>'
            for verdict, count in counts.items()
            if count
        )
        html = f'<p class="score">{len(found)} claims: {said}.</p>'
        return [nodes.raw("", html, format="html")]


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
        page = "" if self.env.docname == HOME else home
        link = f'<a class="verdict-link" href="{page}#claim-{self.text}">{sign(verdict)}</a>'
        return [nodes.raw("", link, format="html")], []
