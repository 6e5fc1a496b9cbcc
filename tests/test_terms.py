"""Terms are linked to the glossary where a page uses them first, and every link has its entry."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils import new_document

sys.path.append(str(Path(__file__).parents[1] / "book" / "_ext"))  # as Sphinx does
from companion import terms

ROOT = Path(__file__).parents[1]
GLOSSARY = (ROOT / "book" / "glossary.md").read_text("utf-8")


def paragraph(*texts: str) -> nodes.document:
    document = new_document("page")
    document += nodes.title("", "H")
    for text in texts:
        document += nodes.paragraph("", "", nodes.Text(text))
    return document


def test_every_term_has_an_entry_in_the_glossary() -> None:
    entries = {line.replace(" ", "-") for line in re.findall(r"^(\S.*)$", GLOSSARY, re.MULTILINE)}
    assert set(terms.TERMS.values()) <= entries


def test_the_first_use_is_linked_and_no_other() -> None:
    document = paragraph("Mean H and H, in ID₁.", "H, ID₁, KgCoOp, CoOp; rank H1 and Hosts.")
    said = [each.astext() for each in document.findall(nodes.paragraph)]
    terms.link_first_uses(document, "glossary.html")
    links = {link.astext(): link["refuri"] for link in document.findall(nodes.reference)}
    anchors = {"Mean H": "Mean-H", "H": "H", "ID₁": "Information-Density", "CoOp": "CoOp"}
    assert links == {name: f"glossary.html#term-{end}" for name, end in anchors.items()}
    assert [each.astext() for each in document.findall(nodes.paragraph)] == said
    assert not list(document.children[0].findall(nodes.reference))


def test_headers_of_a_table_are_linked_once() -> None:
    table = "<thead><tr><th>H</th><th>mean H</th><th>ECE new</th><th>H</th></tr></thead>"
    rows = "<tr><th>H</th></tr>"
    linked = terms.linked_headers(table + rows, "g.html")
    assert re.findall(r"#term-([\w-]+)", linked) == ["H", "Mean-H", "ECE"]
    assert linked.endswith(rows) and re.sub(r"</?a[^>]*>", "", linked) == table + rows
