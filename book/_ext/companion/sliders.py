"""Scripts of the sliders that notebooks leave in their outputs (``dip_book/slider.py``)."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

SCRIPTS = ("elements.js", "slider_bars.js", "slider_paths.js", "slider.js")
"""In ``book/_static``, in the order in which they are run."""


def load_sliders(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Load them on the pages that have a slider, so that no other page is larger for it."""
    if "data-slider=" in context.get("body", ""):
        for script in SCRIPTS:
            app.add_js_file(script, loading_method="defer")
