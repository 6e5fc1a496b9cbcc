"""Frozen linear layers and self-attention on a CPU, as PyTorch runs them and by oneDNN.

A layer's forward pass and the gradient in its input, in fp32, at the sizes of Glyph World's
encoders and of ViT-B/16. Fair: both take turns in one process, on the same numbers. On Intel's
processors the library leaves its layers to PyTorch; here oneDNN is asked all the same.
"""

from __future__ import annotations

from typing import Any

import torch
from bench import Step, interleaved, paired_ratio, parser, start, write
from torch import Tensor, nn

from dip_lib.clip.onednn import AVAILABLE, fast_linear

SIZES = {"Glyph World": (128, 4, 16, 57), "ViT-B/16": (768, 12, 4, 197)}
"""Backbone -> width w, heads, images, and tokens of an image."""


def layers(width: int, heads: int) -> dict[str, nn.Module]:
    """The parts of a frozen block, by name."""
    made = {
        "w to 4w": nn.Linear(width, 4 * width),
        "4w to w": nn.Linear(4 * width, width),
        "attention": nn.MultiheadAttention(width, heads, batch_first=True),
    }
    return {name: layer.requires_grad_(False) for name, layer in made.items()}


def there_and_back(layer: nn.Module, x: Tensor) -> Step:
    """The layer's output, and its gradient in x."""
    if isinstance(layer, nn.MultiheadAttention):
        return lambda: torch.autograd.grad(layer(x, x, x, need_weights=False)[0].sum(), x)
    return lambda: torch.autograd.grad(layer(x).sum(), x)


def measure(width: int, heads: int, images: int, tokens: int, repeats: int) -> dict[str, Any]:
    """Seconds of each layer both ways, and how many times as long PyTorch's own takes."""
    rows = {}
    for name, layer in layers(width, heads).items():
        inner = 4 * width if name == "4w to w" else width
        x = torch.randn(images, tokens, inner, requires_grad=True)
        step = there_and_back(layer, x)
        seconds = interleaved({"torch": step, "onednn": fast_linear(always=True)(step)}, repeats)
        ratio = paired_ratio(seconds["torch"], seconds["onednn"])
        rows[name] = {"seconds": seconds, "torch_over_onednn": ratio}
    return rows


def main() -> None:
    options = parser(__doc__, "products")
    options.add_argument("--repeats", type=int, default=50)
    options.add_argument("--quick", action="store_true", help="three repeats")
    chosen = start(options)
    if not AVAILABLE or chosen.device != "cpu":
        print("nothing to compare: oneDNN is for CPUs, and not in every PyTorch")
        return
    repeats = 1 if chosen.smoke else 3 if chosen.quick else chosen.repeats
    rows = {}
    for tower, size in SIZES.items():
        rows[tower] = measure(*size, repeats)
        for name, row in rows[tower].items():
            print(f"{tower:12}{name:12}{row['torch_over_onednn']:6.2f}x the time by PyTorch's own")
    write("products", {"towers": rows}, chosen)


if __name__ == "__main__":
    main()
