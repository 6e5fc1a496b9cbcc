"""The record of a finished run, as the store keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from dip_lib.data.protocols import Split
from dip_lib.training.run import RECIPE, Run

Record = dict[str, Any]
FINISHED = "finished"
FAILED = "failed: "
"""How the status of a run begins that this machine could not measure; it can be tried again."""


class Result(NamedTuple):
    """A measured run: its record (without machine and time of day) and what it has learned."""

    record: Record
    tensors: dict[str, Tensor]


def record(
    run: Run,
    tested: tuple[Split, Split],
    checkpoints: Sequence[Record],
    seconds: float,
    trainable: int = 0,
    status: str = FINISHED,
    batch_runs: int = 1,
) -> Record:
    """The record of a run, without machine, versions and time.

    Args:
        tested: test images of the trained classes, and of the others.
        checkpoints: a row each, from the start to the end.
        seconds: of one core, or of a GPU (:func:`dip_lib.machine.work_seconds`); of runs trained
            together this one's share.
        trainable: trainable parameters.
        status: "finished", or why the run stopped.
        batch_runs: how many runs trained at once.
    """
    return _names(run) | {
        "classes": [len(half.names) for half in tested],
        "test_images": [half.labels.shape[-1] for half in tested],
        "trainable": trainable,
        "status": status,
        "checkpoints": list(checkpoints),
        "seconds": seconds,
        "batch_runs": batch_runs,
    }


def failed(run: Run, reason: str) -> Record:
    """The record of a run that could not be measured: of one checkpoint, at which nothing was."""
    return _names(run) | {
        "classes": [],
        "test_images": [],
        "trainable": 0,
        "status": f"{FAILED}{reason}",
        "checkpoints": [{"epoch": 0, "loss": None}],
        "seconds": 0.0,
        "batch_runs": 1,
    }


def _names(run: Run) -> Record:
    return {
        "key": run.key(),
        "recipe": RECIPE,
        "code": type(run.method).identity(),
        "label": run.label,
        "run": run.to_dict(),
    }
