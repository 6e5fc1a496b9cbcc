"""From JPEG files to features, against the bare image encoder: ``python benchmarks/encode.py``.

Smooth random JPEGs of 500 x 375 pixels are made on the spot. Weights are random: speed does not
depend on them, and nothing is downloaded. On a CPU one process does everything, so that its own
seconds are all the work; on a GPU loader processes decode beside it, as they do in use.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from bench import clock, interleaved, paired_ratio, parse, parser, write
from PIL import Image
from torch import Tensor

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import batch_size, encode_views
from dip_lib.data.pictures import Pictures

TOWERS = {
    "cpu": (("ViT-B-32", "fp32"), ("RN50", "fp32")),
    "cuda": (("ViT-B-16", "bf16"), ("RN50", "bf16")),
}
SMOKE_TOWERS = (("glyph-vit", "fp32"), ("glyph-resnet", "fp32"))
"""Those of ``--smoke``, which are small."""
FILES = 256
"""JPEGs that are made; more images than this show them again."""
VIEWS = 4
"""Augmented views of the training path, as the profiles have."""


def make_files(folder: Path, count: int) -> None:
    """Smooth random pictures, 500 x 375, of about the size in bytes of a photograph."""
    random = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg", quality=92)


def encode_all(tower: Backbone, images: Tensor, count: int) -> None:
    """The bare image encoder: ``count`` images out of batches that lie ready on its device."""
    for start in range(0, count, len(images)):
        tower.encode_image(images[: count - start])


def candidates(tower: Backbone, files: Pictures, count: int) -> dict[str, Callable[[], object]]:
    """What is timed; each handles ``count`` images, the training path ``count`` views."""
    size, device = tower.image_size, tower.device
    batch = min(count, batch_size(tower))
    images = torch.randn(batch, 3, size, size, device=device)
    other = load_backbone(tower.name, device=str(device))
    other.model.to(next(tower.model.visual.parameters()).dtype)
    channels_last = is_channels_last(tower)
    layout = torch.contiguous_format if channels_last else torch.channels_last
    other.model.visual.to(memory_format=layout)
    few = list(range(max(1, count // VIEWS)))

    def whole(views: tuple[int | None, ...], rows: list[int] | None) -> None:
        shutil.rmtree(Path(os.environ["DIP_HOME"]), ignore_errors=True)
        encode_views(tower, files, "test", views, rows)

    def decode() -> None:
        for _ in files.batches("test", size=size, device=device):
            pass

    return {
        "bare tower": lambda: encode_all(tower, images, count),
        "bare tower, other layout": lambda: encode_all(other, images, count),
        "decoding alone": decode,
        "whole path": lambda: whole((None,), None),
        "whole path, 4 views": lambda: whole(tuple(range(VIEWS)), few),
    }


def is_channels_last(tower: Backbone) -> bool:
    """Whether the library runs this encoder with channels last."""
    convolutions = [m for m in tower.model.visual.modules() if isinstance(m, torch.nn.Conv2d)]
    weight = max((m.weight for m in convolutions), key=lambda w: w.shape[-1] * w.shape[1])
    return weight.is_contiguous(memory_format=torch.channels_last)


def measure(name: str, precision: str, files: Pictures, count: int, options: Any) -> dict[str, Any]:
    """Images a second of every candidate for one encoder, and their ratios."""
    tower = load_backbone(name, device=options.device, precision=precision)
    # a process's own seconds do not hold those of its loader processes
    ticks = (
        time.perf_counter if files.workers and options.device == "cpu" else clock(options.device)
    )
    seconds = interleaved(candidates(tower, files, count), options.repeats, ticks)
    bare, other = seconds["bare tower"], seconds["bare tower, other layout"]
    channels_last = is_channels_last(tower)
    return {
        "tower": name,
        "precision": precision,
        "images": count,
        "images_per_second": {k: round(count / median(v), 1) for k, v in seconds.items()},
        "whole_over_bare": round(paired_ratio(bare, seconds["whole path"]), 3),
        "views_over_bare": round(paired_ratio(bare, seconds["whole path, 4 views"]), 3),
        "decode_share": round(paired_ratio(seconds["decoding alone"], seconds["whole path"]), 3),
        "channels_last_used": channels_last,
        "channels_last_speedup": round(
            paired_ratio(other, bare) if channels_last else paired_ratio(bare, other), 3
        ),
    }


def main() -> None:
    asked = parser(__doc__, "encode")
    asked.add_argument("--images", type=int, help="default 64 on a CPU, 8192 on a GPU")
    asked.add_argument("--repeats", type=int, default=3)
    asked.add_argument("--workers", type=int, help="loader processes; default 0 on a CPU, else 8")
    asked.add_argument("--quick", action="store_true", help="8 images, one repeat")
    options = parse(asked)
    kind = torch.device(options.device).type
    count = options.images or (8 if options.quick else 8192 if kind == "cuda" else 64)
    towers = TOWERS[kind]
    if options.smoke:
        count, towers = 2, SMOKE_TOWERS
    options.repeats = 1 if options.quick or options.smoke else options.repeats
    workers = options.workers
    if workers is None:
        workers = min(8, os.cpu_count() or 1) if kind == "cuda" else 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["DIP_HOME"] = str(folder / "home")
        make_files(folder, min(count, FILES))
        listed = [(f"{i % FILES}.jpg", 0) for i in range(count)]
        files = Pictures("jpegs", ("picture",), folder, {"test": listed}, workers=workers)
        rows = [measure(n, p, files, count, options) for n, p in towers]
    about = {"workers": workers, "repeats": options.repeats, "towers": rows}
    write("encode", about, options)
    print(f"{'images a second':26}" + "".join(f"{each['tower']:>12}" for each in rows))
    for key in rows[0]["images_per_second"]:
        print(f"{key:26}" + "".join(f"{e['images_per_second'][key]:12}" for e in rows))
    for key in ("whole_over_bare", "views_over_bare", "decode_share", "channels_last_speedup"):
        print(f"{key.replace('_', ' '):26}" + "".join(f"{each[key]:12}" for each in rows))
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
