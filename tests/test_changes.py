"""The table of verdicts that changed names every one that did, with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dip_book.changes import BEFORE, changes
from dip_book.scoreboard import scoreboard

ROOT = Path(__file__).parents[1]
ROWS = [{"id": "c", "claim": "text", "judged": {"photos": {"verdict": "inconclusive"}}}]
ENTRY = '[c.photos]\nverdict = "reproduced"\nvalue = "1.0 [0.1, 1.9]"\nwhy = "because"\n'


def read(folder: Path, text: str) -> list[dict[str, Any]]:
    (folder / BEFORE).write_text(text)
    return changes(folder / BEFORE, ROWS)


def test_a_row_has_before_and_now(tmp_path: Path) -> None:
    (row,) = read(tmp_path, ENTRY)
    assert (row["id"], row["world"], row["before"]) == ("c", "photos", "reproduced")
    assert row["now"]["verdict"] == "inconclusive" and row["why"] == "because"


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("[c.", "[d.", ValueError),
        ("photos", "embedded", ValueError),
        ('"reproduced"', '"proven"', ValueError),
        ("why", "how", KeyError),
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(
    tmp_path: Path, old: str, new: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        read(tmp_path, ENTRY.replace(old, new))


def test_what_is_committed_changed_indeed_and_has_a_reason() -> None:
    rows = scoreboard(ROOT / "book" / "claims.toml", ROOT / "results" / "numbers")
    found = changes(ROOT / "book" / BEFORE, rows)
    assert found
    for row in found:
        assert row["before"] != row["now"]["verdict"], row
        assert len(row["why"]) > 20
