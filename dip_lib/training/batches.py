"""Which runs are measured together, and in which order so that processes share little work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby, zip_longest

from dip_lib.training.run import Run


def _batch_key(run: Run, device: str) -> str:
    source, data = run.source(), run.data.dataset
    if run.method.side != "visual" or (source == run and device != "cpu"):
        return f"{data}|{run.shared().key()}"
    # on a CPU they train alone: together are those that condense the same run
    return f"{data}|{run.seed}|{source.key()}|{source != run}"


def batches(runs: Sequence[Run], most: int, device: str = "cpu") -> Iterator[list[Run]]:
    """Runs that can share a batch, at most ``most`` together, in a fixed order."""

    def key(run: Run) -> str:
        return _batch_key(run, device)

    for _, same in groupby(sorted(runs, key=key), key=key):
        batch = list(same)
        for start in range(0, len(batch), most):
            yield batch[start : start + most]


def place_of(runs: Sequence[Run]) -> tuple[str, ...]:
    """What a process keeps at hand from one batch to the next: dataset, style, backbone; of visual
    prompts also the images of a draw."""
    data, tower = runs[0].data, runs[0].tower
    draw = (str(runs[0].seed),) if runs[0].method.side == "visual" else ()
    return data.dataset, data.style, tower.backbone, *draw


def shared_out(
    runs: Sequence[Run], most: int, workers: int, device: str = "cpu"
) -> list[list[Run]]:
    """Batches for so many processes: the first of each dataset, then the second of each, ...

    Two processes that begin with one dataset would both encode it. Visual prompts have no features
    to share, and the images of one draw stay at hand from batch to batch: they keep their order.
    Where too few batches train to occupy every process, they are split.
    """
    whole = list(batches(runs, most, device))
    trained = [len(batch) for batch in whole if batch[0].schedule]
    if 0 < len(trained) < workers:
        whole = list(batches(runs, -(-max(trained) // workers), device))
    lines = defaultdict[tuple[str, ...], list[list[Run]]](list)
    for batch in whole:
        lines[() if batch[0].method.side == "visual" else place_of(batch)].append(batch)
    return [batch for turn in zip_longest(*lines.values()) for batch in turn if batch]
