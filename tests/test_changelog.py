"""Where the changelog says that a module is, it is."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_modules_are_where_the_changelog_says_they_moved() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    rows = re.findall(r"^\| `dip_lib.*\| (.+) \|$", text, re.MULTILINE)
    places = {name for row in rows for name in re.findall(r"`(dip_lib[\w.]*)`", row)}
    assert len(places) > 15
    for name in places:
        module, _, last = name.rpartition(".")
        assert find_spec(module if last[0].isupper() else name), name
