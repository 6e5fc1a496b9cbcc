"""Workers on this machine: one-thread processes on a CPU, this process itself on a GPU.

Processes are faster than threads on a CPU. A worker ends with the process that started it, however
that one ends.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import RLock, Thread

import torch
from tqdm import tqdm

from dip_lib.machine import usable_cores
from dip_study.engine.dispatch import Outcome, Workers
from dip_study.engine.group import Task, measured, measured_bytes

CONTEXT = get_context("forkserver") if sys.platform == "linux" else get_context("spawn")
"""On Linux workers are forked from a process that has imported everything once and done nothing
else; elsewhere a fork of what system libraries have started is not safe."""
SECONDS = 0.5
"""Longest wait for an outcome, after which workers are looked at again."""


class Processes:
    """The engine of this machine: ``$DIP_WORKERS`` processes, default one a core."""

    def size(self, device: str) -> int:
        """One on a GPU."""
        return 1 if device != "cpu" else int(os.environ.get("DIP_WORKERS", usable_cores()))

    @contextmanager
    def open(self, device: str, most: int) -> Iterator[Workers]:
        """A single worker is this process; others start with their first task."""
        count = min(self.size(device), most)
        if count <= 1:
            yield ThisProcess()
            return
        workers = _Pool(count)
        try:
            yield workers
        finally:
            workers.end()


class ThisProcess:
    """This process as the only worker."""

    def __init__(self) -> None:
        self._task: Task | None = None

    def names(self) -> Collection[str]:
        return ("this process",)

    def start(self, worker: str, task: Task) -> None:
        self._task = task

    def outcomes(self) -> list[Outcome]:
        """Measures the task, if there is one; what it raises is raised here."""
        task, self._task = self._task, None
        return [Outcome("this process", measured(task))] if task else []


@dataclass(frozen=True, eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection


class _Pool:
    """Worker processes by name; one that has ended is replaced when it is next given a task."""

    def __init__(self, count: int) -> None:
        self._names = [f"process {i + 1}" for i in range(count)]
        self._workers: dict[str, _Worker] = {}
        self._busy = set[str]()

    def names(self) -> Collection[str]:
        return self._names

    def start(self, worker: str, task: Task) -> None:
        if worker not in self._workers:
            self._workers[worker] = _started(dict(os.environ))
        with suppress(OSError):  # it has ended meanwhile: an outcome says so
            self._workers[worker].pipe.send_bytes(pickle.dumps(task))
        self._busy.add(worker)

    def outcomes(self) -> list[Outcome]:
        pipes = {self._workers[name].pipe: name for name in self._busy}
        ready = wait(list(pipes), SECONDS)
        return [self._outcome(name) for pipe, name in pipes.items() if pipe in ready]

    def _outcome(self, name: str) -> Outcome:
        self._busy.remove(name)
        try:
            ended_well, value = pickle.loads(self._workers[name].pipe.recv_bytes())
        except (EOFError, OSError):  # the worker has ended, maybe while it sent
            _end(self._workers.pop(name))
            return Outcome(name)
        if ended_well:
            return Outcome(name, pickle.loads(value))
        return Outcome(name, error=value)

    def end(self) -> None:
        """End all, whatever they do."""
        for worker in self._workers.values():
            worker.process.kill()
        for worker in self._workers.values():
            _end(worker)
        self._workers.clear()


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.process.close()
    worker.pipe.close()


def _started(environment: Mapping[str, str]) -> _Worker:
    CONTEXT.set_forkserver_preload([__name__, "open_clip"])
    here, there = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_serve, args=(there, environment))
    # Ctrl-C is for this process: its workers, which inherit the mask, end with it. The tracker that
    # comes with the first one is begun before, since beginning it clears the mask
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    there.close()  # the worker's alone: its end then ends what is read here
    return _Worker(process, here)


# ---- in the worker ------------------------------------------------------------------------------


def _serve(pipe: Connection, environment: Mapping[str, str]) -> None:
    """Measure what the pipe brings until it is closed."""
    os.environ.clear()  # the process that it was forked from has kept that of its own start
    os.environ.update(environment)
    torch.set_num_threads(1)  # two threads a process on two busy cores are slower than one
    tqdm.set_lock(RLock())  # its own outlives a worker that is ended, and Python warns of that
    Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError):
        while True:
            task = pipe.recv_bytes()
            try:
                answer = pickle.dumps((True, measured_bytes(task)))
            except Exception as error:
                answer = pickle.dumps((False, portable(error)))
            pipe.send_bytes(answer)


def portable(error: Exception) -> Exception:
    """The error as another process can read it, with the traceback as a note."""
    error.add_note(traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:  # of a class whose objects cannot be made again from their arguments
        return RuntimeError(f"{type(error).__name__}: {error}")


def _end_with_parent() -> None:
    # a worker whose parent was killed would measure on for nobody, and keep its memory
    if parent := parent_process():
        parent.join()
        os._exit(1)
