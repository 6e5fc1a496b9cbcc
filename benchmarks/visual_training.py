"""A training step of visual prompts: the published computation against ours, and what ours is.

VPT-deep on the vision transformers of Photo World (64 pixels, patches of 8, width 192, six blocks)
and Glyph World, whose rates ``dip plan`` reads. "published": every prompt a token of the sequence
of every image, as VPT's code has it, in our plain loop of before. "ours": what is read
alone (``dip_lib/clip/vision_encoder.py``); "bf16": ours with the frozen encoder in bf16, which is
not exact; "four runs": ours for four runs at once, a quarter of the time. All take turns in one
process; a step is forward and backward to prompts and head, and the gradients of the first two are
compared. "share of products": of our step's time in matrix products and attention, by torch's
profiler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from bench import Step, clock, count_flops, interleaved, paired_ratio, parser, start, write
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from dip_lib import load_backbone
from dip_lib.clip.frozen_vision import frozen_vision_encoder
from dip_lib.clip.vision_encoder import VisionEncoder
from dip_lib.methods.vpt import VisualPrompts, first_head, first_prompts
from dip_lib.training.visual_fit import logits

SIZES = {"photo-vit": 64, "glyph-vit": 48}
"""Tower -> side of its images, pixels."""
COUNTS = {"photo-vit": (10, 50, 200), "glyph-vit": (4, 16, 64)}
"""Prompts of a block."""
BATCH = 64
CLASSES = 100
RUNS = 4
PRODUCTS = ("mm", "linear_pointwise", "dot_product", "convolution")
"""Parts of the names of operators that multiply matrices."""


def tower(name: str, dtype: torch.dtype, device: str) -> VisionEncoder:
    """The same encoder each time."""
    model = load_backbone(name).model.visual
    return frozen_vision_encoder(model.to(device, dtype))


def prompted(made: VisionEncoder, count: int, seed: int = 1) -> VisualPrompts:
    prompts = first_prompts(made, count, len(made.blocks), seed)
    return VisualPrompts(made, prompts, first_head(made, CLASSES, seed)).to(made.device)


def published(model: VisualPrompts, pixels: Tensor) -> Tensor:
    """Logits with every prompt a token of every image's sequence."""
    made = model.tower
    states = made.states(pixels, model.matrices)[-1]
    return model.head(made.finish(states[:, : made.tokens]).float())


def product_share(step: Step) -> float:
    """The share of a step's own operator time that is in matrix products and attention."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        step()
    times = {e.key: e.self_cpu_time_total for e in recorded.key_averages()}
    inside = sum(t for name, t in times.items() if any(part in name for part in PRODUCTS))
    return inside / sum(times.values())


def measure(name: str, count: int, images: int, repeats: int, device: str) -> dict[str, Any]:
    """One tower with one number of prompts."""
    pixels = torch.randn(images, 3, SIZES[name], SIZES[name], device=device)
    labels = torch.arange(images, device=device) % CLASSES
    full, half = (tower(name, dtype, device) for dtype in (torch.float32, torch.bfloat16))
    models = [prompted(full, count, seed) for seed in range(1, RUNS + 1)]
    coarse = prompted(half, count)

    def step(trained: Sequence[VisualPrompts], forward: Callable[[], Tensor]) -> Step:
        def take() -> None:
            for model in trained:
                model.zero_grad()
            found = forward()
            F.cross_entropy(found.flatten(0, -2), labels.repeat(len(trained))).backward()

        return take

    one = models[:1]
    ways: dict[str, Step] = {
        "published": step(one, lambda: published(one[0], pixels)),
        "ours": step(one, lambda: one[0](pixels)),
        "bf16": step([coarse], lambda: coarse(pixels)),
        "four runs": step(models, lambda: logits(models, pixels.expand(RUNS, -1, -1, -1, -1))),
    }
    gradients = []
    for name in ("published", "ours"):
        ways[name]()
        gradients.append([p.grad.clone() for p in one[0].parameters() if p.grad is not None])
    apart = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(*gradients, strict=True))
    operations = {name: count_flops(ways[name]) for name in ("published", "ours")}
    seconds = interleaved(ways, repeats, clock(device))
    seconds["four runs"] = [each / RUNS for each in seconds["four runs"]]
    return {
        "seconds": seconds,
        "images_per_second": {name: images / min(each) for name, each in seconds.items()},
        "times_published": {
            name: paired_ratio(seconds["published"], each) for name, each in seconds.items()
        },
        "operations_published_over_ours": operations["published"] / operations["ours"],
        "gradients_apart": apart,
        "share_of_products": {name: product_share(ways[name]) for name in ("published", "ours")},
    }


def main() -> None:
    options = parser(__doc__, "visual_training")
    options.add_argument("--repeats", type=int, default=7)
    chosen = start(options)
    images, repeats = (2, 1) if chosen.smoke else (BATCH, chosen.repeats)
    rows: dict[str, dict[str, Any]] = {name: {} for name in COUNTS}
    for name, counts in COUNTS.items():
        for count in counts:
            row = measure(name, count, images, repeats, chosen.device)
            rows[name][str(count)] = row
            speeds = ", ".join(f"{n} {v:.0f}" for n, v in row["images_per_second"].items())
            ratios = ", ".join(f"{n} {v:.2f}" for n, v in row["times_published"].items())
            print(
                f"{name}, {count} prompts, images a second: {speeds}; times: {ratios}", flush=True
            )
    towers = {name: {"prompts": each} for name, each in rows.items()}
    write("visual_training", {"batch": images, "towers": towers}, chosen)


if __name__ == "__main__":
    main()
