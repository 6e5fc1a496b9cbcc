"""The API from docstrings, and how to cite: ``{cite-us}`` makes BibTeX of ``CITATION.cff``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from dip_lib.paths import root

logger = logging.getLogger(__name__)
OURS = ("dip_lib", "dip_study", "dip_book", "glyph_world")
PAGE = "book/references"
"""The page that says how to cite."""


def autodoc(app: Sphinx, config: Config) -> None:
    """Docstrings become the API page; only names of this repository must resolve there."""
    config.autodoc_member_order = "bysource"
    config.autodoc_typehints = "none"  # docstrings say types where a reader needs them
    config.napoleon_use_ivar = True
    config.napoleon_use_rtype = False
    others = rf"(?!(?:{'|'.join(OURS)})\b).*"
    config.nitpick_ignore_regex = [*config.nitpick_ignore_regex, ("py:.*", others)]


def bibtex(kind: str, key: str, fields: Mapping[str, Any]) -> str:
    """One entry; fields without a value are left out."""
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def people(authors: Sequence[Mapping[str, str]]) -> str:
    """Authors as BibTeX has them; a group's name stands in braces of its own."""
    return " and ".join(
        f"{{{each['name']}}}"
        if "name" in each
        else f"{each['family-names']}, {each['given-names']}"
        for each in authors
    )


def entries(citation: Mapping[str, Any], year: str) -> str:
    """BibTeX of this companion and of the paper, from the content of a ``CITATION.cff``."""
    (paper,) = citation["references"]
    (identifier,) = paper["identifiers"]
    ours = {"author": people(citation["authors"]), "title": f"{{{citation['title']}}}"}
    ours |= {"year": year, "version": citation["version"], "url": citation["repository-code"]}
    theirs = {"author": people(paper["authors"]), "title": f"{{{paper['title']}}}"}
    theirs |= {"year": paper["year"], "journal": identifier["value"], "url": paper["url"]}
    found = bibtex("software", "dipcompanion", ours), bibtex("article", "hao2023dip", theirs)
    return "\n\n".join(found)


class CiteUs(SphinxDirective):
    """BibTeX to copy, and the file it comes from to keep."""

    def run(self) -> list[nodes.Node]:
        checkout = root()
        try:
            if checkout is None:
                raise FileNotFoundError("CITATION.cff lies in the checkout, which is not here")
            path = checkout / "CITATION.cff"
            text = path.read_text("utf-8")
            shown = entries(yaml.safe_load(text), self.config.copyright)
        except (OSError, ValueError, KeyError) as error:
            logger.warning("cite-us: %s", error, location=self.get_location())
            return []
        self.env.note_dependency(str(path))
        folder = Path(self.env.app.builder.outdir) / "_downloads"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "CITATION.cff").write_text(text, "utf-8")
        (folder / "dip-companion.bib").write_text(f"{shown}\n", "utf-8")
        up = "../" * self.env.app.builder.get_target_uri(self.env.docname).count("/")
        links = " · ".join(
            f'<a href="{up}_downloads/{name}" download>{name}</a>'
            for name in ("dip-companion.bib", "CITATION.cff")
        )
        block = nodes.literal_block(shown, shown, language="bibtex")
        return [block, nodes.raw("", f"<p>{links}</p>", format="html")]


def cite_button(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """A button at the top of every page that leads to how to cite."""
    if PAGE in app.env.found_docs and "header_buttons" in context:
        link = f"{app.builder.get_relative_uri(page, PAGE)}#cite"
        button = {"type": "link", "url": link, "tooltip": "How to cite", "label": "cite"}
        context["header_buttons"].insert(0, button | {"icon": "fas fa-quote-right"})
