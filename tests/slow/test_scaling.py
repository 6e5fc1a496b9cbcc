"""The benchmark of scaling, as a program: the same bits wherever workers are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_workers_in_another_network_find_the_same_results(tmp_path: Path) -> None:
    out = tmp_path / "scaling.json"
    program = [sys.executable, str(ROOT / "benchmarks" / "scaling.py"), "--smoke", "--out"]
    subprocess.run(
        [*program, str(out)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=True,
    )
    result = json.loads(out.read_text())
    assert result["same_results"]
    assert {"processes, 2", "Dask, 2"} <= {*result["seconds"]}
    assert ("Dask, 2, other network" in result["seconds"]) == (not result["other_network"])
