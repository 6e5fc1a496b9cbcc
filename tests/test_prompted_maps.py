"""What is exact of attention under prompts, on towers of both libraries, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from visual_towers import TOWERS, module, pixels

from dip_book.pages.prompted_maps import Head, heads, rank_table, ranks
from dip_lib.clip.frozen_vision import frozen_vision_encoder
from dip_lib.clip.vision_encoder import VisionEncoder


def exact(name: str) -> VisionEncoder:
    return frozen_vision_encoder(module(name).double(), name)


def prompts(tower: VisionEncoder, n: int) -> list[Tensor]:
    made = torch.Generator().manual_seed(2)
    shape = (n, tower.width)
    return [0.5 * torch.randn(shape, generator=made).double() for _ in tower.blocks]


def of_all_blocks(tower: VisionEncoder, n: int) -> list[Head]:
    states = tower.states(pixels(2).double(), prompts(tower, n))
    return [heads(*pair, tower.tokens) for pair in zip(tower.blocks, states, strict=False)]


@pytest.mark.parametrize("name", TOWERS)
def test_the_map_of_an_image_is_that_without_prompts_times_what_they_leave(name: str) -> None:
    tower = exact(name)
    for head in of_all_blocks(tower, 5):
        left = head.rows[..., : tower.tokens]
        torch.testing.assert_close(left, (1 - head.share)[..., None] * head.alone)
        assert bool((head.share > 0).all()) and bool((head.share < 1).all())


@pytest.mark.parametrize("name", TOWERS)
def test_what_a_head_gives_a_token_is_what_it_would_and_an_average_of_prompts(name: str) -> None:
    tower, n = exact(name), 5
    states = tower.states(pixels(2).double(), prompts(tower, n))
    for block, x in zip(tower.blocks, states, strict=False):
        head, value = heads(block, x, tower.tokens), block.projected(block.norms[0](x), 2)
        given = head.rows @ value
        without = head.alone @ value[:, :, : tower.tokens]
        torch.testing.assert_close(given, (1 - head.share)[..., None] * without + head.written)
        weights = head.rows[..., tower.tokens :] / head.share[..., None]
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(head.share))


@pytest.mark.parametrize("name", TOWERS)
@pytest.mark.parametrize("n", [0, 2, 40])
def test_ranks_are_bounded_by_tokens_prompts_and_the_width_of_a_head(name: str, n: int) -> None:
    tower = exact(name)
    size = tower.width // tower.blocks[0].heads
    for head in of_all_blocks(tower, n):
        rank, alone, scores = map(torch.linalg.matrix_rank, (head.rows, head.alone, head.scores))
        assert bool((alone <= rank).all())
        assert bool((rank <= (alone + n).clamp(max=tower.tokens)).all())
        assert int(scores.max()) <= size
        if n:
            written = head.written.transpose(0, 1).flatten(1, 2)  # of all images and tokens
            assert int(torch.linalg.matrix_rank(written).max()) <= min(n, size)
    table = ranks(tower, pixels(2).double(), prompts(tower, n))
    for name in ("scores", "map", "directions"):
        assert (table[name, "rank"] <= table[name, "at most"]).all()
    assert (table["map", "effective"] <= table["map", "rank"] + 1e-9).all()


def test_the_softmax_is_not_bound_by_the_rank_of_its_scores() -> None:
    """So "attention is of low rank" is exact of scores alone."""
    scores = 0.1 * torch.outer(*(torch.arange(8.0).double() for _ in range(2)))
    assert int(torch.linalg.matrix_rank(scores)) == 1
    assert int(torch.linalg.matrix_rank(scores.softmax(-1))) > 4


def test_prompts_beyond_the_width_of_a_head_add_no_direction() -> None:
    table = rank_table("glyph-vit", (0, 4, 32, 40), images=2)
    assert table["directions", "rank"].tolist() == [0, 4, 32, 32]
    assert set(table["scores", "rank"]) == {32}  # 128 dimensions, four heads
    assert table.index.tolist() == [0, 4, 32, 40]
