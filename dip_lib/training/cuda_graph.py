"""CUDA graphs: on a GPU, a step on fixed tensors is recorded once and then replayed.

A training step of a prompt is some hundred small kernels, and launching them takes longer than
running them. A recorded graph is launched as one. ``torch.compile`` would fuse some of them, but
compiles for minutes, anew for every number of classes, for steps that last milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

WARM_UP = 3
"""Calls made plainly before recording: libraries then have what they allocate on first use."""


@dataclass
class Replay:
    """Calls ``step``; on a GPU the first calls plainly, later ones as a recorded graph.

    Attributes:
        step: without arguments; reads and writes the same tensors at every call, in place, and
            never reads a value back from the GPU.
        device: where these tensors lie.
        record: False calls ``step`` plainly always, to check the recorded graph against.
    """

    step: Callable[[], None]
    device: torch.device
    record: bool = True
    _calls: int = 0
    _graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        if self.device.type != "cuda" or not self.record:
            self.step()
        elif self._calls < WARM_UP:
            # recording needs plain calls on a separate stream first
            stream = torch.cuda.Stream(self.device)
            stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(stream):
                self.step()
            torch.cuda.current_stream(self.device).wait_stream(stream)
        else:
            if self._graph is None:
                self._graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self._graph):  # records, does not run
                    self.step()
            self._graph.replay()
        self._calls += 1
