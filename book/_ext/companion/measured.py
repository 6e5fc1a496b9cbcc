"""The role ``{measured}`notebook/key```: a number in prose, read from a results file.

A notebook writes the numbers that prose may use to ``<notebook>.json`` as
``{key: {"value": ..., "text": "..."}}``. The role prints the text and links it to the notebook;
of a number that decides nothing it adds the reason, its ``undecided``.
A missing file or key is a warning, and the book is built with warnings as errors.

``{measured}`notebook/photos/key` `` is the number of one world, wherever the page has it: prose
that names a world uses it. Where that world was not measured it says so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from dip_book.claims import WORLDS
from dip_lib.errors import one_of

logger = logging.getLogger(__name__)


def numbers_dir(source: Path) -> Path:
    """Where the numbers of the book at ``source`` lie."""
    return source / "results" / "numbers"


def look_up(folder: Path, name: str) -> dict[str, Any]:
    """The entry called ``notebook/key``, or ``notebook/world/key`` of one of the claims' worlds.

    In the second form it is one that says "not measured" where only other worlds have the number.

    Raises:
        ValueError: no such notebook or key; names the nearest.
    """
    notebook, _, key = name.partition("/")
    files = {path.stem: path for path in folder.glob("*.json")}
    if not files:
        raise ValueError(f"no numbers in {folder}: run make publish, or make book")
    entries = json.loads(files[one_of("notebook with numbers", notebook, files)].read_text("utf-8"))
    kind = f"number of {notebook}"
    world, _, plain = key.partition("/")
    if not plain or world not in WORLDS:
        return entries[one_of(kind, key, entries)]
    one_of(kind, plain, {each.rpartition("/")[2] for each in entries})
    found = [each for each in (entries.get(key), entries.get(plain)) if each]
    same = (each for each in found if each.get("world", "embedded") == world)
    return next(same, {"text": "not measured"})


class Measured(SphinxRole):
    """Prints ``entry["text"]`` as a link to the notebook that measured it."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        folder = numbers_dir(Path(self.env.srcdir))
        notebook = self.text.split("/")[0]
        self.env.note_dependency(str(folder / f"{notebook}.json"))
        try:
            entry = look_up(folder, self.text)
            reason = entry.get("undecided")
            text = f"{entry['text']} ({reason})" if reason else str(entry["text"])
        except (ValueError, KeyError) as error:
            logger.warning("measured: %s", error, location=self.get_location())
            return [nodes.problematic(self.rawtext, self.rawtext)], []
        link = addnodes.pending_xref(
            "",
            nodes.inline(text, text),
            refdomain="std",
            reftype="doc",
            refexplicit=True,
            reftarget=f"/notebooks/{notebook}",
            refwarn=True,
            refdoc=self.env.docname,
        )
        return [nodes.inline("", "", link, classes=["measured"])], []
