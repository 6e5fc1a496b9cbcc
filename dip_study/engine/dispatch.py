"""Which worker measures which group, what happens to a group whose worker is lost, and the rest.

The same for all kinds of workers. A worker goes on with the dataset and backbone that it has at
hand while there are groups of these; workers begin with different ones, so that no two encode the
same images. A group whose worker was lost goes to another, in halves after the third time, since
its size may be what ended them; a single run counts as failed after the fifth.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from dip_lib.training.batches import place_of
from dip_lib.training.record import Result
from dip_lib.training.run import Run
from dip_study.engine.group import Task, failed_result

LOSSES = 3
"""Workers that a group may lose before it is halved."""
ALONE = 5
"""Workers that a single run may lose before it counts as failed: some are lost by chance."""
IN_A_ROW = 20
"""Workers lost without one result between them: then it is not the groups' fault."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What has become of the task of a worker.

    Attributes:
        worker: its name; it is free now, or lost.
        results: None if there are none.
        error: what the task raised.
        refused: whether the worker cannot be used for this task, which is no fault of either.

    With none of these the worker was lost.
    """

    worker: str
    results: list[Result] | None = None
    error: Exception | None = None
    refused: bool = False


class Workers(Protocol):
    """Workers at hand: each measures one task at a time."""

    def names(self) -> Collection[str]:
        """Those that can be given tasks now, whether busy or not; more may come."""
        ...

    def start(self, worker: str, task: Task) -> None:
        """Give a task to a worker that has none."""
        ...

    def outcomes(self) -> list[Outcome]:
        """What has ended since; waits for a moment if nothing has."""
        ...


class Engine(Protocol):
    """A kind of workers."""

    def size(self, device: str) -> int:
        """How many workers there are to share the groups."""
        ...

    def open(self, device: str, most: int) -> AbstractContextManager[Workers]:
        """The workers, of which at most so many have work; left, none of them works on."""
        ...


@dataclass
class _Waiting:
    """A group that waits for a worker, and how many it has lost."""

    runs: tuple[Run, ...]
    losses: int = 0


def dispatch(
    groups: Sequence[Sequence[Run]],
    workers: Workers,
    task_of: Callable[[Sequence[Run]], Task],
    still_wanted: Callable[[Sequence[Run]], Sequence[Run]] = lambda runs: runs,
) -> Iterator[list[Result]]:
    """Measure groups; yields the results of each as it finishes.

    Args:
        groups: in the order of :func:`dip_lib.training.batches.shared_out`.
        task_of: makes a group's task when its turn has come.
        still_wanted: says which runs of a group are to be measured when its turn has come.

    Raises:
        RuntimeError: workers end again and again and nothing is measured.
        Exception: what a group raised, after the results that were there have been yielded.
    """
    queue = [_Waiting(tuple(group)) for group in groups]
    at_work: dict[str, _Waiting] = {}
    places: dict[str, tuple[str, ...]] = {}
    lost_in_a_row = 0
    while queue or at_work:
        there = workers.names()
        places = {worker: place for worker, place in places.items() if worker in there}
        for worker in there:
            while queue and worker not in at_work:
                group = _next(queue, places, worker)
                queue.remove(group)
                group.runs = tuple(still_wanted(group.runs))
                if not group.runs:
                    continue
                at_work[worker], places[worker] = group, place_of(group.runs)
                workers.start(worker, task_of(group.runs))
        error: Exception | None = None
        for outcome in workers.outcomes():
            group = at_work.pop(outcome.worker)
            error = error or outcome.error
            if outcome.results is not None:
                lost_in_a_row = 0
                yield outcome.results
            elif outcome.refused:
                queue.insert(0, group)
            elif outcome.error is None:
                lost_in_a_row += 1
                again, failed = _after_loss(group, task_of)
                queue[:0] = again
                if failed:
                    yield failed
        if error:
            raise error
        if lost_in_a_row > IN_A_ROW:
            raise RuntimeError(
                f"{lost_in_a_row} workers in a row ended before they had measured anything: look "
                "at their logs, and at the memory of their machine"
            )


def _next(queue: Sequence[_Waiting], places: dict[str, tuple[str, ...]], worker: str) -> _Waiting:
    """The first group of what the worker has at hand, else of what nobody has, else the first."""
    mine, others = places.get(worker), {*places.values()}
    of = [(each, place_of(each.runs)) for each in queue]
    here = (each for each, place in of if place == mine)
    new = (each for each, place in of if place not in others)
    return next(here, None) or next(new, None) or queue[0]


def _after_loss(
    group: _Waiting, task_of: Callable[[Sequence[Run]], Task]
) -> tuple[list[_Waiting], list[Result]]:
    """The groups to try again, and the results of what has failed for good."""
    if group.losses + 1 < (LOSSES if len(group.runs) > 1 else ALONE):
        return [_Waiting(group.runs, group.losses + 1)], []
    if len(group.runs) > 1:
        middle = len(group.runs) // 2
        return [_Waiting(group.runs[:middle]), _Waiting(group.runs[middle:])], []
    reason = f"{ALONE} workers ended while they measured it"
    return [], [failed_result(group.runs[0], reason, task_of(group.runs).device)]
