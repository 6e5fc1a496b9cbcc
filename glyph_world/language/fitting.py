"""Training a way to show an image: AdamW as MemVP's authors have it, the language model frozen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dip_lib.randomness import permutation
from glyph_world.language.model import LanguageModel
from glyph_world.language.questions import Examples
from glyph_world.language.sights import Shown


@dataclass(frozen=True)
class Fit:
    """How long and how fast; defaults are the authors', but for the batch (theirs is 32).

    Attributes:
        rate: the highest learning rate: it rises over ``warmup`` epochs, then falls to 0 as a
            cosine, step by step.
        epochs: over all examples.
    """

    rate: float
    epochs: int = 20
    warmup: int = 2
    batch: int = 32
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.95)

    def rate_at(self, epoch: float) -> float:
        """The rate at a point of training, counted in epochs."""
        if epoch < self.warmup:
            return self.rate * epoch / self.warmup
        done = (epoch - self.warmup) / max(1, self.epochs - self.warmup)
        return self.rate * 0.5 * (1 + math.cos(math.pi * done))


def text_states(model: LanguageModel, shown: Shown, texts: Tensor) -> Tensor:
    """What the model makes of each word of texts (B, T), with an image shown: (B, T, d)."""
    x, rows = model.embed(texts), 0
    if shown.before is not None:
        x, rows = torch.cat([shown.before, x], 1), shown.before.shape[1]
    states, _ = model(x, feed_forwards=shown.feed_forwards)
    return states[:, rows:]


def answer_loss(model: LanguageModel, sight: nn.Module, batch: Examples) -> Tensor:
    """Mean cross-entropy of the words of the answers and their end marks."""
    states = text_states(model, sight(batch.images), batch.texts[:, :-1])
    next_words = batch.texts[:, 1:]
    place = torch.arange(1, batch.texts.shape[1])
    wanted = (place >= batch.begins[:, None]) & (next_words > 0)
    return F.cross_entropy(model.logits(states[wanted]), next_words[wanted])


def optimiser_of(sight: nn.Module, fit: Fit) -> torch.optim.Optimizer:
    """AdamW on what trains."""
    mine = [each for each in sight.parameters() if each.requires_grad]
    return torch.optim.AdamW(mine, fit.rate, fit.betas, weight_decay=fit.weight_decay)


def take_step(
    model: LanguageModel, sight: nn.Module, optimiser: torch.optim.Optimizer, batch: Examples
) -> float:
    """One step on a batch; returns its loss."""
    loss = answer_loss(model, sight, batch)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.item()


def train(
    model: LanguageModel, sight: nn.Module, examples: Examples, fit: Fit, seed: int
) -> list[float]:
    """Train ``sight`` in place; returns the mean loss of every epoch.

    The same seed gives the same order, dropout and result; torch's own state is left as it was.
    """
    optimiser, losses = optimiser_of(sight, fit), []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sight.train()
        for epoch in range(fit.epochs):
            parts = permutation(seed, epoch, len(examples)).split(fit.batch)
            total = 0.0
            for place, rows in enumerate(parts):
                optimiser.param_groups[0]["lr"] = fit.rate_at(epoch + (place + 1) / len(parts))
                total += take_step(model, sight, optimiser, examples.at(rows)) * len(rows)
            losses.append(total / len(examples))
        sight.eval()
    return losses
