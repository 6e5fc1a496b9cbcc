"""The script for a first hour on a GPU: its limits, its JSON, its checks on a rehearsed GPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from few_glyphs import Few
from rehearsal import card

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))  # as when a benchmark is run as a program

import first_gpu  # noqa: E402
import gpu_checks  # noqa: E402
from first_gpu import ALL, PARTS, Part, command  # noqa: E402


def test_all_parts_together_have_eight_minutes_and_programs_that_exist() -> None:
    assert sum(part.limit for part in PARTS.values()) <= ALL
    for part in PARTS.values():
        assert (ROOT / "benchmarks" / part.program).is_file()
    assert {part.check for part in PARTS.values() if part.check} == gpu_checks.CHECKS.keys()
    line = command(PARTS["sweep"], "cuda", False, Path("out.json"))
    assert line[2:] == ["--device", "cuda", "--quick", "--out", "out.json"]


MADE = {
    "good": "print('a line'); print('{\"ratio\": 2.0}')",
    "broken": "import sys; sys.exit('no such card')",
    "slow": "import sys, time; open(sys.argv[-1], 'w').write('[1]'); time.sleep(60)",
    "last": "print('{\"ratio\": 3.0}')",
}
"""Programs in the place of the parts; the slow one has written something before it is ended."""


def test_a_part_that_fails_is_recorded_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in MADE.items():
        (tmp_path / f"{name}.py").write_text(text)
    parts = {
        name: Part(str(tmp_path / f"{name}.py"), 6, (), check)
        for name, check in {"good": "x", "broken": "x", "slow": "", "last": "x"}.items()
    }
    out, seen = tmp_path / "out.json", list[dict[str, Any]]()

    def noted(*args: Any) -> dict[str, Any]:
        seen.append(json.loads(out.read_text())["parts"])  # what a killed program would leave
        return measured(*args)

    measured = first_gpu.measure
    monkeypatch.setattr(first_gpu, "PARTS", parts)
    monkeypatch.setattr(first_gpu, "ALL", 6)  # seconds, for the slow one
    monkeypatch.setattr(first_gpu, "measure", noted)
    monkeypatch.setattr(sys, "argv", ["first_gpu.py", "--smoke", "--out", str(out)])
    first_gpu.main()
    found = json.loads(out.read_text())
    assert "no_measurement" in found and found["machine"]["cpu"]
    ended = {name: row["status"] for name, row in found["parts"].items()}
    assert ended == {
        "good": "done",
        "broken": "failed",
        "slow": "out of time",
        "last": "done",
    }
    assert found["parts"]["good"]["result"] == {"ratio": 2.0}
    assert "no such card" in found["parts"]["broken"]["error"]
    assert found["parts"]["slow"]["result"] == [1]
    for number, before in enumerate(seen):
        known = [name for name, row in before.items() if row["status"] != "not run"]
        assert known == list(MADE)[:number]


def test_an_unknown_part_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["first_gpu.py", "--smoke", "--out", str(tmp_path / "x.json"), "--only", "speed"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit):
        first_gpu.main()
    assert "speed" in capsys.readouterr().err


def test_the_checks_find_on_a_rehearsed_gpu_what_is_true_of_it() -> None:
    with card():
        waits = gpu_checks.waits("cuda", Few(), smoke=True)["methods"]
        graphs = gpu_checks.graphs("cuda", Few(), smoke=True)["methods"]
    assert waits["coop"]["waits"] == waits["dip"]["waits"] == 0
    assert waits["do"]["waits"] == 3 * waits["do"]["steps"] == sum(waits["do"]["at"].values())
    assert graphs.keys() == {"coop", "dip"}
    assert all(each["apart"] == 0 < each["moved"] for each in graphs.values())


def test_accuracies_are_compared_with_what_seeds_do() -> None:
    found = gpu_checks.compared({"coop base": [70.0, 72.0]}, {"coop base": [71.0, 75.0]})
    row = found["coop base"]
    assert row["difference"] == 2 and not row["within_seed_noise"]
    assert gpu_checks.compared({"x": [70.0, 74.0]}, {"x": [72.0, 73.0]})["x"]["within_seed_noise"]
