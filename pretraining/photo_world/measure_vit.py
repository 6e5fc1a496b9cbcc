"""How far a linear head alone comes on Photo World's tasks, on photo-vit and before its training.

    python pretraining/photo_world/measure_vit.py --data DATA [--weights WORK/photo-vit.safetensors]

Trained on the 800 photographs that tune, evaluated on the 200 that choose (``task_heads.py``); test
photographs are not read. Writes ``heads`` of the committed weights to ``weights.json``; of other
weights it prints them alone. Nothing is chosen by these numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from pretrain_vit import begin, read_settings
from safetensors.torch import load as load_tensors

from dip_lib.clip import Backbone
from dip_lib.data import load_dataset
from dip_lib.data.prepared import TUNING
from dip_lib.files import write_atomic
from photo_world import vit
from photo_world.models import CARD, VIT, weights_path
from photo_world.plugin import load
from photo_world.tasks import TASKS

sys.path.append(str(Path(__file__).resolve().parents[1]))

from task_heads import head_accuracy


def tower(weights: bytes) -> Backbone:
    """The backbone with these image weights."""
    model, _ = vit.assemble(load_tensors(weights))
    return replace(load(vit.TEXT_OF), name=VIT, model=model)


def heads(weights: bytes) -> dict[str, float]:
    """Task -> accuracy of a linear head on the photographs that choose, percent."""
    clip = tower(weights)
    return {name: round(head_accuracy(clip, load_dataset(name + TUNING)), 1) for name in TASKS}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the datasets")
    parser.add_argument("--weights", type=Path, help="a file of image weights; default committed")
    options = parser.parse_args()
    os.environ["DATA"] = str(options.data)
    torch.set_num_threads(1)
    recipe, _ = read_settings()
    found = {
        "untrained": heads(vit.pack(begin(recipe, "cpu").model)),
        "trained": heads((options.weights or weights_path(VIT)).read_bytes()),
    }
    print(json.dumps(found))
    if options.weights is None:
        card = json.loads(CARD.read_text())
        card[VIT]["heads"] = found
        write_atomic(CARD, (json.dumps(card, indent=2, sort_keys=True) + "\n").encode())


if __name__ == "__main__":
    main()
