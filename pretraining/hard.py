"""The hard images of the source set: ``python pretraining/hard.py`` writes ``source_a.json``.

As ImageNet-A was chosen by a ResNet's mistakes, "source-a" keeps those draws that a zero-shot
backbone gets wrong: the vision transformer, whose prompts are not evaluated there. Chosen by the
ResNet that is, nearly all of it would be wrong by construction, and whatever moves predictions most
would win. Run it once after pre-training; the list is committed.
"""

from __future__ import annotations

import json

import torch
import torch.nn.functional as F

from glyph_world.captions import tokenizer
from glyph_world.families import HARD_FILE, GlyphDataset, glyph_dataset
from glyph_world.models import fingerprint, load_glyph_clip, normalise

TOWER = "glyph-vit"


@torch.no_grad()
def mistakes() -> list[int]:
    """Positions among the draws of "source-a" that the zero-shot :data:`TOWER` gets wrong."""
    model, _ = load_glyph_clip(TOWER)
    named = glyph_dataset("source-a")
    draws = GlyphDataset(
        named.name, named.style, named.points, named.fonts, named.template, all_draws=True
    )
    texts = [named.template.format(name) for name in named.class_names]
    words = F.normalize(model.encode_text(tokenizer()(texts)), dim=-1)
    best = [
        (model.encode_image(normalise(images)) @ words.T).argmax(1)
        for (images,) in draws.batches("test")
    ]
    wrong = torch.cat(best) != draws.labels("test")
    return wrong.nonzero().flatten().tolist()


def main() -> None:
    kept = mistakes()
    HARD_FILE.write_text(json.dumps({"weights": fingerprint(TOWER), "kept": kept}) + "\n")
    print(f"{HARD_FILE}: {len(kept)} images")


if __name__ == "__main__":
    main()
