"""Write the feature packs of Photo World, from the photographs.

    python pretraining/photo_world/make_packs.py --data /photos [NAME ...]

A pack holds the test photographs and what the draws of seeds 1 to 5 with 1 to 16 images a class
need, in three views; all backbones of Photo World read it. A stopped call resumes.

The encoder runs in bf16, more than twice as fast where the processor has it. A sample of the test
photographs is encoded in fp32 as well, and the header says by how much the two differ.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from dip_lib.clip import Backbone, load_backbone
from dip_lib.clip.features import encode_split
from dip_lib.clip.packing import make_pack
from dip_lib.data import Dataset
from dip_lib.data.pack_files import add_pack
from dip_lib.data.packs import content_hash
from dip_lib.data.protocols import Classes, draw
from photo_world.datasets import DECLARED, PACKS, pictures
from photo_world.models import NAMES

SEEDS, SHOTS, VIEWS = range(1, 6), (1, 2, 4, 8, 16), 3
SAMPLE = 300
"""Test photographs a dataset, evenly spread, that are encoded in fp32 as well."""


def loss_of_bf16(whole: Backbone, rounded: Backbone, dataset: Dataset) -> dict[str, Any]:
    """How the encoder in bf16 differs from fp32 on a sample of the test photographs.

    Returns:
        bf16_of: photographs in the sample; bf16_least_cosine, bf16_mean_cosine of their features;
        bf16_pictures: how many more or fewer are right, zero-shot.
    """
    labels = dataset.labels("test")
    rows = list(range(0, len(labels), max(1, len(labels) // SAMPLE)))[:SAMPLE]
    names = [dataset.template.format(name) for name in dataset.class_names]
    text = whole.encode_text(names)
    exact, ours = (encode_split(each, dataset, "test", rows=rows) for each in (whole, rounded))
    right = [int(((f @ text.T).argmax(1) == labels[rows]).sum()) for f in (exact, ours)]
    cosines = (exact * ours).sum(1)
    return {
        "bf16_of": len(rows),
        "bf16_least_cosine": round(float(cosines.min()), 5),
        "bf16_mean_cosine": round(float(cosines.mean()), 5),
        "bf16_pictures": right[1] - right[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(DECLARED))
    parser.add_argument("--data", type=Path, required=True, help="folder of the datasets")
    parser.add_argument("--out", type=Path, default=PACKS, help=f"default {PACKS.name}/")
    options = parser.parse_args()
    os.environ["DATA"] = str(options.data)
    whole, rounded = (load_backbone(NAMES[0], precision=each) for each in ("fp32", "bf16"))
    for name in options.names:
        about, dataset = DECLARED[name], pictures(name, options.data)
        draws = [
            draw(dataset.labels, shots, seed, Classes("all-classes"))
            for seed in SEEDS
            for shots in SHOTS
            if len(dataset.labels("train"))
        ]
        told = {"licence": about.licence, "source": about.source, "note": about.subset}
        made = make_pack(rounded, dataset, draws, VIEWS, about=told | {"encoder": "photo-lite0"})
        loss = {**made.header.loss, **loss_of_bf16(whole, rounded, dataset)}
        # every backbone of this world reads it, in whatever precision
        header = replace(made.header, image_fingerprint=whole.encodes_as, loss=loss)
        header = replace(header, sha256=content_hash(header, made.tensors))
        path = add_pack(replace(made, header=header), options.out)
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {made.header.loss}", flush=True)


if __name__ == "__main__":
    main()
