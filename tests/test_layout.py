"""The trie computes each shared beginning once, and every row sees exactly its own beginning."""

from __future__ import annotations

import random

import pytest
import torch

from dip_lib.clip.layout import Layout, layout

SOS, EOT = 90, 99


def sequences(suffixes: list[list[int]], n: int, per_class: bool) -> list[tuple[int, ...]]:
    """What each class's rows should spell; -1 - j stands for context slot j."""
    return [
        (SOS, *(-1 - (c * n * per_class + j) for j in range(n)), *suffix)
        for c, suffix in enumerate(suffixes)
    ]


def spelt(found: Layout, row: int) -> list[tuple[int, int]]:
    """(position, token) of every row that ``row`` attends to."""
    slot = {int(r): j for j, r in enumerate(found.slots)}
    (own,) = [b for b in found.bins if b.rows.start <= row < b.rows.stop]
    keys = [*range(found.shared), *range(max(own.rows.start, found.shared), own.rows.stop)]
    if own.rows.start == 0:
        keys = list(range(own.rows.stop))
    seen = [keys[k] for k in (own.mask[row - own.rows.start] == 0).nonzero().flatten().tolist()]
    return sorted(
        (int(found.position[r]), -1 - slot[r] if r in slot else int(found.tokens[r])) for r in seen
    )


def random_suffixes(count: int, seed: int) -> list[list[int]]:
    source = random.Random(seed)
    names = {tuple(source.choices(range(4), k=source.randint(1, 5))) for _ in range(count)}
    return [[*name, EOT] for name in sorted(names, key=lambda _: source.random())]


def test_the_trie_shares_exactly_the_common_beginnings() -> None:
    found = layout([[5, 6, 9], [5, 6, 7, 9], [5, 9], [8, 9]], 1, SOS)
    assert found.shared == 2  # SOS and the context
    assert len(found.tokens) == 2 + 8  # 5, 5-6, 5-6-9, 5-6-7, 5-6-7-9, 5-9, 8, 8-9
    assert found.tokens[found.end].tolist() == [9, 9, 9, 9]
    assert found.position[found.end[found.order]].tolist() == [4, 5, 3, 3]


def test_words_that_all_classes_begin_with_are_shared_too() -> None:
    found = layout([[1, 2, 5, 9], [1, 2, 6, 9]], 2, SOS)
    assert found.shared == 5
    assert len(found.tokens) == 5 + 4


def test_classes_with_their_own_context_share_the_start_token_alone() -> None:
    found = layout([[5, 9], [5, 8, 9]], 3, SOS, per_class=True)
    assert found.shared == 1
    assert len(found.tokens) == 1 + 5 + 6
    assert found.position[found.slots].tolist() == [1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("capacity", [1, 7, 64, 10_000])
@pytest.mark.parametrize(("count", "n"), [(1, 2), (2, 0), (9, 1), (60, 4)])
def test_every_class_reads_its_own_sequence(
    count: int, n: int, capacity: int, per_class: bool
) -> None:
    suffixes = random_suffixes(count, seed=count)
    found = layout(suffixes, n, SOS, per_class, capacity)
    for c, path in enumerate(sequences(suffixes, n, per_class)):
        row = int(found.end[found.order][c])
        assert spelt(found, row) == list(enumerate(path))


@pytest.mark.parametrize("capacity", [5, 20, 64])
def test_bins_cover_rows_and_classes_once_and_respect_the_capacity(capacity: int) -> None:
    suffixes = random_suffixes(60, seed=1)
    found = layout(suffixes, 4, SOS, capacity=capacity)
    assert found.bins[0].rows.start == 0
    for before, after in zip(found.bins, found.bins[1:], strict=False):
        assert before.rows.stop == after.rows.start
        assert before.classes.stop == after.classes.start
    assert found.bins[-1].rows.stop == len(found.tokens)
    assert found.bins[-1].classes.stop == len(suffixes)
    for i, part in enumerate(found.bins):
        own = part.rows.stop - part.rows.start - (found.shared if i == 0 else 0)
        assert own <= max(capacity, max(map(len, suffixes)))
        inside = found.end[part.classes]
        assert ((part.rows.start <= inside) & (inside < part.rows.stop)).all()


def test_every_row_looks_at_itself_and_never_ahead() -> None:
    found = layout(random_suffixes(40, seed=2), 2, SOS, capacity=16)
    for row, position in enumerate(found.position.tolist()):
        assert [p for p, _ in spelt(found, row)] == list(range(position + 1))


def test_one_large_bin_computes_no_row_twice() -> None:
    suffixes = random_suffixes(60, seed=3)
    paths = sequences(suffixes, 4, per_class=False)
    distinct = {path[: t + 1] for path in paths for t in range(len(path))}
    assert len(layout(suffixes, 4, SOS, capacity=10_000).tokens) == len(distinct)


def test_masks_take_the_type_that_attention_computes_in() -> None:
    found = layout(random_suffixes(9, seed=4), 2, SOS).to(torch.device("cpu"), torch.bfloat16)
    assert {part.mask.dtype for part in found.bins} == {torch.bfloat16}
    assert found.tokens.dtype == torch.int64
