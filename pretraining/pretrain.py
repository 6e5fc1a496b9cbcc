"""Pre-train the small CLIPs: ``python pretraining/pretrain.py [glyph-resnet glyph-vit ...]``.

Trains (``training.py`` says how), measures zero-shot accuracy, and writes weights and model card.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from corpus import Corpus
from encoders import text_features
from open_clip.model import CLIP
from training import Recipe, train

from glyph_world.captions import vocabulary
from glyph_world.draw import masks
from glyph_world.models import CARD, normalise, pack, weights_path
from glyph_world.render import render
from glyph_world.styles import GENERIC
from glyph_world.world import FONTS, PRETRAINING_FONTS, characters, full_name

RATE = 10.0
# The rule, fixed before the towers that it is for were trained: of no floor, 50 and 100 the highest
# floor whose zero-shot accuracy (top-1 of 981, fonts of pre-training) is at most 2 points below the
# accuracy of no floor, in short trainings that continue the finished glyph-resnet (scale.py).
# Found with sixty steps each: no floor 63.8 % at a scale of 22, floor 100 62.0 %. What it costs
# from the start is not known: see the model card.
LARGE_SCALE = Recipe(steps=1200, bf16=True, scale_rate=RATE, scale_floor=100.0)
RECIPES = {
    "glyph-resnet": Recipe(steps=1000),
    "glyph-vit": Recipe(steps=1200, teacher="glyph-resnet", compiled=True),
    "glyph-resnet-b": replace(LARGE_SCALE, seed=1),
    "glyph-resnet-c": replace(LARGE_SCALE, seed=2),
    "glyph-vit-b": replace(LARGE_SCALE, seed=3, teacher="glyph-resnet", own_text=True),
}


@torch.no_grad()
def accuracy(model: CLIP, fonts: tuple[str, ...], draws: int = 10, seed: int = 99) -> float:
    """Zero-shot top-1, %, over all characters' full names, on fresh draws in the generic look."""
    corpus, drawn = Corpus(), masks()
    words = text_features(
        model, corpus.tokens([f"a photo of a {full_name(p)}." for p in characters()])
    )
    rows = np.nonzero(np.isin(drawn.font, [FONTS.index(f) for f in fonts]))[0]
    source, correct = torch.Generator().manual_seed(seed), []
    chosen = torch.from_numpy(np.random.default_rng(seed).choice(rows, draws * corpus.count))
    for part in chosen.split(500):
        images, _ = render(torch.from_numpy(drawn.pixels)[part], GENERIC, source)
        best = (model.encode_image(normalise(images)) @ words.T).argmax(1)
        correct.append(best == torch.from_numpy(drawn.character)[part])
    return 100 * torch.cat(correct).float().mean().item()


def publish(name: str, model: CLIP, recipe: Recipe, seconds: float) -> Path:
    """Write the weights file and its entry in the model card; returns the file."""
    path, data = weights_path(name), pack(model, vocabulary())
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    card = json.loads(CARD.read_text()) if CARD.is_file() else {}
    card[name] = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "recipe": asdict(recipe),
        "seconds": round(seconds),
        "threads": torch.get_num_threads(),
        "logit_scale": round(model.logit_scale.exp().item(), 2),
        "top1_of_981": {
            "pretraining fonts": round(accuracy(model, PRETRAINING_FONTS), 1),
            "other fonts": round(accuracy(model, FONTS[len(PRETRAINING_FONTS) :]), 1),
        },
    }
    CARD.write_text(json.dumps(card, indent=2, sort_keys=True) + "\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Pre-train the CLIPs of Glyph World.")
    parser.add_argument("names", nargs="*", default=list(RECIPES), help=" ".join(RECIPES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-compile", action="store_true", help="without a C++ compiler")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.names:
        recipe = RECIPES[name]
        if options.no_compile:
            recipe = replace(recipe, compiled=False)
        model, seconds = train(name, recipe, options.device)
        path = publish(name, model, recipe, seconds)
        print(f"{path}: {json.dumps(json.loads(CARD.read_text())[name])}")


if __name__ == "__main__":
    main()
