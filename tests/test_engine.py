"""Which worker measures which group, and what becomes of groups that do not fit or lose workers."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from few_glyphs import Few, run

from dip_lib.errors import PackError
from dip_lib.store import Store
from dip_lib.training.batches import place_of, shared_out
from dip_lib.training.record import FAILED, Result, record
from dip_lib.training.run import Run
from dip_study import measure
from dip_study.engine import group
from dip_study.engine.dispatch import ALONE, IN_A_ROW, LOSSES, Outcome, dispatch
from dip_study.engine.group import Task, measured
from dip_study.engine.identity import code_identity
from dip_study.engine.processes import portable

ROOT = Path(__file__).resolve().parents[1]


class Made:
    """Workers whose outcomes a test decides; those of one round all end, the last begun first."""

    def __init__(self, names: Sequence[str], outcome: Callable[[str, Task], Outcome]) -> None:
        self.there, self.outcome = list(names), outcome
        self.tasks: dict[str, Task] = {}
        self.history: list[tuple[str, tuple[Run, ...]]] = []

    def names(self) -> Collection[str]:
        return list(self.there)

    def start(self, worker: str, task: Task) -> None:
        assert worker not in self.tasks, "a worker measures one task at a time"
        self.tasks[worker] = task
        self.history.append((worker, task.runs))

    def outcomes(self) -> list[Outcome]:
        ended = [self.outcome(worker, task) for worker, task in reversed(self.tasks.items())]
        self.tasks.clear()
        return ended


def task_of(runs: Sequence[Run]) -> Task:
    return Task(tuple(runs), "cpu", {})


def results(worker: str, task: Task) -> Outcome:
    return Outcome(worker, [Result({"key": each.key()}, {}) for each in task.runs])


def keys(found: Iterator[list[Result]]) -> list[str]:
    return [result.record["key"] for each in found for result in each]


RUNS = [
    run("coop", seed, dataset=dataset, lr=lr, epochs=epochs)
    for dataset in ("greek", "latin", "cyrillic")
    for epochs in (2, 3)
    for lr in (0.01, 0.02)
    for seed in (1, 2)
]
GROUPS = shared_out(RUNS, 4, 2)


def test_every_run_is_measured_once_and_a_worker_goes_on_with_what_it_has_at_hand() -> None:
    workers = Made(["a", "b"], results)
    found = keys(dispatch(GROUPS, workers, task_of))
    assert Counter(found) == Counter(each.key() for each in RUNS)
    changes = 0
    for name in ("a", "b"):
        places = [place_of(runs) for worker, runs in workers.history if worker == name]
        changes += sum(here != there for here, there in pairwise(places))
    assert changes == 2  # each goes on with half of the third dataset; in turns it would be four
    first = {worker: place_of(runs) for worker, runs in workers.history[:2]}
    assert first["a"] != first["b"]


def test_the_group_of_a_lost_worker_goes_to_another() -> None:
    lost: list[tuple[Run, ...]] = []

    def outcome(worker: str, task: Task) -> Outcome:
        if worker == "a" and not lost:
            lost.append(task.runs)
            workers.there.remove("a")
            return Outcome(worker)
        return results(worker, task)

    workers = Made(["a", "b"], outcome)
    found = keys(dispatch(GROUPS, workers, task_of))
    assert Counter(found) == Counter(each.key() for each in RUNS)
    assert [runs for worker, runs in workers.history if worker == "b"].count(lost[0]) == 1


def test_a_group_that_ends_its_workers_is_halved_and_its_run_alone_has_failed() -> None:
    deadly = RUNS[3]

    def outcome(worker: str, task: Task) -> Outcome:
        return Outcome(worker) if deadly in task.runs else results(worker, task)

    workers = Made(["a", "b"], outcome)
    found = [result for each in dispatch(GROUPS, workers, task_of) for result in each]
    assert Counter(r.record["key"] for r in found) == Counter(each.key() for each in RUNS)
    (failed,) = [r.record for r in found if r.record.get("status", "").startswith(FAILED)]
    assert failed["key"] == deadly.key()
    tried = [len(runs) for _, runs in workers.history if deadly in runs]
    assert tried == [4] * LOSSES + [2] * LOSSES + [1] * ALONE


def test_a_worker_that_does_not_take_a_task_costs_nothing() -> None:
    def outcome(worker: str, task: Task) -> Outcome:
        if worker == "a":
            workers.there.remove("a")
            return Outcome(worker, refused=True)
        return results(worker, task)

    workers = Made(["a", "b"], outcome)
    found = keys(dispatch(GROUPS, workers, task_of))
    assert Counter(found) == Counter(each.key() for each in RUNS)


def test_an_error_is_raised_after_what_has_finished_beside_it() -> None:
    def outcome(worker: str, task: Task) -> Outcome:
        return (
            Outcome(worker, error=ValueError("wrong")) if worker == "b" else results(worker, task)
        )

    kept: list[str] = []
    with pytest.raises(ValueError, match="wrong"):
        for each in dispatch(GROUPS, Made(["a", "b"], outcome), task_of):
            kept += [result.record["key"] for result in each]
    assert kept == [each.key() for each in GROUPS[0]]


def test_workers_that_all_end_are_no_groups_fault() -> None:
    dying = Made(["a"], lambda worker, task: Outcome(worker))
    many = [[run("coop", seed)] for seed in range(IN_A_ROW)]
    with pytest.raises(RuntimeError, match="memory"):
        list(dispatch(many, dying, task_of))
    assert len(dying.history) <= IN_A_ROW + 1


# ---- out of memory ------------------------------------------------------------------------------


@pytest.fixture
def most(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many runs fit into memory, on a machine that measures nothing else."""
    limit = {"runs": 2}

    def measure_group(of: Any) -> list[Result]:
        if len(of.runs) > limit["runs"]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        half = type("Half", (), {"names": ("a",), "labels": torch.zeros(3)})()
        return [Result(record(each, (half, half), [{"epoch": 0}], 1.0), {}) for each in of.runs]

    monkeypatch.setattr(group, "measure_group", measure_group)
    monkeypatch.setattr(group, "dataset_of", lambda *_: Few())
    monkeypatch.setenv("DIP_WORKERS", "1")
    return limit


def test_a_group_that_does_not_fit_is_measured_in_parts_in_its_order(most: dict[str, int]) -> None:
    runs = tuple(run("coop", seed) for seed in range(1, 8))
    found = measured(Task(runs, "cpu", {}))
    assert [each.record["key"] for each in found] == [each.key() for each in runs]
    assert {each.record["status"] for each in found} == {"finished"}


def test_a_run_that_does_not_fit_alone_has_failed_and_the_others_go_on(
    most: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, wide, good = Store(tmp_path / "store"), run("coop", 1), run("coop", 2)
    most["runs"] = 0
    derived = run("coop", 1, protocol="all-classes", target="latin")
    measure.measure([wide, derived], store)
    for each in (wide, derived, derived.source()):
        kept = store.get(each)
        assert kept is not None and kept["status"].startswith(FAILED)
        assert "out of memory" in kept["status"]
    assert "out of memory" in capsys.readouterr().err
    most["runs"] = 2
    assert store.missing([wide, good]) == [good]  # it is on its page, as failed
    assert store.missing([wide, good], failed=True) == [wide, good]  # and can be tried again
    measure.measure([wide, good], store)
    assert store.missing([wide, good], failed=True) == []


# ---- between processes --------------------------------------------------------------------------


class Odd(Exception):
    """Whose objects cannot be made again from their arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


INTERRUPTED = """
import psutil, signal
from dip_study.engine.group import Task
from dip_study.engine.processes import Processes

if __name__ == "__main__":
    with Processes().open("cpu", 2) as workers:
        for name in workers.names():
            workers.start(name, Task((), "nowhere", {}))
        found = []
        while len(found) < 2:
            for each in psutil.Process().children(recursive=True):
                each.send_signal(signal.SIGINT)
            found += workers.outcomes()
    print(*(type(each.error).__name__ for each in found))
"""
"""A terminal's Ctrl-C, again and again, while workers begin and fail at tasks without runs."""


def test_ctrl_c_is_not_for_workers(tmp_path: Path) -> None:
    program = tmp_path / "interrupted.py"
    program.write_text(INTERRUPTED)
    where = {**os.environ, "DIP_WORKERS": "2", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, program], env=where, capture_output=True, text=True)
    assert "KeyboardInterrupt" not in done.stderr
    assert len(done.stdout.split()) == 2 and "NoneType" not in done.stdout, done.stderr


def test_an_error_travels_as_it_is_or_as_its_words() -> None:
    # distributed, where it is imported, teaches pickle to make odd ones again, too
    kinds = (PackError("a", "cut", "again"), (PackError,)), (Odd("a", "b"), (RuntimeError, Odd))
    for error, allowed in kinds:
        there = pickle.loads(pickle.dumps(portable(error)))
        assert type(there) in allowed and str(error) in str(there)


def test_the_identity_of_code_is_one_for_a_copy_and_another_for_other_code(tmp_path: Path) -> None:
    for name in ("dip_lib", "dip_study"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    ask = [sys.executable, "-c", "from dip_study.engine.identity import *; print(code_identity())"]

    def there() -> str:
        paths = os.pathsep.join([str(tmp_path), str(ROOT)])
        where = {**os.environ, "PYTHONPATH": paths}
        return subprocess.run(ask, cwd=tmp_path, env=where, capture_output=True, text=True).stdout

    assert there().strip() == code_identity()
    file = tmp_path / "dip_lib" / "training" / "run.py"
    file.write_text(file.read_text().replace("RECIPE = 1", "RECIPE = 2"))
    other = there().strip()
    assert other.startswith("dip-lib ") and other != code_identity()
