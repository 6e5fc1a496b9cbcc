"""The directive ``{claims}``: what the paper claims, what was measured, what held."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from dip_book.claims import scoreboard

from .measured import numbers_dir

logger = logging.getLogger(__name__)
# A verdict is said in words and has a sign, so that colour is never the only carrier.
SIGNS = {"reproduced": "✓", "not reproduced": "✗", "inconclusive": "~", "not measured": "○"}


def prose(text: object) -> str:
    """Escaped text with the signs of a book for the signs of a program."""
    return escape(str(text).replace(">=", "≥").replace("<=", "≤").replace("==", "="))


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


def row_html(row: dict[str, Any], link: str) -> str:
    verdict = row["verdict"]
    name = escape(str(row["notebook"]))
    where = f'<a href="{escape(link)}">{name}</a>' if link else name
    return (
        f'<tr id="claim-{escape(row["id"])}"><th scope="row">{prose(row["claim"])}'
        f'<span class="source">{prose(row["source"])}</span>'
        f"<details><summary>How it is measured</summary>{prose(row['statistic'])}.</details></th>"
        f'<td data-label="World">{escape(row["world"])}</td>'
        f'<td data-label="Measured">{measured_cell(row)}</td>'
        f'<td data-label="Verdict"><span class="verdict {verdict.replace(" ", "-")}">'
        f'<span aria-hidden="true">{SIGNS[verdict]}</span> {verdict}</span>'
        f'<span class="detail">{prose(row["detail"])}</span>'
        f'<span class="where">{where}</span></td></tr>'
    )


def summary(rows: list[dict[str, Any]]) -> str:
    """ "2 reproduced, 1 inconclusive", in the order of SIGNS."""
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in SIGNS}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)


class Claims(SphinxDirective):
    """A table with one row a claim; on a narrow screen each row becomes a card."""

    def run(self) -> list[nodes.Node]:
        source = Path(self.env.srcdir)
        claims = source / "book" / "claims.toml"
        numbers = numbers_dir(source)
        for path in (claims, *numbers.glob("*.json")):
            self.env.note_dependency(str(path))
        try:
            rows = scoreboard(claims, numbers)
        except (OSError, ValueError, TypeError, KeyError) as error:
            logger.warning("claims: %s", error, location=self.get_location())
            return []
        body = "".join(row_html(row, self.link(row["notebook"])) for row in rows)
        html = (
            f'<p class="score">{len(rows)} claims: {summary(rows)}.</p>'
            '<table class="claims"><thead><tr><th>Claim</th><th>World</th>'
            f"<th>Measured</th><th>Verdict</th></tr></thead><tbody>{body}</tbody></table>"
        )
        return [nodes.raw("", html, format="html")]

    def link(self, notebook: str | None) -> str:
        """Address of a notebook's page, or nothing when the book has no such page."""
        page = f"notebooks/{notebook}"
        known = page in self.env.found_docs
        return self.env.app.builder.get_relative_uri(self.env.docname, page) if known else ""
