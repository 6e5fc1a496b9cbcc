"""Terms of the field, linked to the glossary where a page uses them first, in prose and in tables.

A reader who meets *H* or *ECE* on any page is one click from what it means; the notebooks need not
know how. Headings, links and code are left alone, and so is the glossary itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

from docutils import nodes
from sphinx.application import Sphinx

GLOSSARY = "book/glossary"
TERMS: Mapping[str, str] = {
    "ID₁": "Information-Density",
    "as-read": "As-read-density",
    "DIP": "DIP",
    "CoOp": "CoOp",
    "H": "H",
    "mean H": "Mean-H",
    "ECE": "ECE",
    "joint": "Joint-accuracy",
    "numbers": "Numbers",
    "tower": "Tower",
    "head-room": "Head-room",
}
"""Words -> the end of the glossary's anchor; in prose those of OF_TABLES are ordinary words."""
OF_TABLES = frozenset({"numbers"})
_EDGES = r"(?<![\w.₁-]){}(?![\w₁-]|\.\d)"
WORDS = {
    word: re.compile(_EDGES.format(re.escape(word)), re.IGNORECASE if len(word) > 4 else 0)
    for word in TERMS
}
"""The term where it stands as a word; *H* and *DIP* in capitals alone."""
HEADER = re.compile(r"<th>([^<]*)</th>")
LEFT_ALONE = (nodes.title, nodes.reference, nodes.literal, nodes.literal_block, nodes.term)


def linked_headers(table: str, glossary: str) -> str:
    """The HTML of a table with the first header of each term linked; ``glossary``: its address."""
    left = dict(TERMS)

    def header(match: re.Match[str]) -> str:
        text = match[1]
        for word in sorted(left, key=len, reverse=True):
            if WORDS[word].search(text):
                return f'<th><a href="{escape(glossary)}#term-{left.pop(word)}">{text}</a></th>'
        return match[0]

    head, end, rows = table.partition("</thead>")
    return HEADER.sub(header, head) + end + rows


def link_first_uses(document: nodes.document, glossary: str) -> None:
    """Link the first use of each term in the paragraphs of a page."""
    left = {word: anchor for word, anchor in TERMS.items() if word not in OF_TABLES}
    for text in list(document.findall(nodes.Text)):
        around = _around(text)
        if any(isinstance(each, LEFT_ALONE) for each in around):
            continue
        if any(isinstance(each, nodes.paragraph) for each in around):
            _link(text, left, glossary)


def _around(node: nodes.Node) -> list[nodes.Node]:
    found = []
    while node.parent is not None:
        node = node.parent
        found.append(node)
    return found


def _link(text: nodes.Text, left: dict[str, str], glossary: str) -> None:
    """Split a text at the first use of any term that is left, and go on with its rest."""
    parent, said = text.parent, text.astext()
    uses = ((match, word) for word in left if (match := WORDS[word].search(said)))
    first = min(uses, key=lambda use: (use[0].start(), -use[0].end()), default=None)
    if first is None:
        return
    match, word = first
    address = f"{glossary}#term-{left.pop(word)}"
    link = nodes.reference("", match[0], internal=True, refuri=address, classes=["term-link"])
    rest = nodes.Text(said[match.end() :])
    parent.replace(text, [nodes.Text(said[: match.start()]), link, rest])
    _link(rest, left, glossary)


def link_terms(app: Sphinx, document: nodes.document, page: str) -> None:
    """What Sphinx calls for every page."""
    if page == GLOSSARY or GLOSSARY not in app.env.found_docs or app.builder.format != "html":
        return
    glossary = app.builder.get_relative_uri(page, GLOSSARY)
    link_first_uses(document, glossary)
    for node in list(document.findall(nodes.raw)):
        if "dataframe" in (table := node.astext()):
            linked = linked_headers(table, glossary)
            node.parent.replace(node, nodes.raw(linked, linked, **node.attributes))
