"""Zero-shot accuracy of the committed text encoders on test photographs, for the model card.

    python pretraining/photo_world/measure.py WORK --data DATA

``WORK`` holds the features that ``encode_photos.py --test`` has written. Writes ``zero_shot`` of
every text encoder to ``weights.json`` and the tables of the model card. Run once the weights are
final: nothing is chosen by these numbers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from encode_photos import OPEN, read
from sentences import class_names
from torch import Tensor

from dip_lib.clip import Backbone
from dip_lib.data import base_new
from dip_lib.files import write_atomic
from photo_world import datasets
from photo_world.models import CARD, NAMES, PROJECTION, WEIGHTS
from photo_world.models import read as read_weights
from photo_world.plugin import load

PLAIN = "a photo of a {}."
MODEL_CARD = WEIGHTS / "MODEL_CARD.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


def embed(features: Tensor) -> Tensor:
    """Unit image embeddings of trunk features by the committed projection: (N, 1280) -> (N, e)."""
    stored = read_weights(PROJECTION)
    return F.normalize(features @ stored["weight"].float().T + stored["bias"].float(), dim=-1)


def _percent(scores: Tensor, labels: Tensor, classes: Sequence[int]) -> float:
    """Accuracy in % of the images of ``classes`` among these classes."""
    chosen = torch.tensor(list(classes))
    rows = torch.isin(labels, chosen)
    best = chosen[scores[rows][:, chosen].argmax(1)]
    return round(100 * (best == labels[rows]).double().mean().item(), 1)


def accuracy(backbone: Backbone, images: Tensor, labels: Tensor, texts: list[str]) -> list[float]:
    """Top-1 in %: base classes, new classes, all of them.

    Args:
        images: (N, e) unit embeddings. labels: (N,). texts: one of each class.
    """
    scores = images @ backbone.encode_text(texts).T
    every = list(range(len(texts)))
    base, new = base_new(every)
    return [_percent(scores, labels, classes) for classes in (base, new, every)]


def measure(work: Path, data: Path) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Text encoder -> dataset -> template -> accuracy on base, new and all classes."""
    names = class_names(data)
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for tower in NAMES:
        backbone, found[tower] = load(tower), {}
        for dataset in OPEN:
            features, labels = read(work, f"{dataset}-test")
            images = embed(features[:, 0])
            found[tower][dataset] = {
                template: accuracy(
                    backbone, images, labels, [template.format(name) for name in names[dataset]]
                )
                for template in (PLAIN, datasets.declared(dataset).template)
            }
    return found


def tables(found: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    """One Markdown table a template: base / new / all, in %."""
    parts = []
    for own in (False, True):
        title = "the dataset's own template" if own else f'"{PLAIN}"'
        lines = [f"Zero-shot with {title}, base / new / all classes in %:", ""]
        lines += ["| | " + " | ".join(f"`{tower}`" for tower in found) + " |"]
        lines += ["|---" * (1 + len(found)) + "|"]
        for dataset in OPEN:
            about = datasets.declared(dataset)
            each = [rows[dataset][about.template if own else PLAIN] for rows in found.values()]
            cells = " | ".join(" / ".join(f"{value:.1f}" for value in row) for row in each)
            lines.append(f"| {about.title} | {cells} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("work", type=Path, help="folder of the features")
    parser.add_argument("--data", type=Path, required=True, help="folder of the datasets")
    options = parser.parse_args()
    found = measure(options.work, options.data)
    card = json.loads(CARD.read_text())
    for tower, rows in found.items():
        card[tower]["zero_shot"] = rows
    write_atomic(CARD, (json.dumps(card, indent=2, sort_keys=True) + "\n").encode())
    text = MODEL_CARD.read_text("utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    shown = f"{before}{BEGIN}\n{tables(found)}\n{END}{after}"
    write_atomic(MODEL_CARD, shown.encode())
    print(tables(found))


if __name__ == "__main__":
    main()
