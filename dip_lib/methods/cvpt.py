"""CVPT (Huang et al., 2024): the image's tokens read the prompts by cross-attention.

Prompts are no tokens of the sequence. Between a block's self-attention and its MLP it computes x +
CA(x, P): queries of x, keys and values of the block's prompts, all by the block's own frozen
self-attention weights. In training the authors drop a tenth of the prompts' entries, for each image
others, and of the residual branches of each image: of none in the first block, a tenth in the last,
linearly between. Source: ``CVPT.py`` and ``train.py`` of Lingyun0419/CVPT, whose settings are the
defaults here; its batches have 32 images.

With ``start="patches"``, no biases and no dropout the method differs from VPT in nothing but the
cross-attention, and prompts of zero change nothing: the biases of values and output move every
token whatever the prompts are. The book's runs in Glyph World have these settings.

Symbols: B images, T tokens, w width, n prompts, h heads, L blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dip_lib.checks import shown
from dip_lib.clip.onednn import fast_linear
from dip_lib.clip.vision_encoder import Block, VisionEncoder
from dip_lib.errors import BadValueError, one_of
from dip_lib.methods.vpt import VPT, VisualPrompts, first_prompts
from dip_lib.randomness import uniform

STARTS = ("prompts", "patches")
ENTRIES, BRANCHES = 100, 200
"""Streams of the random numbers of block 0's prompts and branches; block i has the i-th next."""


def cross_attention(block: Block, x: Tensor, prompt: Tensor, bias: bool = True) -> Tensor:
    """CA(x, P) by the block's own weights: (B, T, w) -> (B, T, w).

    Args:
        prompt: (n, w), or (B, n, w) with an image's own.
        bias: whether values and output have their biases; without them P = 0 gives 0.
    """
    rows = prompt.to(x.dtype).expand(len(x) if prompt.dim() == 3 else 1, -1, -1)
    query, key = block.projected(x, 0), block.projected(rows, 1)  # (B, h, T, ·), (., h, n, ·)
    value = block.projected(rows, 2, bias)
    key, value = (each.expand(len(x), -1, -1, -1) for each in (key, value))
    read = F.scaled_dot_product_attention(query, key, value)
    outward_bias = block.outward_bias if bias else None
    return F.linear(read.transpose(1, 2).flatten(2), block.outward, outward_bias)


class CrossPrompts(VisualPrompts):
    """As :class:`VisualPrompts`, but block i reads ``prompts.i`` by cross-attention.

    In training mode every call draws new masks, from the seed and the number of such calls before;
    without prompts, and in evaluation mode, there are none.

    Args:
        bias: as :func:`cross_attention`'s.
        dropout: probability of dropping an entry of an image's prompts, in [0, 1).
        drop_path: of dropping an image's attention or MLP in the last block, in [0, 1); block i has
            i / (L - 1) of it.
        seed: of the masks.
    """

    in_sequence = False
    seed: Tensor

    def __init__(
        self,
        tower: VisionEncoder,
        prompts: Sequence[Tensor],
        head: nn.Linear,
        *,
        bias: bool = True,
        dropout: float = 0.1,
        drop_path: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(tower, prompts, head)
        self.bias, self.dropout, self.drop_path, self.step = bias, dropout, drop_path, 0
        self.register_buffer("seed", torch.tensor(seed, device=tower.device), persistent=False)

    @fast_linear()
    def features(self, pixels: Tensor) -> Tensor:
        """(B, w)."""
        with torch.no_grad():
            x = self.tower.embed(pixels)  # (B, t, w)
        prompts = {i: prompt for i, prompt in enumerate(self.matrices) if len(prompt)}
        drops = self.training and bool(prompts)
        for i, block in enumerate(self.tower.blocks):
            prompt, branches = prompts.get(i), None
            if drops and (rate := self.drop_path * i / max(1, len(self.tower.blocks) - 1)):
                branches = self._mask((2, len(x), 1, 1), rate, BRANCHES + i).to(x.dtype)
            if drops and self.dropout and prompt is not None:
                prompt = prompt * self._mask((len(x), *prompt.shape), self.dropout, ENTRIES + i)
            x = self._through(block, x, prompt, branches)
        self.step += drops
        return self.tower.finish(x)

    def _mask(self, shape: Sequence[int], rate: float, stream: int) -> Tensor:
        """0 with probability ``rate``, else 1 / (1 - rate); no number is copied to the device."""
        return (uniform(self.seed, self.step, shape, stream) >= rate) / (1 - rate)

    def _through(
        self, block: Block, x: Tensor, prompt: Tensor | None, branches: Tensor | None
    ) -> Tensor:
        """A block with cross-attention between its halves, (B, T, w) -> (B, T, w).

        Args:
            branches: (2, B, 1, 1), by which attention and MLP are multiplied.
        """
        if prompt is None and branches is None:
            return block(x)
        attended, mixed = (1.0, 1.0) if branches is None else branches
        x = x + attended * block.scales[0](block.attention(block.norms[0](x)))
        if prompt is not None:
            x = x + cross_attention(block, x, prompt, self.bias)
        return x + mixed * block.scales[1](block.mlp(block.norms[1](x)))

    def flops(self) -> int:
        """Of one image's forward pass, head included."""
        counts = [len(prompt) for prompt in self.prompts]
        return self.tower.flops(counts, cross=True) + 2 * self.head.weight.numel()


@dataclass(frozen=True, kw_only=True)
class CVPT(VPT):
    """CVPT; settings as VPT's, and these, whose defaults are the authors'.

    Args:
        start: where prompts start: uniform by Xavier's rule over all of them, a tensor (depth, n,
            w) with n w inputs and depth w outputs ("prompts"), or as VPT's ("patches").
        bias: whether the cross-attention has the biases of values and output.
        prompt_dropout: probability of dropping an entry of an image's prompts, in [0, 1).
        drop_path: of dropping an image's attention or MLP in the last block, in [0, 1).

    Raises:
        ValueError: as VPT's; another start, a bias that is neither, or a probability out of range.
    """

    name = "cvpt"
    label = "CVPT"
    settings_of = "vpt"
    module = CrossPrompts
    earlier: ClassVar[Mapping[str, Any]] = {
        "start": "patches",
        "bias": False,
        "prompt_dropout": 0.0,
        "drop_path": 0.0,
    }

    start: str = "prompts"
    bias: bool = True
    prompt_dropout: float = 0.1
    drop_path: float = 0.1

    def check(self) -> None:
        super().check()
        one_of("start", self.start, STARTS)
        if not isinstance(self.bias, bool):
            raise BadValueError("bias", shown(self.bias), "True or False")
        for name in ("prompt_dropout", "drop_path"):
            if not 0 <= (rate := getattr(self, name)) < 1:
                raise BadValueError(name, shown(rate), "in [0, 1)")

    def prompts(self, tower: VisionEncoder, images: Tensor, seed: int) -> list[Tensor]:
        """As VPT's, or the same draws within the bound of all prompts' own shape."""
        drawn = first_prompts(tower, self.vectors, self.depth, seed)
        if self.start == "patches":
            return drawn
        own, patches = (self.vectors + self.depth) * tower.width, tower.fan_in + tower.width
        return [(patches / own) ** 0.5 * prompt for prompt in drawn]

    def module_settings(self, seed: int) -> dict[str, Any]:
        """Biases, both probabilities, and the seed of their masks."""
        return {
            "bias": self.bias,
            "dropout": self.prompt_dropout,
            "drop_path": self.drop_path,
            "seed": seed,
        }
