"""Workers of Dask distributed, on this machine or on many: an extra, ``dip-lib[dask]``.

Each worker measures one group at a time, so a GPU has one worker; more than one thread is of no use
to it. The client, which has the store, decides which worker measures which group; Dask starts the
workers, carries tasks and results, and knows who is there. Datasets are read where the worker has
them (``DATA``, feature packs). A worker that lacks a dataset's packs is sent them once.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from dip_lib.data.pack_files import own_packs
from dip_lib.data.packed import PackedDataset
from dip_lib.files import write_atomic
from dip_study.engine.dispatch import Outcome, Workers
from dip_study.engine.group import Task, measured_bytes
from dip_study.engine.identity import code_identity, host_and_code
from dip_study.engine.processes import SECONDS
from dip_study.loaded import dataset_of
from dip_study.runs import is_present

if TYPE_CHECKING:
    from distributed import Client, Future, SpecCluster

Packs = list[tuple[str, bytes]]
"""File names and contents of feature packs."""


@contextmanager
def dask_cluster(scheduler: str = "", workers: int = 0, device: str = "cpu") -> Iterator[Cluster]:
    """Dask's workers as an engine.

    Args:
        scheduler: the address of a running one ("tcp://10.0.0.1:8786"), with whatever workers; to
            "tls://..." with the certificate that Dask's own settings name.
        workers: without one, how many processes are started here: on GPUs at most one a GPU.

    Raises:
        RuntimeError: Dask is not installed.
        ValueError: more workers than GPUs; no certificate for an encrypted scheduler.
        OSError: no scheduler answers.
    """
    try:
        from distributed import Client, Security
    except ImportError as error:
        raise RuntimeError(
            "Dask distributed is not installed: pip install 'dip-lib[dask]'"
        ) from error
    if scheduler.startswith("tls:") and not Security().get_connection_args("client")["ssl_context"]:
        how = "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ...__CLIENT__CERT and ...__CLIENT__KEY"
        raise ValueError(f"{scheduler} needs a certificate: Dask's settings name none. Set {how}")
    with ExitStack() as stack:
        here = None if scheduler else stack.enter_context(_local_cluster(workers, device))
        yield Cluster(stack.enter_context(Client(here or scheduler)), here)


@contextmanager
def _local_cluster(workers: int, device: str) -> Iterator[Any]:
    import dask
    from distributed import Nanny, Scheduler, SpecCluster

    # a worker that starts again on a busy machine is not lost
    dask.config.set({"distributed.deploy.lost-worker-timeout": "120s"})
    options = [_options(i, workers, device) for i in range(workers)]
    here = {"host": "127.0.0.1", "dashboard_address": ":0", "dashboard": False}
    with SpecCluster(
        scheduler={"cls": Scheduler, "options": here},
        workers={i: {"cls": Nanny, "options": each} for i, each in enumerate(options)},
        silence_logs=logging.ERROR,
    ) as cluster:
        try:
            yield cluster
        except BaseException:
            # what they measure is of no use any more, and a worker in the middle of a group would
            # be waited for
            for nanny in cluster.workers.values():
                if nanny.process and nanny.pid:
                    with suppress(ProcessLookupError):
                        os.kill(nanny.pid, 9)
            raise


def _replace_ended(cluster: SpecCluster) -> None:
    """Start workers for those whose process could not be started again; Dask restarts others."""
    from distributed.core import Status

    for name, nanny in list(cluster.workers.items()):
        if nanny.status in (Status.failed, Status.closed):
            cluster.workers.pop(name, None)
    cluster.scale(len(cluster.worker_spec))


def _options(worker: int, of: int, device: str) -> dict[str, Any]:
    """Of a worker here: a thread, no limit of memory, as the processes without Dask; a GPU."""
    options: dict[str, Any] = {"nthreads": 1, "memory_limit": 0, "host": "127.0.0.1"}
    options["silence_logs"] = logging.ERROR
    if torch.device(device).type == "cpu":
        return options
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpus = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    if of > len(gpus):
        raise ValueError(
            f"{of} workers, but {len(gpus)} GPUs here: give each worker one of its own"
        )
    return {**options, "env": {"CUDA_VISIBLE_DEVICES": gpus[worker]}}


class Cluster:
    """The workers of a scheduler that have this client's code; each is asked when it is first seen.

    Args:
        client: connected to the scheduler.
        here: the cluster whose workers were started for this engine, and are when they end.
    """

    def __init__(self, client: Client, here: SpecCluster | None = None) -> None:
        self._client, self._here = client, here
        self._accepted: dict[str, bool] = {}
        self._at_work: dict[str, tuple[Task, Future]] = {}
        self._sent = set[tuple[str, str]]()  # (worker, dataset): its packs were sent
        self._packs: dict[str, Future] = {}

    def size(self, device: str) -> int:
        """The workers that are there when the first is."""
        told = False
        while not (there := self.names()):
            if not told:
                tqdm.write("dip: waiting for a worker of the scheduler", sys.stderr)
                told = True
            time.sleep(SECONDS)
        return len(there)

    def open(self, device: str, most: int) -> AbstractContextManager[Workers]:
        return nullcontext(self)

    def names(self) -> Collection[str]:
        """The addresses of the workers with the client's code; each other one is named once.

        Raises:
            RuntimeError: no worker so far had it.
            OSError: the scheduler does not answer.
        """
        there = list(self._client.nthreads())
        if self._here and len(there) < len(self._here.worker_spec):
            _replace_ended(self._here)
        if new := [each for each in there if each not in self._accepted]:
            told = self._client.run(host_and_code, workers=new, on_error="return")
            for each in new:
                self._accepted[each] = self._accept(each, told.get(each))
        accepted = [each for each in there if self._accepted[each]]
        if there and not any(self._accepted.values()):  # else one was lost, and is waited for
            raise RuntimeError(
                f"no worker can be used: none has {code_identity()} and the data. Install the same "
                "version where the workers run, and start them again"
            )
        return accepted

    def _accept(self, worker: str, told: Any) -> bool:
        if not isinstance(told, tuple):  # what asking it has raised
            self._say_refused(worker, f"{type(told).__name__}: {told}")
            return False
        host, code = told
        if code != code_identity():
            self._say_refused(f"{worker} on {host}", f"it has {code}, here is {code_identity()}")
            return False
        return True

    def _say_refused(self, worker: str, reason: str) -> None:
        tqdm.write(f"dip: worker {worker} is refused: {reason}", sys.stderr)

    def start(self, worker: str, task: Task, packs: Future | None = None) -> None:
        placed = {"workers": [worker], "allow_other_workers": False}
        given = self._client.submit(
            measured_there, pickle.dumps(task), packs, pure=False, retries=0, **placed
        )
        self._at_work[worker] = task, given

    def outcomes(self) -> list[Outcome]:
        from distributed import wait

        futures = [future for _, future in self._at_work.values()]
        if not futures:
            time.sleep(SECONDS)
            return []
        with suppress(TimeoutError):
            wait(futures, SECONDS, "FIRST_COMPLETED")
        there = self._client.nthreads()
        ended = [
            worker
            for worker, (_, future) in self._at_work.items()
            if worker not in there or future.status != "pending"
        ]
        return [each for worker in ended if (each := self._outcome(worker))]

    def _outcome(self, worker: str) -> Outcome | None:
        """What has become of a worker's task; None if it is given again, with what it lacked."""
        from distributed import KilledWorker

        task, future = self._at_work.pop(worker)
        if future.status == "error":
            error = future.exception()
            return Outcome(worker, error=None if isinstance(error, KilledWorker) else error)
        while worker in self._client.nthreads() and future.status == "finished":
            try:
                results = future.result(timeout=SECONDS)
            except TimeoutError:  # it may have ended before it handed over what it had finished
                continue
            if results is not None:
                return Outcome(worker, pickle.loads(results))
            return self._without_data(worker, task)
        future.cancel()
        return Outcome(worker)

    def _without_data(self, worker: str, task: Task) -> Outcome | None:
        data = task.runs[0].data
        for name in filter(None, (data.dataset, data.target)):
            packed = dataset_of(name, "default", task.folders)
            if isinstance(packed, PackedDataset) and (worker, name) not in self._sent:
                if name not in self._packs:
                    files = [(path.name, path.read_bytes()) for path in packed.files]
                    self._packs[name] = self._client.scatter(files, hash=False)
                self._sent.add((worker, name))
                self.start(worker, task, self._packs[name])
                return None
        self._accepted[worker] = False
        asked = " and ".join(filter(None, (data.dataset, data.target, task.runs[0].tower.backbone)))
        self._say_refused(
            worker, f"{asked} are not there as they are here (DATA, packs, folders of a profile)"
        )
        return Outcome(worker, refused=True)


def measured_there(task: bytes, packs: Packs | None) -> bytes | None:
    """On a worker: the results of a task; None where its data or weights are not as the client's.

    Args:
        packs: to be kept in this machine's own packs first.
    """
    for name, content in packs or ():
        write_atomic(own_packs() / name, content)
    asked: Task = pickle.loads(task)
    if asked.device == "cpu":
        torch.set_num_threads(1)
    if not is_present(asked.runs[0], asked.folders):  # a batch has one dataset, target, tower
        return None
    return measured_bytes(task)
