"""Measuring runs: group those that can share a batch, and keep each as it finishes.

Where groups are measured is the engine's business (``dip_study.engine``). The store is this
process's alone: a killed call loses only the groups under way.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from dip_lib.data.dataset import check_open
from dip_lib.files import check_output
from dip_lib.store import Store
from dip_lib.store.store import LAYOUT
from dip_lib.training.batches import shared_out
from dip_lib.training.record import FAILED, FINISHED, Result
from dip_lib.training.run import Run
from dip_study import gate
from dip_study.engine.dispatch import Engine, dispatch
from dip_study.engine.group import Task, failed_result
from dip_study.engine.processes import Processes
from dip_study.loaded import NO_FOLDERS

BATCH = {"cpu": 16, "cuda": 64}
"""Most runs trained at once: on a CPU few, so that every core has a batch."""


def measure(
    runs: Sequence[Run],
    store: Store,
    device: str = "cpu",
    folders: Mapping[str, Path] = NO_FOLDERS,
    engine: Engine | None = None,
) -> None:
    """Measure runs and put each finished group into the store; shows progress with an ETA.

    Args:
        folders: of the datasets that the runs' profile brings
            (:func:`dip_study.loaded.dataset_of`).
        engine: where groups are measured; default this machine's processes.

    Raises:
        ValueError: a run of a sealed dataset; nothing was measured.
        OSError: the store cannot be written; nothing was measured.
        RuntimeError: on photos, zero-shot accuracy is off the published one; nothing was trained.
    """
    for dataset in {name for run in runs for name in (run.data.dataset, run.data.target)}:
        check_open(dataset)
    engine = engine or Processes()
    first = gate.zero_shots(runs)
    sources = dict.fromkeys(run.source() for run in runs if run.source() != run)
    unknown = [run for run in sources if store.tensors(run) is None]
    known = {*first, *unknown}
    own = [run for run in runs if run.source() == run and run not in known]
    made_of_others = [run for run in runs if run.source() != run]
    phases = [store.missing(first, failed=True), [*own, *unknown], made_of_others]
    kind, workers = torch.device(device).type, engine.size(device)
    groups = [shared_out(phase, BATCH[kind], workers, kind) for phase in phases]

    def task_of(group: Sequence[Run]) -> Task:
        return Task(tuple(group), device, folders, _sources(group, store))

    new = {*store.missing(chain(*phases), failed=True)}

    def still_wanted(group: Sequence[Run]) -> list[Run]:
        """Without the runs that another process has put into the store meanwhile."""
        there = {*group} & new - {*store.missing(group, failed=True)}
        bar.update(len(there))
        return [run for run in group if run not in there]

    if any(groups):
        check_output(store.live / LAYOUT)  # before the work, not after it
    quiet = {} if any(groups) else {"disable": True}
    bar = tqdm(total=sum(map(len, phases)), desc="measuring", unit="run", mininterval=1, **quiet)
    with engine.open(device, max(map(len, groups))) as at_hand, bar:
        for phase, each in zip(phases, groups, strict=True):
            possible, lost = _with_sources(each, store, device)
            for results in chain([lost], dispatch(possible, at_hand, task_of, still_wanted)):
                _keep(results, store)
                bar.update(len(results))
            if phase is phases[0]:
                for line in gate.check(record for run in first if (record := store.get(run))):
                    tqdm.write(line, sys.stderr)


def _keep(results: Sequence[Result], store: Store) -> None:
    for record, learned in results:
        store.put(record, learned)
        if record["status"] != FINISHED:
            tqdm.write(
                f"{record['label']} on {record['run']['data']['dataset']}, seed "
                f"{record['run']['seed']}: {record['status']}",
                sys.stderr,
            )


def _with_sources(
    groups: Sequence[Sequence[Run]], store: Store, device: str
) -> tuple[list[list[Run]], list[Result]]:
    """The groups without the runs whose source has failed, and the results of those: failed."""
    possible, lost = list[list[Run]](), list[Result]()
    for group in groups:
        sources = [store.get(run.source()) if run.source() != run else None for run in group]
        status = [source["status"] if source else FINISHED for source in sources]
        gone = [said.startswith(FAILED) for said in status]
        possible.append([run for run, is_gone in zip(group, gone, strict=True) if not is_gone])
        lost += [
            failed_result(run, f"its source {said}", device)
            for run, said, is_gone in zip(group, status, gone, strict=True)
            if is_gone
        ]
    return [group for group in possible if group], lost


def _sources(runs: Sequence[Run], store: Store) -> tuple[tuple[str, dict[str, Tensor]], ...]:
    """Status and tensors of the source of each run; () for runs that train themselves."""
    if runs[0].source() == runs[0]:
        return ()
    found = []
    for source in (run.source() for run in runs):
        record, tensors = store.get(source), store.tensors(source)
        if record is None or tensors is None:
            raise LookupError(f"the prompts of {source} are not in {store.live}: measure it first")
        found.append((str(record["status"]), tensors))
    return tuple(found)
