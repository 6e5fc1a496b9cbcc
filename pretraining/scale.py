"""What a larger logit scale costs: ``python pretraining/scale.py 0 50 100``, a minute or two each.

The finished ``glyph-resnet`` is trained a little longer with each floor of the scale. Printed are
the scale reached, zero-shot accuracy, and the scale that the loss on fresh batches would choose.
``pretrain.py`` has the rule that reads them, and what was found.
"""

from __future__ import annotations

import argparse
import json

import torch
import torch.nn.functional as F
from corpus import Corpus
from encoders import compact, text_features
from open_clip.model import CLIP
from pretrain import RATE, accuracy
from torch import Tensor
from training import Recipe, Training, train

from glyph_world.world import PRETRAINING_FONTS, characters, full_name

TOWER = "glyph-resnet"
STEPS = 60
SEED = 11


@torch.no_grad()
def continue_from_finished(run: Training) -> None:
    """Weights of the finished tower; its prototypes, which were discarded, are the full names."""
    run.model.load_state_dict(compact(TOWER).state_dict())
    names = Corpus().tokens([f"a photo of a {full_name(p)}." for p in characters()])
    run.prototypes.copy_(text_features(run.model.eval(), names))
    run.model.train()


@torch.no_grad()
def similarities(model: CLIP, batches: int = 4) -> list[Tensor]:
    """Cosines (B, B) of images and captions in fresh batches."""
    corpus, found = Corpus(), []
    for step in range(batches):
        batch = corpus.batch(512, 77, step)
        image = F.normalize(model.encode_image(batch.images), dim=-1)
        found.append(image @ text_features(model, batch.tokens).T)
    return found


def loss(cosines: list[Tensor], scale: float) -> float:
    """InfoNCE at a logit scale, averaged over batches."""
    both = [scale * each for matrix in cosines for each in (matrix, matrix.T)]
    return sum(F.cross_entropy(each, torch.arange(len(each))).item() for each in both) / len(both)


def describe(model: CLIP) -> dict[str, float]:
    """The scale, the one of least loss on fresh batches, both losses, and zero-shot accuracy."""
    cosines, scale = similarities(model), model.logit_scale.exp().item()
    best = min(range(5, 201), key=lambda each: loss(cosines, each))
    return {
        "scale": round(scale, 1),
        "loss": round(loss(cosines, scale), 3),
        "scale of least loss": best,
        "least loss": round(loss(cosines, best), 3),
        "top1_of_981": round(accuracy(model, PRETRAINING_FONTS, draws=5), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="What a floor of the logit scale costs.")
    parser.add_argument("floors", nargs="+", type=float, help="0: none")
    torch.set_num_threads(1)
    for floor in parser.parse_args().floors:
        recipe = Recipe(
            steps=STEPS,
            lr=5e-4,
            warmup_steps=10,
            seed=SEED,
            bf16=True,
            scale_rate=RATE,
            scale_floor=floor,
        )
        model, _ = train(TOWER, recipe, start=continue_from_finished)
        print(json.dumps({"floor": floor} | describe(model)), flush=True)


if __name__ == "__main__":
    main()
