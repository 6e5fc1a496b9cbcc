"""What prompts in the image encoder cost: operations, time and memory against their number.

ViT-B/16 with random weights (time does not depend on them) and Glyph World's encoder, VPT-deep with
the same number of prompts in each block. Fair: all numbers take turns in one process, on the same
images. Time is that of a forward pass without gradients, memory that of a training step: forward,
backward to prompts and head; both of the published computation, in which every prompt is a token of
every image's sequence. What less can be computed is measured by ``visual_training.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from bench import Step, clock, interleaved, paired_ratio, parser, start, step_memory, write
from visual_training import published

from dip_lib import load_backbone
from dip_lib.clip.frozen_vision import frozen_vision_encoder
from dip_lib.methods.vpt import VisualPrompts, first_head, first_prompts

TOWERS = {"ViT-B-16": (1, (0, 50, 100, 150, 200)), "glyph-vit": (64, (0, 10, 20, 40))}
"""Backbone -> images at once, and prompts in each block: those of the papers, those of the book."""
CLASSES = 100


def measure(
    name: str, batch: int, counts: Sequence[int], repeats: int, device: str
) -> dict[str, Any]:
    """One encoder with every number of prompts."""
    clip = load_backbone(name, device=device)
    tower = frozen_vision_encoder(clip.model, name)
    pixels = torch.randn(batch, 3, clip.image_size, clip.image_size, device=device)
    labels = torch.arange(batch, device=device) % CLASSES
    models = {
        str(n): VisualPrompts(
            tower, first_prompts(tower, n, len(tower.blocks), 1), first_head(tower, CLASSES, 1)
        ).to(device)
        for n in counts
    }

    def training(model: VisualPrompts) -> Step:
        return lambda: F.cross_entropy(published(model, pixels), labels).backward()

    memory = {n: step_memory(training(model), device) for n, model in models.items()}
    with torch.no_grad():
        steps: dict[str, Step] = {
            n: partial(published, model, pixels) for n, model in models.items()
        }
        seconds = interleaved(steps, repeats, clock(device))
    none = str(counts[0])
    return {
        "batch": batch,
        "prompts": {
            n: {
                "flops": model.flops(),
                "seconds": seconds[n],
                "flops_over_none": model.flops() / models[none].flops(),
                "seconds_over_none": paired_ratio(seconds[n], seconds[none]),
                **memory[n],
            }
            for n, model in models.items()
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
        rows[name] = measure(name, images, counts, repeats, chosen.device)
        for n, row in rows[name]["prompts"].items():
            print(
                f"{name:10}{n:>4} prompts{row['flops'] / 1e9:9.2f} GFLOP"
                f"{row['seconds_over_none']:7.2f} of the time without"
                f"{row['step_mb']:9.0f} MB a training step",
                flush=True,
            )
    write("visual", {"classes": CLASSES, "towers": rows}, chosen)


if __name__ == "__main__":
    main()
