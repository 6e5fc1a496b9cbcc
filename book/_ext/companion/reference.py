"""The API from docstrings, and how to cite: ``{cite-us}`` makes BibTeX of ``CITATION.cff``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union

import yaml
from docutils import nodes
from pybtex.database import BibliographyData, Entry, Person
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.ext.autodoc import _CLASS_NEW_BLACKLIST
from sphinx.ext.autodoc.mock import _MockObject
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from dip_lib.paths import root

from .templates import html

logger = logging.getLogger(__name__)
OURS = ("dip_lib", "dip_study", "dip_book", "glyph_world")
PAGE = "book/references"
"""The page that says how to cite."""
NOT_NEEDED = (
    *("torch", "torchvision", "open_clip", "timm", "safetensors", "sklearn", "fontTools", "tqdm"),
    *("numpy", "scipy", "pandas", "matplotlib", "matplotlib_inline", "seaborn", "IPython"),
)
"""Packages that docstrings are read without, so that ``make site`` need not install them."""


def complete_mocks() -> None:
    """Let Sphinx's mocks stand in ``Tensor | None``, and hide no signature of their subclasses."""

    def either(mocked: Any, other: Any) -> Any:
        return Union[mocked, other]  # noqa: UP007 (a mock has no "|", which is what this gives it)

    mock: Any = _MockObject
    mock.__or__ = mock.__ror__ = either
    _CLASS_NEW_BLACKLIST.append(f"{mock.__module__}.{mock.__new__.__qualname__}")


def autodoc(app: Sphinx, config: Config) -> None:
    """Docstrings become the API page; only names of this repository must resolve there."""
    complete_mocks()
    config.autodoc_mock_imports = [*NOT_NEEDED]
    config.autodoc_member_order = "bysource"
    config.autodoc_typehints = "none"  # docstrings say types where a reader needs them
    config.napoleon_use_ivar = True
    config.napoleon_use_rtype = False
    others = rf"(?!(?:{'|'.join(OURS)})\b).*"
    config.nitpick_ignore_regex = [*config.nitpick_ignore_regex, ("py:.*", others)]


def entry(kind: str, work: Mapping[str, Any], **fields: str) -> Entry:
    """A work of a ``CITATION.cff`` as BibTeX has it; a group's name is in braces."""
    people = [
        Person(last=f"{{{each['name']}}}")
        if "name" in each
        else Person(first=each["given-names"], last=each["family-names"])
        for each in work["authors"]
    ]
    return Entry(kind, {"title": f"{{{work['title']}}}", **fields}, {"author": people})


def entries(citation: Mapping[str, Any], year: str) -> str:
    """BibTeX of this companion and of the paper, from the content of a ``CITATION.cff``."""
    (paper,) = citation["references"]
    (identifier,) = paper["identifiers"]
    ours = {"year": year, "version": citation["version"], "url": citation["repository-code"]}
    theirs = {"year": str(paper["year"]), "journal": identifier["value"], "url": paper["url"]}
    both = {
        "dipcompanion": entry("software", citation, **ours),
        "hao2023dip": entry("article", paper, **theirs),
    }
    return BibliographyData(both).to_string("bibtex").strip()


class CiteUs(SphinxDirective):
    """BibTeX to copy, and the file it comes from to keep."""

    def run(self) -> list[nodes.Node]:
        checkout = root()
        try:
            if checkout is None:
                raise FileNotFoundError("CITATION.cff lies in the checkout, which is not here")
            path = checkout / "CITATION.cff"
            text = path.read_text("utf-8")
            bibtex = entries(yaml.safe_load(text), self.config.copyright)
        except (OSError, ValueError, KeyError) as error:
            logger.warning("cite-us: %s", error, location=self.get_location())
            return []
        self.env.note_dependency(str(path))
        folder = Path(self.env.app.builder.outdir) / "_downloads"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "CITATION.cff").write_text(text, "utf-8")
        (folder / "dip-companion.bib").write_text(f"{bibtex}\n", "utf-8")
        up = "../" * self.env.app.builder.get_target_uri(self.env.docname).count("/")
        block = nodes.literal_block(bibtex, bibtex, language="bibtex")
        names = ("dip-companion.bib", "CITATION.cff")
        return [block, html("cite.html", folder=f"{up}_downloads", names=names)]


def cite_button(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """A button at the top of every page that leads to how to cite."""
    if PAGE in app.env.found_docs and "header_buttons" in context:
        link = f"{app.builder.get_relative_uri(page, PAGE)}#cite"
        button = {"type": "link", "url": link, "tooltip": "How to cite", "label": "cite"}
        context["header_buttons"].insert(0, button | {"icon": "fas fa-quote-right"})
