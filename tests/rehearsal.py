"""A GPU that is rehearsed without one: tensors with values on the CPU that say they lie on "cuda".

Inside of :func:`card` everything that names the device "cuda" gets tensors of :class:`OnCard`, and
every operation of torch, forward and backward, passes :class:`Card`. It computes on the CPU what a
GPU would compute, so that whole trainings and evaluations run and give the CPU's results. Like a
GPU it refuses to mix its tensors with those in main memory, and it notes each operation for which
the processor has to wait (:data:`WAITS`, copies from and to main memory, boolean masks as indices).

A step can also be recorded and replayed as a CUDA graph is: the recorded kernels run again on the
same memory with the same numbers, and no line of Python does. What a recording of CUDA refuses is
refused here.

C++ sees OnCard as a tensor on "meta": autograd starts no thread for that device. FakeTensorMode
does nothing but let Python's functions take "cuda" on a machine without it.
"""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

WAITS = {
    *("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "nonzero_numpy", "argwhere"),
    *("masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive", "bincount"),
    *("repeat_interleave", "_linalg_svd", "linalg_svdvals", "_linalg_eigh", "linalg_eig"),
    *("linalg_qr", "linalg_lstsq", "_linalg_check_errors", "_linalg_solve_ex", "_linalg_det"),
}
"""Operations after which the processor waits for the GPU: it needs a value, or how many there are
of something; those of linear algebra ask whether they converged."""
COPIES = ("_to_copy", "copy_")
INDEXED = ("index", "index_put", "index_put_")


class OnCard(Tensor):
    """A tensor that says it lies on the GPU; its ``values`` are on the CPU."""

    values: Tensor
    device = property(lambda self: torch.device("cuda:0"))
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: Tensor) -> OnCard:
        made: OnCard = Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device="meta",
        )
        made.values = values
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, *_: Any) -> Any:
        raise RuntimeError(f"{func} of a tensor on the card outside of it")

    def __repr__(self, **_: Any) -> str:
        return f"{self.values!r} on the card"

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(_lists_on_card(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_lists_on_card(index), value)

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert a tensor on the card to numpy")


def _lists_on_card(index: Any) -> Any:
    """An index whose lists are tensors: C++ would take them to "meta", where they lose values."""
    if isinstance(index, tuple):
        return tuple(map(_lists_on_card, index))
    return torch.tensor(index, device="cuda") if isinstance(index, list) else index


def _on_cpu(x: Any) -> Any:
    if isinstance(x, torch.device):
        return torch.device("cpu")
    return x.values if isinstance(x, OnCard) else x


def _on_card(x: Any) -> Any:
    return OnCard(x) if isinstance(x, Tensor) else x


@dataclass
class Kernel:
    """An operation that a graph holds: what runs, on which memory."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: list[Tensor]

    def run(self) -> None:
        for held, now in zip(self.out, _tensors(self.func(*self.args, **self.kwargs)), strict=True):
            if held.data_ptr() != now.data_ptr():  # else a view, or in place
                held.copy_(now)


def _tensors(x: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(x) if isinstance(leaf, Tensor)]


@dataclass
class Graph:
    """A recorded step: recording leaves all memory as it was, replaying runs the kernels."""

    kernels: list[Kernel] = field(default_factory=list)
    before: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    own: set[int] = field(default_factory=set)

    def add(self, func: Any, args: Any, kwargs: Any, written: Sequence[Tensor]) -> Any:
        for each in written:
            where = each.untyped_storage().data_ptr()
            if where not in self.own:
                self.before.setdefault(where, (each, each.clone()))
        out = func(*args, **kwargs)
        self.kernels.append(Kernel(func, args, kwargs, _tensors(out)))
        old = {t.untyped_storage().data_ptr() for t in _tensors((args, kwargs))}
        self.own |= {t.untyped_storage().data_ptr() for t in _tensors(out)} - old
        return out

    def replay(self) -> None:
        with unset_fake_temporarily(), torch.no_grad():
            for kernel in self.kernels:
                kernel.run()


class Card(TorchDispatchMode):
    """The rehearsed GPU.

    Attributes:
        waits: the operations, in their order, for which the processor waited.
        operations: each on the card, with the shapes that it reads and its numbers.
        graph: what is recorded now, if anything.
        warns: whether each wait is a warning, as ``torch.cuda.set_sync_debug_mode`` has it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.operations: list[tuple[Any, ...]] = []
        self.graph: Graph | None = None
        self.warns = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors, name = _tensors((args, kwargs)), func.overloadpacket.__name__
        here = any(isinstance(t, OnCard) for t in tensors)
        wanted = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.device)]
        goes = wanted[0].type != "cpu" if wanted else here
        if name == "copy_":
            goes = isinstance(args[0], OnCard)
        if waits := self._waits(func, args, tensors, here, goes):
            if self.graph:
                raise RuntimeError(f"{func} ({waits}) is not permitted while a graph is recorded")
            self.waits.append(f"{_line()}: {name}, {waits}")
            if self.warns:
                warnings.warn(self.waits[-1], stacklevel=2)
        plain, options = tree_map(_on_cpu, (args, kwargs))
        options.pop("pin_memory", None)  # which needs a driver
        with unset_fake_temporarily():
            if self.graph and (here or goes):
                out = self.graph.add(func, plain, options, _written(func, plain))
            else:
                out = func(*plain, **options)
        if here or goes:
            shapes = tuple(tuple(t.shape) for t in tensors)
            self.operations.append((str(func), shapes, *map(_number, tree_leaves((args, kwargs)))))
        if not goes:
            return out
        return return_and_correct_aliasing(func, args, kwargs, tree_map(_on_card, out))

    def _waits(self, func: Any, args: Any, tensors: list[Tensor], here: bool, goes: bool) -> str:
        """Why the processor waits; "" if it does not. Raises RuntimeError: two devices."""
        name = func.overloadpacket.__name__
        if name in COPIES:
            source = isinstance(args[1 if name == "copy_" else 0], OnCard)
            return "" if source == goes else "to the card" if goes else "to main memory"
        if not here:
            return ""
        off = [t for t in tensors if not isinstance(t, OnCard)]
        if name in INDEXED:  # indices may lie anywhere, and are copied
            indices = _tensors(args[1])
            if any(t.dtype in (torch.bool, torch.uint8) for t in indices):
                return "a mask"
            if off and all(any(t is i for i in indices) for t in off):
                return "indices to the card"
        if any(t.dim() or torch.Tag.pointwise not in func.tags for t in off):
            shapes = [tuple(t.shape) for t in off]
            raise RuntimeError(f"{func}: expected all tensors on one device, on the CPU: {shapes}")
        return "a value" if name in WAITS else ""


def _written(func: Any, args: Sequence[Any]) -> list[Tensor]:
    """The arguments that an operation changes in place."""
    pairs = zip(func._schema.arguments, args, strict=False)
    written = [a for told, a in pairs if told.alias_info and told.alias_info.is_write]
    return _tensors(written)


def _line() -> str:
    """The line of the library that is running."""
    frames = (frame for frame, _ in traceback.walk_stack(None))
    mine = next((f for f in frames if f"{os.sep}dip_lib{os.sep}" in f.f_code.co_filename), None)
    return f"{Path(mine.f_code.co_filename).name} {mine.f_code.co_name}" if mine else "elsewhere"


def _number(leaf: Any) -> Any:
    """A number, type or name among arguments, which a graph would freeze."""
    return None if isinstance(leaf, Tensor) else leaf


@contextmanager
def card() -> Iterator[Card]:
    """The rehearsed GPU is there, with recording; what is on it lives as long."""

    @contextmanager
    def record(graph: Graph) -> Iterator[None]:
        there.graph = graph
        try:
            yield
        finally:
            there.graph = None
            with unset_fake_temporarily(), torch.no_grad():
                for tensor, value in graph.before.values():
                    tensor.copy_(value)

    def warn(mode: str) -> None:
        there.warns = mode == "warn"

    class Stream:
        def __init__(self, *_: Any) -> None: ...

        def wait_stream(self, _: Stream) -> None: ...

    with pytest.MonkeyPatch.context() as patch, FakeTensorMode(), Card() as there:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "Stream", Stream)
        patch.setattr(torch.cuda, "current_stream", Stream)
        patch.setattr(torch.cuda, "stream", nullcontext)
        patch.setattr(torch.cuda, "CUDAGraph", Graph)
        patch.setattr(torch.cuda, "graph", record)
        patch.setattr(torch.cuda, "synchronize", lambda: None)
        patch.setattr(torch.cuda, "set_sync_debug_mode", warn)
        yield there
