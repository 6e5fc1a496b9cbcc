"""One training step through the text encoder: exact class embeddings against CoOp's own way.

A step = embeddings of all classes, logits with 32 cached image features, cross-entropy, gradient of
the prompt; ViT-B/16's text encoder with random weights (its time does not depend on their values).
The reference is open_clip's unmodified blocks on all 77 positions of every class, the context rows
replaced, as CoOp, MaPLe and their followers do. Fair: same weights, names, images, labels, thread
and clock, in turn in one process; both results are compared with each other and with float64.

On a CPU the reference's activations do not fit in memory beyond some hundred classes. It is then
given the loss's gradient by the embeddings, and runs forward and backward over 100 classes at a
time: the same work, since classes do not depend on each other.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from bench import (
    Step,
    clock,
    count_flops,
    gemm_peak,
    interleaved,
    paired_ratio,
    parser,
    recorded,
    start,
    write,
)
from memory import of_both
from steps import (
    PART,
    SMALL,
    Result,
    against_float64,
    batch,
    distance,
    in_parts,
    our_step,
    random_weights,
    rows,
    settings,
    their_step,
)

from dip_lib.clip.backbone import Backbone

CLASSES = (5, 10, 50, 100, 500, 1000)
MATRIX = (
    "aten::mm",
    "aten::addmm",
    "aten::bmm",
    "aten::baddbmm",
    "aten::matmul",
    "mkldnn::_linear_pointwise",
)


def shares(step: Step, on_gpu: bool) -> dict[str, float]:
    """Shares of a step's time in matrix products and in attention, by torch's profiler."""
    kinds = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[kinds.CPU, *[kinds.CUDA] * on_gpu]) as profile:
        step()
    spent = {
        event.key: event.self_device_time_total if on_gpu else event.self_cpu_time_total
        for event in profile.key_averages()
        if event.key.startswith("aten::") or not on_gpu  # a GPU's kernels are listed once more
    }
    attention = sum(t for key, t in spent.items() if "scaled_dot_product" in key)
    products = sum(spent.get(key, 0) for key in MATRIX)
    whole = sum(spent.values())
    return {"matrix_products": products / whole, "attention": attention / whole}


@dataclass
class Kept:
    """A step that keeps its last result: a reference of minutes need not run again for it."""

    step: Callable[[], Result]
    result: Result = field(init=False)

    def __call__(self) -> None:
        self.result = self.step()


def timed(ways: dict[str, Kept], large: bool, repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of each repeat; a ``large`` reference takes minutes, so it is measured once."""
    turns: dict[str, Step] = {way: recorded(step, device) for way, step in ways.items()}
    turns["reference"] = ways["reference"]  # CoOp's loop records nothing
    if not large:
        return interleaved(turns, repeats, clock(device))
    once = {"reference": turns.pop("reference")}
    seconds = interleaved(turns, repeats, clock(device))
    return seconds | interleaved(once, 1, clock(device), warm_up=False)


def measure(clips: dict[str, Backbone], names: Sequence[str], repeats: int) -> dict[str, Any]:
    """One setting: work, seconds, agreement."""
    clip, few, device = clips["fp32"], names[:5], str(clips["fp32"].device)
    large = in_parts(clip, names)
    ways = {
        "ours": Kept(our_step(clip, names)),
        "ours_bf16": Kept(our_step(clips["bf16"], names)),
        "reference": Kept(their_step(clip, names)),
    }
    # each class is the same work to the reference
    theirs = count_flops(their_step(clip, few)) * len(names) // len(few)
    flops = {way: count_flops(ways[way]) for way in ("ours", "ours_bf16")} | {"reference": theirs}
    seconds = timed(ways, large, repeats, device)
    fp32, bf16, reference = (ways[w].result for w in ("ours", "ours_bf16", "reference"))
    return {
        "classes": len(names),
        "rows": rows(clip, names),
        "reference": f"in parts of {PART}" if large else "whole",
        "flops": flops,
        "flop_ratio": theirs / flops["ours"],
        "seconds": seconds,
        "ratio": paired_ratio(seconds["reference"], seconds["ours"]),
        "gflops": {way: flops[way] / min(seconds[way]) / 1e9 for way in flops},
        "shares_of_time": shares(our_step(clip, names), clip.device.type == "cuda"),
        "difference": distance(fp32, reference),
        "from_float64": against_float64(clip, names) if len(names) <= 10 else None,
        "bf16": {
            "ratio_to_ours": paired_ratio(seconds["ours"], seconds["ours_bf16"]),
            "ratio_to_reference": paired_ratio(seconds["reference"], seconds["ours_bf16"]),
            "gradient_cosine": float(F.cosine_similarity(fp32[1].flatten(), bf16[1].flatten(), 0)),
        },
    }


def shares_of_peak(gflops: dict[str, float], peak: dict[str, float]) -> dict[str, float]:
    """Rate of each way over the rate of plain matrix products in the same precision."""
    return {way: rate / peak["bf16" if "bf16" in way else "fp32"] for way, rate in gflops.items()}


def variants(clip: Backbone, names: Sequence[str], repeats: int) -> dict[str, float]:
    """Time of other kinds of prompts, relative to one context: medians of paired ratios."""
    inputs = batch(clip, len(names))
    deep = [inputs.context.detach().clone().requires_grad_() for _ in range(8)]
    own = inputs.context.detach().expand(len(names), -1, -1).clone().requires_grad_()
    four = inputs.context.detach().expand(4, -1, -1).clone().requires_grad_()

    def four_at_once() -> object:
        losses = [inputs.loss(text)[1] for text in clip.class_embeddings(four, names)]
        return torch.autograd.grad(torch.stack(losses).sum(), four)

    def deeper() -> object:
        text = clip.class_embeddings(inputs.context, names, deep)
        return torch.autograd.grad(inputs.loss(text)[1], (inputs.context, *deep))

    def class_specific() -> object:
        text = clip.class_embeddings(own, names, per_class=True)
        return torch.autograd.grad(inputs.loss(text)[1], own)

    device = str(clip.device)
    kinds: dict[str, Step] = {
        "one context": our_step(clip, names),
        "and 8 deeper blocks": deeper,
        "a context for each class": class_specific,
        "4 contexts at once": four_at_once,
    }
    steps = {what: recorded(step, device) for what, step in kinds.items()}
    seconds = interleaved(steps, repeats, clock(device))
    return {what: paired_ratio(each, seconds["one context"]) for what, each in seconds.items()}


def show(setting: str, row: dict[str, Any]) -> None:
    """A line of the table."""
    space = f"{row['memory']['ratio']:8.1f}x memory" if "memory" in row else ""
    print(
        f"{setting:20}{statistics.median(row['seconds']['ours']):9.3f} s"
        f"{row['ratio']:8.1f}x time{row['flop_ratio']:8.1f}x FLOPs{space}"
        f"{row['shares_of_time']['matrix_products']:8.0%} products"
        f"{row['difference']['logits']:10.1e} logits{row['difference']['gradient']:9.1e} grad",
        flush=True,
    )


def main() -> None:
    options = parser(__doc__, "text_step")
    options.add_argument("--classes", help="only the first of ImageNet's, such as 5,10")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--quick", action="store_true", help="5 and 10 classes, 2 repeats")
    options.add_argument("--no-memory", action="store_true", help="no child processes for memory")
    chosen = start(options)
    if chosen.quick:
        chosen.classes, chosen.repeats, chosen.no_memory = "5,10", 2, True
    if chosen.smoke:
        chosen.classes, chosen.repeats, chosen.no_memory = "2,3", 1, True
    counts = [int(c) for c in (chosen.classes or "").split(",") if c] or CLASSES
    tower = SMALL if chosen.smoke else "ViT-B-16"
    clips = {p: random_weights(tower, chosen.device, p) for p in ("fp32", "bf16")}
    types = {"fp32": torch.float32, "bf16": torch.bfloat16}
    tried = 1 if chosen.smoke else 8
    peak = {name: gemm_peak(chosen.device, dtype, tried) for name, dtype in types.items()}
    result: dict[str, Any] = {"peak_gflops": peak, "settings": {}}
    for setting, names in settings(counts, datasets=not chosen.classes).items():
        row = result["settings"][setting] = measure(clips, names, chosen.repeats)
        row["share_of_peak"] = shares_of_peak(row["gflops"], peak)
        if not chosen.no_memory:
            row["memory"] = of_both(setting, names, chosen.device)
        show(setting, row)
        write("text_step", result, chosen)  # as they come
    if 100 in counts:
        names = settings([100])["ImageNet 100"]
        result["relative_to_one_context"] = variants(clips["fp32"], names, 3)
        write("text_step", result, chosen)


if __name__ == "__main__":
    main()
