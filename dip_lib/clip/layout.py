"""Which token states a causal text encoder has to compute for a set of class names.

A prompt gives class c the tokens ``[SOS] [context 1..n] [class name] [.] [EOT] [padding]``; the
name may also stand between the halves of the context, or before it. In a causal text encoder the
state of a token depends only on the tokens up to it. So nothing after EOT is needed, and two
sequences that begin alike share the states of their beginning: what remains is a trie, one row a
node. Rows attend along their path to the root. To keep attention dense without padding, classes
that are neighbours in the trie share a *bin* of a few dozen rows; a row attends to the beginning
that all classes share and, under a mask, to its own bin.

Symbols: C classes, n context vectors, S context slots: rows that a context vector fills (n; more
when every class has vectors of its own, or when they stand behind its name), N rows, P rows that
all classes share, G rows of a bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

import torch
from torch import Tensor

from dip_lib.errors import one_of

POSITIONS = ("end", "middle", "front")
"""Where the class name stands: behind the context, between its halves, or before it."""
CAPACITY = {"cpu": 64, "cuda": 512}
"""Most rows of a bin: small enough that masked-out scores cost little, large enough to be few."""


class Bin(NamedTuple):
    """Neighbouring classes, whose rows lie together."""

    rows: slice  # of the N rows; the first bin starts at 0 and holds the shared beginning too
    classes: slice  # of the classes in the order of the trie
    mask: Tensor  # (G, keys) 0 where a row may look, -inf elsewhere; keys = shared + own rows


@dataclass(frozen=True)
class Layout:
    """The rows of a set of classes, and where each finds what it attends to."""

    tokens: Tensor  # (N,) vocabulary token of each row; 0 in a context slot
    position: Tensor  # (N,) position in the sequence, 0 = SOS
    slots: Tensor  # (S,) row of each context slot
    vectors: Tensor  # (S,) which context vector fills it; with the name at the end 0, 1, ..., S - 1
    shared: int  # P
    bins: tuple[Bin, ...]
    end: Tensor  # (C,) row of each class's EOT, in the order of the trie
    order: Tensor  # (C,) place in the trie's order of each class as given

    def to(self, device: torch.device, dtype: torch.dtype) -> Layout:
        """The same on a device, with masks in the type that attention computes in."""
        bins = tuple(b._replace(mask=b.mask.to(device, dtype)) for b in self.bins)
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return Layout(**vars(self) | moved | {"bins": bins})


def before_name(position: str, n: int) -> int:
    """How many of n context vectors stand before the class name.

    Source: CoOp's ``CLASS_TOKEN_POSITION``; in the middle the first half has n // 2.

    Raises:
        UnknownNameError: a position that is none of :data:`POSITIONS`.
    """
    one_of("class_position", position, POSITIONS)
    return {"end": n, "middle": n // 2, "front": 0}[position]


def layout(
    suffixes: Sequence[Sequence[int]],
    n: int,
    start_token: int,
    per_class: bool = False,
    capacity: int = CAPACITY["cpu"],
    before: int | None = None,
    names: Sequence[int] = (),
) -> Layout:
    """The trie of ``[start_token] [n context slots] suffix``, packed into bins.

    Args:
        suffixes: for each class the tokens of its name and what follows, EOT included; all
            different.
        n: context vectors.
        per_class: every class has context vectors of its own, vector ``c * n + j``.
        capacity: most rows of a bin; a single class may exceed it.
        before: context vectors before the name, the others follow it; None: all n.
        names: how many tokens of each suffix are its name; needed where vectors follow it.
    """
    head = n if before is None else before
    paths: list[tuple[int, ...]] = []
    for c, suffix in enumerate(suffixes):
        # context vector j is the pseudo-token -1 - j: sequences that begin alike share its row
        own = tuple(-1 - (c * n * per_class + j) for j in range(n))
        name = names[c] if head < n else 0
        paths.append((start_token, *own[:head], *suffix[:name], *own[head:], *suffix[name:]))
    order = sorted(range(len(paths)), key=paths.__getitem__)
    columns = zip(*paths, strict=False)  # up to the end of the shortest
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    nodes: list[tuple[int, ...]] = [paths[0][: p + 1] for p in range(shared)]
    ends, bins = [], []
    first = 0  # class at which the open bin starts
    rows: dict[tuple[int, ...], int] = {}  # the open bin's own nodes -> row
    begin = 0

    def close(last: int) -> None:
        nonlocal begin, first
        bins.append(Bin(slice(begin, len(nodes)), slice(first, last), _mask(nodes, begin, shared)))
        begin, first = len(nodes), last
        rows.clear()

    for place, c in enumerate(order):
        path = paths[c]
        beginnings = [path[: t + 1] for t in range(shared, len(path))]
        fresh = sum(node not in rows for node in beginnings)
        if rows and len(nodes) - begin + fresh > capacity:
            close(place)
        for node in beginnings:
            if node not in rows:
                rows[node] = len(nodes)
                nodes.append(node)
        ends.append(rows[path] if len(path) > shared else shared - 1)
    close(len(order))
    tokens = torch.tensor([node[-1] for node in nodes])
    slots = sorted((-1 - int(token), row) for row, token in enumerate(tokens) if token < 0)
    return Layout(
        tokens.clamp(min=0),
        torch.tensor([len(node) - 1 for node in nodes]),
        torch.tensor([row for _, row in slots], dtype=torch.long),
        torch.tensor([vector for vector, _ in slots], dtype=torch.long),
        shared,
        tuple(bins),
        torch.tensor(ends),
        torch.tensor(order).argsort(),
    )


def _mask(nodes: Sequence[tuple[int, ...]], begin: int, shared: int) -> Tensor:
    """Additive mask of the rows from ``begin`` on over the shared rows and themselves."""
    keys = [*range(shared), *range(max(begin, shared), len(nodes))]
    column = {nodes[row]: k for k, row in enumerate(keys)}
    mask = torch.full((len(nodes) - begin, len(keys)), -torch.inf)
    for row, node in enumerate(nodes[begin:]):
        mask[row, [column[node[: t + 1]] for t in range(len(node))]] = 0
    return mask
