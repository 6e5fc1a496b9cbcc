"""What prompts in the image encoder cost: operations, time and memory against their number.

ViT-B/16 with random weights (time does not depend on them) and Glyph World's encoder, VPT-deep with
the same number of prompts in each block. Fair: all numbers take turns in one process, on the same
images. Time is that of a forward pass without gradients, memory that of a training step: forward,
backward to prompts and head; both of the published computation, in which every prompt is a token of
every image's sequence. What less can be computed is measured by ``visual_training.py``.

"condensed": the same when a share of the most prompts stays, ranked over all blocks ("global"),
which leaves them different numbers, or within each ("layer"), and the memory of the forward pass
beside it. Cost depends on the numbers alone. So importance is made up: it falls with depth until
the first block keeps about twice what the last does, as on the families of page 14.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from bench import Step, clock, interleaved, paired_ratio, parser, start, step_memory, write
from visual_training import published

from dip_lib import load_backbone
from dip_lib.clip.frozen_vision import frozen_vision_encoder
from dip_lib.clip.vision_encoder import VisionEncoder
from dip_lib.methods.vpt import RANKINGS, VisualPrompts, first_head, first_prompts
from dip_lib.training.condense import top_prompts

TOWERS = {"ViT-B-16": (1, (0, 50, 100, 150, 200)), "glyph-vit": (64, (0, 10, 20, 40))}
"""Backbone -> images at once, and prompts in each block: those of the papers, those of the book."""
CONDENSED = {"ViT-B-16": 200, "glyph-vit": 64}
"""Backbone -> prompts in each block that are condensed: the papers' most, and the book's."""
SHARES = (100, 50, 30, 10)
CLASSES = 100
FALL = 0.6
"""By how much the logarithm of importance, normal with spread 1, is lower in the last block."""


def prompted(tower: VisionEncoder, counts: Sequence[int]) -> VisualPrompts:
    """VPT-deep with so many prompts in each block."""
    every = first_prompts(tower, max(counts), len(counts), 1)
    prompts = [prompt[:n] for prompt, n in zip(every, counts, strict=True)]
    return VisualPrompts(tower, prompts, first_head(tower, CLASSES, 1)).to(tower.device)


def kept(of: int, depth: int, share: float, ranking: str) -> list[int]:
    """How many of ``of`` prompts stay in each block."""
    normal = torch.special.ndtri((torch.arange(of) + 0.5) / of)
    scores = (normal - FALL * torch.linspace(0, 1, depth)[:, None]).exp()
    return [len(rows) for rows in top_prompts(list(scores), share, ranking)]


class Bench:
    """One encoder with images, on which models take turns."""

    def __init__(self, name: str, batch: int, repeats: int, device: str) -> None:
        clip = load_backbone(name, device=device)
        self.tower = frozen_vision_encoder(clip.model, name)
        self.pixels = torch.randn(batch, 3, clip.image_size, clip.image_size, device=device)
        self.labels = torch.arange(batch, device=device) % CLASSES
        self.repeats, self.device = repeats, device

    def step(self, model: VisualPrompts) -> Step:
        """Forward, and backward to prompts and head."""
        return lambda: F.cross_entropy(published(model, self.pixels), self.labels).backward()

    def seconds(self, models: Mapping[str, VisualPrompts]) -> dict[str, list[float]]:
        """Of each repeat of each forward pass."""
        steps: dict[str, Step] = {n: partial(published, m, self.pixels) for n, m in models.items()}
        with torch.no_grad():
            return interleaved(steps, self.repeats, clock(self.device))

    def forward_mb(self, model: VisualPrompts) -> float:
        """Memory of a forward pass beyond what was in use before."""
        with torch.no_grad():
            return step_memory(partial(published, model, self.pixels), self.device)["step_mb"]


def measure(bench: Bench, counts: Sequence[int]) -> dict[str, Any]:
    """One encoder with every number of prompts, the same in each block."""
    depth = len(bench.tower.blocks)
    models = {str(n): prompted(bench.tower, [n] * depth) for n in counts}
    memory = {n: step_memory(bench.step(model), bench.device) for n, model in models.items()}
    seconds, none = bench.seconds(models), str(counts[0])
    return {
        n: {
            "flops": model.flops(),
            "seconds": seconds[n],
            "flops_over_none": model.flops() / models[none].flops(),
            "seconds_over_none": paired_ratio(seconds[n], seconds[none]),
            **memory[n],
        }
        for n, model in models.items()
    }


def measure_condensed(bench: Bench, of: int) -> dict[str, Any]:
    """One encoder with each share of the prompts, of which each block keeps what the ranking does.

    Returns:
        ``of``, and ``kept``: "30 global" -> share, ranking, counts of each block, and what
        :func:`measure` has, relative to all prompts.
    """
    depth = len(bench.tower.blocks)
    wanted = [(s, r) for s in SHARES for r in (RANKINGS if s < 100 else RANKINGS[:1])]
    counts = {f"{s} {r}": kept(of, depth, s, r) for s, r in wanted}
    models = {name: prompted(bench.tower, each) for name, each in counts.items()}
    forward = {name: bench.forward_mb(model) for name, model in models.items()}
    memory = {name: step_memory(bench.step(model), bench.device) for name, model in models.items()}
    seconds, (whole, *_) = bench.seconds(models), models
    return {
        "of": of,
        "kept": {
            name: {
                "share": share,
                "ranking": ranking,
                "counts": counts[name],
                "flops": models[name].flops(),
                "seconds": seconds[name],
                "flops_over_all": models[name].flops() / models[whole].flops(),
                "seconds_over_all": paired_ratio(seconds[name], seconds[whole]),
                "forward_mb": forward[name],
                **memory[name],
            }
            for name, (share, ranking) in zip(models, wanted, strict=True)
        },
    }


def main() -> None:
    options = parser(__doc__, "visual")
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument("--quick", action="store_true", help="Glyph World's ViT, two repeats")
    chosen = start(options)
    rows = {}
    few = chosen.quick or chosen.smoke
    for name, (batch, counts) in [*TOWERS.items()][few:]:
        images = 2 if chosen.smoke else batch
        repeats = 1 if chosen.smoke else 2 if chosen.quick else chosen.repeats
        bench = Bench(name, images, repeats, chosen.device)
        by_number, condensed = measure(bench, counts), measure_condensed(bench, CONDENSED[name])
        rows[name] = {"batch": images, "prompts": by_number, "condensed": condensed}
        for what, row in [*by_number.items(), *condensed["kept"].items()]:
            share = row.get("seconds_over_none") or row["seconds_over_all"]
            print(
                f"{name:10}{what:>10}{row['flops'] / 1e9:9.2f} GFLOP{share:7.2f} of the time "
                f"{'without' if what.isdigit() else 'of all'}{row['step_mb']:9.0f} MB a step",
                flush=True,
            )
    write("visual", {"classes": CLASSES, "towers": rows}, chosen)


if __name__ == "__main__":
    main()
