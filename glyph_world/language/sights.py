"""Ways to show an image to the frozen language model; what they hold is all that trains.

*Memory* (MemVP): rows of projected image tokens in the feed-forward layer of every block. *Prefix*:
the same rows before the text, as LLaVA has it, with trainable rows added to them. *Question*:
trainable rows before the text and no image, the floor.

Symbols: B texts, t patches, w width of an image's tokens, m rows, d width of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from dip_lib.errors import one_of
from dip_lib.methods.memvp import Projection, shared_memory
from dip_lib.randomness import normal
from glyph_world.language.model import WIDTH, FeedForward, LanguageModel


@dataclass(frozen=True)
class Shown:
    """What the model is given beside a text, for B images.

    Attributes:
        before: (B, n, d) rows before the text; None for none.
        feed_forwards: what each block takes for its feed-forward layer; () for its own.
    """

    before: Tensor | None = None
    feed_forwards: Sequence[FeedForward] = ()


class Nothing(nn.Module):
    """The frozen model as it is."""

    def forward(self, images: Tensor) -> Shown:
        return Shown()


class Question(nn.Module):
    """Rows that train before the text, and no image."""

    def __init__(self, rows: int, seed: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(0.02 * normal(seed, (1, rows, WIDTH)))

    def forward(self, images: Tensor) -> Shown:
        return Shown(self.rows.expand(len(images), -1, -1))


class Prefix(nn.Module):
    """V + P before the text: projected tokens, padded with zeros to m rows; P ~ N(0, 0.02^2)."""

    def __init__(self, projection: Projection, rows: int, seed: int) -> None:
        super().__init__()
        self.projection = projection
        self.rows = nn.Parameter(0.02 * normal(seed, (1, rows, WIDTH)))

    def forward(self, images: Tensor) -> Shown:
        visual = self.projection(images)
        missing = self.rows.shape[1] - visual.shape[1]
        return Shown(F.pad(visual, (0, 0, 0, missing)) + self.rows)


def _read(memory: nn.Module, visual: Tensor, x: Tensor) -> Tensor:
    """A memory's output for several texts an image: x (B A, T, d) with visual (B, m, d)."""
    read: Tensor = memory(x.reshape(len(visual), -1, x.shape[-1]), visual)
    return read.view_as(x)


class Memory(nn.Module):
    """MemVP's memory in every block, with one P1 and one P2 for all."""

    def __init__(
        self, model: LanguageModel, projection: Projection, rows: int, scale: float, seed: int
    ) -> None:
        super().__init__()
        self.projection = projection
        self.layers = nn.ModuleList(
            shared_memory(model.feed_forwards, rows, WIDTH, scale=scale, seed=seed)
        )

    def forward(self, images: Tensor) -> Shown:
        visual = self.projection(images)
        return Shown(None, [partial(_read, layer, visual) for layer in self.layers])


@dataclass(frozen=True)
class Sizes:
    """What the ways to show an image are made of.

    Attributes:
        rows: m of memory and prefix. The authors have 320 for 256 patches, so 45 for 36.
        hidden: middle width of the memory's projection; the prefix has the width with which it
            trains as many numbers, as nearly as there is one.
        question_rows: rows without an image.
        memory_scale: s of the memory, and the factor of its projection: the authors' values.
        free_scale: both of "memory, larger scales".
        prefix_scale: factor of the prefix's projection.
    """

    rows: int = 45
    hidden: int = 64
    question_rows: int = 4
    memory_scale: tuple[float, float] = (0.1, 0.01)
    free_scale: tuple[float, float] = (1.0, 0.1)
    prefix_scale: float = 1.0

    def prefix_hidden(self, width: int) -> int:
        """The middle's width of the prefix's projection, for image tokens of this width."""
        a_unit = width + 1 + WIDTH  # numbers of a unit of the middle
        return round((a_unit * self.hidden + self.rows * WIDTH) / a_unit)


def trainable(sight: nn.Module) -> int:
    """How many numbers a way to show an image trains."""
    return sum(each.numel() for each in sight.parameters() if each.requires_grad)


def make_sight(name: str, model: LanguageModel, width: int, sizes: Sizes, seed: int) -> nn.Module:
    """A way to show an image, untrained, by its name.

    Args:
        name: one of :data:`SIGHTS`.
        width: w.
        seed: of all that is drawn.

    Raises:
        UnknownNameError: another name.
    """
    return SIGHTS[one_of("way to show an image", name, SIGHTS)](model, width, sizes, seed)


def _memory(
    scales: Callable[[Sizes], tuple[float, float]],
    model: LanguageModel,
    width: int,
    sizes: Sizes,
    seed: int,
) -> nn.Module:
    scale, factor = scales(sizes)
    projection = Projection(width, sizes.hidden, WIDTH, factor, seed)
    return Memory(model, projection, sizes.rows, scale, seed)


def _prefix(model: LanguageModel, width: int, sizes: Sizes, seed: int) -> nn.Module:
    hidden = sizes.prefix_hidden(width)
    projection = Projection(width, hidden, WIDTH, sizes.prefix_scale, seed)
    return Prefix(projection, sizes.rows, seed)


def _question(model: LanguageModel, width: int, sizes: Sizes, seed: int) -> nn.Module:
    return Question(sizes.question_rows, seed)


SIGHTS: dict[str, Callable[[LanguageModel, int, Sizes, int], nn.Module]] = {
    "question alone": _question,
    "prefix": _prefix,
    "memory": partial(_memory, lambda sizes: sizes.memory_scale),
    "memory, larger scales": partial(_memory, lambda sizes: sizes.free_scale),
}
"""Name -> what makes it."""
