"""Page 14: what is exact of attention under prompts, and what its maps are in trained runs.

Of a head, with ``t`` tokens of an image and ``n`` prompts beside them:

- its scores, before the softmax, are queries times keys and have rank ``w / h`` or less, whatever
  n. The softmax takes exponents entry by entry and is not bound by that.
- the image's columns of its map are the map without prompts, each row times 1 minus what the row
  gives the prompts, because a softmax over some columns is the softmax over all, rescaled. So the
  rank of the image's rows of the map, (t, t + n), is that without prompts or up to n more, and t at
  most.
- what it gives a token is therefore what it would give without prompts, times that factor, and an
  average of the prompts' values: of all tokens and images together n or fewer further directions,
  and ``w / h`` at most.

Symbols: B images, h heads, t tokens of an image, n prompts of a block, T = t + n, w width.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dip_book.frame import finished
from dip_book.pages.task_grids import Grids
from dip_book.tables import sweep
from dip_lib import load_backbone
from dip_lib.clip.frozen_vision import frozen_vision_encoder
from dip_lib.clip.vision_encoder import Block, VisionEncoder
from dip_lib.methods.vpt import first_prompts
from dip_lib.training.attention import effective_rank

Curves = dict[str, pd.DataFrame]

# ---- exact --------------------------------------------------------------------------------------


class Head(NamedTuple):
    """What the heads of a block do with images that read n prompts, each (B, h, ...).

    Attributes:
        scores: before the softmax, (T, T).
        rows: of the image's tokens, of the map, (t, T).
        alone: the map without prompts, (t, t).
        share: what each of the image's tokens gives the prompts, (t,).
        written: what prompts add to what the head gives the image's tokens, (t, w / h).
    """

    scores: Tensor
    rows: Tensor
    alone: Tensor
    share: Tensor
    written: Tensor


@torch.no_grad()
def heads(block: Block, x: Tensor, tokens: int) -> Head:
    """Of one block.

    Args:
        x: (B, T, w), the image's t ``tokens`` first.
    """
    normed = block.norms[0](x)
    query, key, value = (block.projected(normed, part) for part in range(3))
    rows = block.maps(x)[:, :, :tokens]
    on_prompts = rows[..., tokens:]
    return Head(
        scores=query @ key.transpose(-1, -2),
        rows=rows,
        alone=block.maps(x[:, :tokens]),
        share=on_prompts.sum(-1),
        written=on_prompts @ value[:, :, tokens:],
    )


def ranks(tower: VisionEncoder, pixels: Tensor, prompts: Sequence[Tensor]) -> pd.DataFrame:
    """Numerical ranks of each block, the largest of its heads and images: a row a block.

    Args:
        tower: in float64, since rounding has full rank.
        prompts: (n, w) of each block.
    """
    rows = {}
    for i, (block, x) in enumerate(zip(tower.blocks, tower.states(pixels, prompts), strict=False)):
        head, n = heads(block, x, tower.tokens), len(prompts[i])
        size = tower.width // block.heads
        alone, rank = (torch.linalg.matrix_rank(each) for each in (head.alone, head.rows))
        every = head.written.transpose(0, 1).flatten(1, 2)  # (h, B t, w / h)
        found = {
            "scores": (int(torch.linalg.matrix_rank(head.scores).max()), size),
            "directions": (int(torch.linalg.matrix_rank(every).max()) if n else 0, min(n, size)),
            "map": (int(rank.max()), min(tower.tokens, int(alone.max()) + n)),
        }
        rows[f"block {i + 1}"] = {
            (name, column): value
            for name, each in found.items()
            for column, value in zip(("rank", "at most"), each, strict=True)
        } | {("map", "effective"): float(effective_rank(torch.linalg.svdvals(head.rows)).mean())}
    return pd.DataFrame(rows).T


def rank_table(backbone: str, counts: Sequence[int], images: int = 4) -> pd.DataFrame:
    """The ranks of a backbone's last block, under prompts as VPT starts them: a row a number.

    "directions": those that prompts add to what a head writes, over all tokens and images. The
    images are noise: what is exact holds for any.
    """
    clip, source = load_backbone(backbone), torch.Generator().manual_seed(1)
    tower = frozen_vision_encoder(deepcopy(clip.model).double(), backbone)
    pixels = torch.randn(images, 3, clip.image_size, clip.image_size, generator=source).double()
    rows = {}
    for count in counts:
        start = first_prompts(tower, count, len(tower.blocks), 1)
        rows[count] = ranks(tower, pixels, [each.double() for each in start]).iloc[-1]
    table = pd.DataFrame(rows).T.rename_axis("prompts")
    return table.astype({name: int for name in table if name[1] != "effective"})


# ---- measured -----------------------------------------------------------------------------------

QUANTITIES = {"mass": "attention on\nprompts", "map_rank": "effective rank\nof the map"}
LOOKS = ("VPT", "DIP", "other")
"""Of the grids, in their order."""


def labels(grids: Grids) -> dict[str, str]:
    """Look of a line -> the encoder."""
    return {look: tasks.grid.tower for look, tasks in zip(LOOKS, grids, strict=False)}


def attention(grids: Grids) -> dict[str, Curves]:
    """Share of attention on prompts and effective rank of its map, by the number of prompts.

    Averages over blocks, heads, images and the measured tasks of an encoder.
    """
    panels: dict[str, Curves] = {title: {} for title in QUANTITIES.values()}
    for look, tasks in zip(LOOKS, grids, strict=False):
        ends = finished(tasks.ends())
        for name, title in QUANTITIES.items():
            if len(ends):
                runs = ends.assign(**{name: ends[name].map(np.mean)})
                panels[title][look] = sweep(runs, "vectors", name)
    return {title: lines for title, lines in panels.items() if lines}


def answer(grids: Grids) -> str:
    """How the share and the rank move with more prompts, in a sentence for each encoder."""
    panels, said = attention(grids), []
    for look, tower in labels(grids).items():
        lines = [panel[look]["value"] for panel in panels.values() if look in panel]
        if not lines:
            continue
        mass, rank = lines
        none, some, half, most = mass.index[[0, 1, -2, -1]]
        first = (rank[some] - rank[none]) / (some - none)
        last = (rank[most] - rank[half]) / (most - half)
        way = "slows down" if last < first else "does not slow down"
        said.append(
            f"On {tower} {most} prompts take {mass[most]:.0%} of the image tokens' attention, "
            f"{some} take {mass[some]:.0%}. The effective rank goes from {rank[none]:.1f} to "
            f"{rank[most]:.1f}, and its growth {way}: {first:+.3f} a prompt up to {some}, "
            f"{last:+.3f} from {half} on."
        )
    return " ".join(said) or "Attention is not measured yet on any task."
