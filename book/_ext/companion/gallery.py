"""The gallery: one card a notebook, whose picture is the notebook's own figure.

    ::::{gallery}
    :::{thumb} 02_information_density
    One sentence, with {measured}`02_information_density/...` numbers if you like.
    :::
    ::::

The picture is the first SVG or PNG output of the cell tagged ``thumbnail``, or else of any cell,
with the alt text of that cell's metadata.
"""

from __future__ import annotations

import base64
import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from .drawings import short
from .templates import html

logger = logging.getLogger(__name__)
SUFFIX = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg"}


def title(notebook: dict[str, Any]) -> str:
    """The text of the first heading."""
    for cell in notebook["cells"]:
        for line in "".join(cell["source"]).splitlines():
            if cell["cell_type"] == "markdown" and line.startswith("# "):
                return line[2:].strip()
    raise ValueError("no heading in the notebook")


def small(content: bytes) -> bytes:
    """A picture of pixels at twice the size that a card shows, in its own format."""
    with Image.open(BytesIO(content)) as whole:
        picture, kind = whole.copy(), whole.format
    picture.thumbnail((480, 480))
    file = BytesIO()
    picture.save(file, kind)
    return file.getvalue()


COLOURS = 64
"""Of a picture within a drawing, which is a few millimetres wide on a card."""


def light(svg: str) -> bytes:
    """A drawing with no more than a card shows: small embedded pictures of few colours, tenths of
    points."""

    def smaller(found: re.Match[str]) -> str:
        with Image.open(BytesIO(base64.b64decode(found[1]))) as whole:
            picture = whole.convert("RGBA")  # what is transparent stays so
        picture.thumbnail((48, 48))
        file = BytesIO()
        picture.quantize(COLOURS).save(file, "PNG", optimize=True)
        return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"

    silent = short(re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL), digits=1)
    return re.sub(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)", smaller, silent).encode()


def picture(notebook: dict[str, Any]) -> tuple[str, bytes, str]:
    """(suffix, bytes, alt text) of the figure that stands for the notebook."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    tagged = [cell for cell in code if "thumbnail" in cell["metadata"].get("tags", [])]
    for cell in tagged + code:
        for output in cell["outputs"]:
            for kind, suffix in SUFFIX.items():
                if data := output.get("data", {}).get(kind):
                    text = "".join(data)
                    content = light(text) if suffix == "svg" else small(base64.b64decode(text))
                    image = cell["metadata"].get("mystnb", {}).get("image", {})
                    return suffix, content, image.get("alt", title(notebook))
    raise ValueError("no figure among the notebook's outputs")


class Gallery(SphinxDirective):
    """A grid of ``thumb`` cards."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        grid = nodes.container(classes=["gallery"])
        self.state.nested_parse(self.content, self.content_offset, grid)
        return [grid]


class Thumb(SphinxDirective):
    """One card: figure and title link to the notebook, the directive's content is below."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        path = Path(self.env.srcdir) / "notebooks" / f"{name}.ipynb"
        self.env.note_dependency(str(path))
        try:
            notebook = json.loads(path.read_text("utf-8"))
            heading, (suffix, content, alt) = title(notebook), picture(notebook)
        except (OSError, ValueError) as error:
            logger.warning("thumb %s: %s", name, error, location=self.get_location())
            return []
        builder = self.env.app.builder
        folder = Path(builder.outdir) / "_images"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"thumb-{name}.{suffix}").write_bytes(content)
        here = builder.get_target_uri(self.env.docname)
        up = "../" * here.count("/")
        link = builder.get_relative_uri(self.env.docname, f"notebooks/{name}")
        image = f"{up}_images/thumb-{name}.{suffix}"
        card = nodes.container(classes=["thumb"])
        card += html("thumb.html", link=link, picture=image, alt=alt, title=heading)
        if reason := notebook["metadata"].get("made", {}).get("undecided"):
            card += nodes.paragraph("", f"Decides nothing: {reason}.", classes=["undecided"])
        self.state.nested_parse(self.content, self.content_offset, card)
        return [card]
