"""The directive ``{train-here}``: a prompt that the reader trains in the page.

The page may fetch nothing, so what it reads comes as scripts, which register themselves: the text
encoder, straight from Glyph World's committed weights, and what ``python -m dip_book.train_here``
left in ``book/train_here``. They are written beside the page's own scripts when the site is built,
and loaded when the reader asks for them.
"""

from __future__ import annotations

import base64
import json
import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from .templates import html

logger = logging.getLogger(__name__)
PARTS = (
    *("parts", "kernels", "attention", "layout", "tower", "chance", "prompt", "density"),
    *("training", "tokens", "packs", "world", "image_tower", "ask", "worker"),
    *("charts", "show", "drawing", "page", "begin"),
)
"""The page's scripts in ``book/_static/train``, the one that the others register with first."""


IMAGES = "image_tower.safetensors"
"""What the image encoder's attention pool comes down to, beside the families in their folder."""


class Stored(NamedTuple):
    """A tensor of a safetensors file, as it lies there."""

    kind: str  # "F16", "F32", "U8", ...
    shape: list[int]
    data: bytes


def read(path: Path) -> tuple[dict[str, Any], dict[str, Stored]]:
    """What a safetensors file says of itself (its entry "about"), and its tensors by name.

    Read by hand, a header in JSON and bytes: building the site needs no package for it.
    """
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header, body = json.loads(content[8 : 8 + size]), content[8 + size :]
    about = json.loads(header.pop("__metadata__", {}).get("about", "{}"))
    return about, {
        name: Stored(each["dtype"], each["shape"], body[slice(*each["data_offsets"])])
        for name, each in header.items()
    }


def script(name: str, content: dict[str, Any]) -> str:
    """A script that registers ``content`` as the pack ``name``."""
    text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    return f"TrainHere.pack({json.dumps(name)}, {text});\n"


def packed(about: dict[str, Any], tensors: dict[str, Stored]) -> dict[str, Any]:
    """Tensors as the page's ``packs.js`` reads them: an index, and all bytes in base64."""
    index, data = [], b""
    for name, (kind, shape, content) in tensors.items():
        index.append([name, kind, shape, len(data), len(data) + len(content)])
        data += content
    return {"about": about, "index": index, "data": base64.b64encode(data).decode()}


def weights() -> Path:
    """Glyph World's weights, found without importing it, which would need torch."""
    spec = find_spec("glyph_world")
    assert spec and spec.origin
    return Path(spec.origin).with_name("weights") / "glyph-resnet.safetensors"


def families(data: Path) -> list[Path]:
    """The files of the families in ``book/train_here``."""
    return sorted(path for path in data.glob("*.safetensors") if path.name != IMAGES)


def scripts(data: Path) -> dict[str, str]:
    """Pack -> its script, of everything that the page may load; ``data`` is ``book/train_here``."""
    _, tower = read(weights())
    _, pool = read(data / IMAGES)
    text = {name: each for name, each in tower.items() if not name.startswith("visual.")}
    images = {name: each for name, each in tower.items() if name not in text}
    images = {name: each for name, each in images.items() if "attnpool" not in name} | pool
    made = {
        "text_tower": packed({}, text),
        "image_tower": packed({}, images),
        "vocabulary": json.loads((data / "vocabulary.json").read_text("utf-8")),
    }
    made |= {path.stem: packed(*read(path)) for path in families(data)}
    return {name: script(name, content) for name, content in made.items()}


def write_scripts(app: Sphinx, exception: Exception | None) -> None:
    """Write the scripts of data into the built site, if it has the page."""
    data = Path(app.srcdir) / "book" / "train_here"
    if data.is_dir() and not exception:
        folder = Path(app.outdir) / "_static" / "train" / "packs"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in scripts(data).items():
            (folder / f"{name}.js").write_text(text, "utf-8")


class TrainHere(SphinxDirective):
    """Controls and pictures where scripts run, and else what stands in the directive."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        data = Path(self.env.app.srcdir) / "book" / "train_here"
        found = {path.stem: read(path)[0] for path in families(data)}
        if not found:
            logger.warning(
                "train-here: %s holds no families: run python -m dip_book.train_here",
                data,
                location=self.get_location(),
            )
            return []
        up = "../" * self.env.app.builder.get_target_uri(self.env.docname).count("/")
        static = f"{up}_static/train"
        still = nodes.container(classes=["train-still"])
        self.state.nested_parse(self.content, self.content_offset, still)
        return [html("train_here.html", families=found, static=static, parts=PARTS), still]
