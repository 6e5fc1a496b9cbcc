"""What this book adds to Sphinx: measured numbers, claims, gallery, status, API."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from .ask import Ask, write_runs
from .drawings import shorten_figures
from .explore import Explore
from .faults import Faults
from .gallery import Gallery, Thumb
from .icons import drop_unused_icons
from .measured import Measured
from .reference import CiteUs, autodoc, cite_button
from .scaling import Scaling
from .scoreboard import Changed, Claims, Coverage, Score, Verdict, Why
from .sliders import load_sliders
from .status import Status
from .terms import link_terms
from .train_here import TrainHere, write_scripts


def without_thebe_scripts(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Drop Thebe's files: they are added though ``thebe`` is off, and throw in the console."""
    for kind in ("script_files", "css_files"):
        context[kind] = [
            file
            for file in context.get(kind, [])
            if "thebe" not in (str(file) + getattr(file, "attributes", {}).get("body", "")).lower()
        ]


def without_thebe_settings(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Drop the settings that Thebe writes into each page's text."""
    for node in list(doctree.findall(nodes.raw)):
        if "thebe" in node.astext() or node.astext().startswith("<script>kernelName"):
            node.parent.remove(node)


def data_of_figures(app: Sphinx, exception: Exception | None) -> None:
    """Copy the CSV files to where pages link them: as far from a page as from its notebook."""
    folder = Path(app.srcdir) / "results" / "data"
    if folder.is_dir() and not exception:
        shutil.copytree(folder, Path(app.outdir) / "results" / "data", dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, bool]:
    for extension in ("sphinx.ext.autodoc", "sphinx.ext.napoleon"):
        app.setup_extension(extension)
    app.connect("config-inited", autodoc)
    app.add_directive("cite-us", CiteUs)
    app.connect("html-page-context", cite_button, priority=800)
    app.add_role("measured", Measured())
    app.add_role("verdict", Verdict())
    app.add_role("why", Why())
    app.add_directive("claims", Claims)
    app.add_directive("score", Score)
    app.add_directive("changed", Changed)
    app.add_directive("coverage", Coverage)
    app.add_directive("status", Status)
    app.add_directive("faults", Faults)
    app.add_directive("scaling", Scaling)
    app.add_directive("ask", Ask)
    app.add_directive("explore", Explore)
    app.add_directive("train-here", TrainHere)
    app.add_directive("gallery", Gallery)
    app.add_directive("thumb", Thumb)
    app.connect("build-finished", data_of_figures)
    app.connect("build-finished", write_scripts)
    app.connect("build-finished", write_runs)
    app.connect("build-finished", drop_unused_icons)
    app.connect("build-finished", shorten_figures)
    app.add_js_file("companion.js", loading_method="defer")
    app.add_js_file("tables.js", loading_method="defer")
    app.connect("html-page-context", load_sliders)
    # late, so that every extension has added what is to be dropped
    app.connect("html-page-context", without_thebe_scripts, priority=900)
    app.connect("doctree-resolved", without_thebe_settings, priority=900)
    app.connect("doctree-resolved", link_terms, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
