"""Pre-train Glyph World's language model on texts alone: ``python pretraining/language.py``.

Next-word cross-entropy on questions, answers and statements (``glyph_world/language/texts.py``),
AdamW with a warm-up and a cosine. No picture is drawn. Writes the weights and their card; about a
minute of one core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from dip_lib.files import write_atomic
from dip_lib.machine import cpu_name
from glyph_world.language.answering import ranked
from glyph_world.language.model import CARD, FILE, LanguageModel, pack, unpack
from glyph_world.language.questions import QUESTIONS
from glyph_world.language.texts import batch, names_of
from glyph_world.scenes import COUNTS


@dataclass(frozen=True)
class Recipe:
    """What the pre-training depends on, besides the texts."""

    steps: int = 1000
    batch: int = 64
    lr: float = 4e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    seed: int = 0


def next_word_loss(model: LanguageModel, texts: Tensor) -> Tensor:
    """Mean cross-entropy of every word that follows another in texts (B, T)."""
    states, _ = model(model.embed(texts[:, :-1]))
    wanted = texts[:, 1:] > 0
    return F.cross_entropy(model.logits(states[wanted]), texts[:, 1:][wanted])


def train(recipe: Recipe) -> LanguageModel:
    """The model after the recipe; the same bits on the same machine."""
    torch.manual_seed(recipe.seed)
    model = LanguageModel()
    optimiser = torch.optim.AdamW(
        model.parameters(), recipe.lr, (0.9, 0.98), weight_decay=recipe.weight_decay
    )
    for step in (bar := tqdm(range(recipe.steps), "glyph-lm", mininterval=5)):
        rate = recipe.lr * min(1, (step + 1) / recipe.warmup_steps)
        rate *= 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        optimiser.param_groups[0]["lr"] = rate
        loss = next_word_loss(model, batch(recipe.batch, recipe.seed, step))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if step % 50 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return model


def surprise(model: LanguageModel, question: str, answers: tuple[str, ...]) -> dict[str, float]:
    """Mean surprise of the answers without a picture, and the least that not knowing allows.

    In nats. ``among``: the probability that the model gives to these answers together.
    """
    likely = ranked(model, question, answers)[0]
    return {
        "surprise": round(-float(likely.mean()), 3),
        "least": round(math.log(len(answers)), 3),
        "among": round(float(likely.exp().sum()), 3),
    }


def main() -> None:
    argparse.ArgumentParser(description="Pre-train the language model of Glyph World.").parse_args()
    torch.set_num_threads(1)
    recipe, began = Recipe(), time.process_time()
    data = pack(train(recipe))
    model = unpack(data)
    card = {
        "bytes": len(data),
        "cpu": cpu_name(),
        "knows": {
            "greek": surprise(model, QUESTIONS["natural-greek"], names_of("greek")),
            "counts": surprise(model, QUESTIONS["how-many"], COUNTS),
        },
        "parameters": sum(p.numel() for p in model.parameters()),
        "recipe": asdict(recipe),
        "seconds": round(time.process_time() - began),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    write_atomic(FILE, data)
    text = json.dumps(card, indent=2, ensure_ascii=False)
    write_atomic(CARD, f"{text}\n".encode())
    print(text)


if __name__ == "__main__":
    main()
