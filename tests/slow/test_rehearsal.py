"""Every method from pictures to its record on a rehearsed GPU, and the script for a real one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from few_glyphs import Bench
from golden.make import FILE, Mislabelled, differences, golden_runs, measure
from on_card import WAITS, few_on_card, of_a_visual_epoch
from rehearsal import card

ROOT = Path(__file__).resolve().parents[2]
GOLDEN: dict[str, Any] = json.loads(FILE.read_text())["runs"]


@pytest.mark.parametrize("name", golden_runs())
def test_a_run_on_the_card_ends_as_on_the_cpu(name: str) -> None:
    bench = Bench(few_on_card().clip, Mislabelled())
    with card():  # pictures encoded, features kept in files and read, trained, evaluated
        now = measure(bench, golden_runs()[name])
    assert not differences(GOLDEN[name], now)


def test_spt_waits_at_the_ends_of_an_epoch_alone() -> None:
    bench = few_on_card()
    with card() as there:
        found = of_a_visual_epoch(there, bench, "spt")
    assert len(found) == 2 + 2 + 2 * WAITS["spt"], found


def test_the_script_for_a_first_hour_on_a_gpu_runs_on_a_cpu(tmp_path: Path) -> None:
    out = tmp_path / "first_gpu.json"
    line = [sys.executable, ROOT / "benchmarks" / "first_gpu.py", "--smoke", "--out", out]
    subprocess.run(line, check=True)
    parts = json.loads(out.read_text())["parts"]
    assert {name: row["status"] for name, row in parts.items()} == dict.fromkeys(parts, "done")
    assert all(row["result"] for row in parts.values())
