"""Pre-train photo-vit: distil Photo World's image encoder into a small vision transformer.

    python pretraining/photo_world/pretrain_vit.py WORK --photos DATA [--device cuda]

``DATA`` holds the datasets that ``photo_vit.toml`` names; ``WORK`` keeps their thumbnails with what
the encoder says of them (``vit_photos.py``), and a checkpoint, from which a stopped call resumes.
Step s draws everything from (seed, s). Writes the weights with their entry in ``weights.json``.

A step shows random crops and flips of a batch. The loss has three parts: 1 - cosine to the
encoder's embedding of the same photograph; a contrastive loss, which of the batch's photographs it
is; and the cross-entropy between what the text encoder's class names say of the two embeddings.
Most steps leave out a part of the patches, which makes them cheaper.
"""

from __future__ import annotations

import argparse
import json
import time
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from fitting import Training, rate_at
from pretrain_photos import record
from torch import Tensor, nn
from tqdm import tqdm
from vit_photos import Photos, collect, pack_of

from dip_lib.files import write_atomic
from photo_world import vit
from photo_world.models import VIT, normalise, weights_path
from photo_world.plugin import load

SETTINGS = Path(__file__).with_name("photo_vit.toml")
EVERY = 25
"""Steps between checkpoints."""


@dataclass(frozen=True)
class Recipe:
    """What ``photo_vit.toml`` says beside the datasets; it explains each."""

    seed: int
    steps: int
    batch: int
    lr: float
    warmup_steps: int
    weight_decay: float
    side: int
    dropped: float
    whole_steps: int
    scale: float
    contrast: float
    names: float


def read_settings(path: Path = SETTINGS) -> tuple[Recipe, list[str]]:
    """The recipe, and the names of the datasets."""
    table = tomllib.loads(path.read_text("utf-8"))
    names: list[str] = table.pop("datasets")
    return Recipe(**table), names


def begin(recipe: Recipe, device: str) -> Training:
    """The untrained image encoder and its optimiser."""
    torch.manual_seed(recipe.seed)
    model = vit.build(recipe.dropped).visual
    with torch.no_grad():
        model.positional_embedding[1:] = waves(model.grid_size[0], vit.VISION["width"])
    model.to(device).train()
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98), eps=1e-6)
    return Training(model, optimiser, asdict(recipe))


def waves(side: int, width: int) -> Tensor:
    """Positions to start from, (side^2, width): sines and cosines of row and column, of length
    about that of open_clip's random ones."""
    rates = 100.0 ** -(torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * rates  # (side, width / 4)
    one = torch.cat([angles.sin(), angles.cos()], 1)  # (side, width / 2)
    rows, columns = one.repeat_interleave(side, 0), one.repeat(side, 1)
    return torch.cat([rows, columns], 1) * width**-0.5


def crops(thumbs: Tensor, size: int, source: torch.Generator) -> Tensor:
    """A random crop of each thumbnail, flipped half the time: (B, 3, size, size), normalised.

    Args:
        thumbs: (B, 3, side, side) uint8.
    """
    room = thumbs.shape[-1] - size + 1
    corners = torch.randint(room, (len(thumbs), 2), generator=source).tolist()
    flips = torch.randint(2, (len(thumbs),), generator=source).tolist()
    shown = [
        image[:, y : y + size, x : x + size].flip(-1)
        if flip
        else image[:, y : y + size, x : x + size]
        for image, (y, x), flip in zip(thumbs, corners, flips, strict=True)
    ]
    return normalise(torch.stack(shown).float() / 255)


def loss_of(found: Tensor, target: Tensor, names: Tensor, recipe: Recipe) -> Tensor:
    """The three parts together, for unit embeddings.

    Args:
        found, target: (B, e) of the student and of the teacher. names: (C, e) class names.
    """
    cosine = 1 - (found * target).sum(1).mean()
    which = torch.arange(len(found), device=found.device)
    contrast = F.cross_entropy(recipe.scale * found @ target.T, which)
    said = (recipe.scale * target @ names.T).softmax(1)
    told = F.cross_entropy(recipe.scale * found @ names.T, said)
    return cosine + recipe.contrast * contrast + recipe.names * told


def take_step(run: Training, recipe: Recipe, photos: Photos, names: Tensor) -> float:
    """One step of AdamW; returns the loss."""
    device = names.device
    torch.manual_seed((recipe.seed << 32) + run.step + 1)  # which patches are left out
    source = torch.Generator().manual_seed((recipe.seed << 32) + run.step + 1)
    for group in run.optimiser.param_groups:
        group["lr"] = rate_at(run.step, recipe.lr, recipe.steps, recipe.warmup_steps)
    whole: Any = run.model.patch_dropout
    whole.prob = recipe.dropped if run.step < recipe.steps - recipe.whole_steps else 0.0
    rows = torch.randint(len(photos.thumbs), (recipe.batch,), generator=source)
    pixels = crops(photos.thumbs[rows], vit.VISION["image_size"], source).to(device)
    found = F.normalize(run.model(pixels), dim=-1)
    loss = loss_of(found, photos.targets[rows].to(device), names, recipe)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimiser.step()
    run.step += 1
    return float(loss.detach())


def train(
    run: Training,
    recipe: Recipe,
    photos: Photos,
    names: Tensor,
    saved: Path,
    until: int | None = None,
) -> None:
    """Take all steps, or those before ``until``, with a checkpoint every :data:`EVERY`."""
    run.resume(saved)
    last = min(recipe.steps, until or recipe.steps)
    before, began = run.seconds, time.process_time()
    with tqdm(total=last, initial=run.step, mininterval=5) as bar:
        while run.step < last:
            loss = take_step(run, recipe, photos, names)
            run.seconds = before + time.process_time() - began
            bar.update()
            if run.step % EVERY == 0 or run.step == last:
                bar.set_postfix(loss=f"{loss:.3f}")
                run.save(saved)


@torch.no_grad()
def said_names(names: list[str]) -> Tensor:
    """(C, e) unit embeddings of the datasets' class names by the text encoder of photo-vit."""
    classes = dict.fromkeys(each for name in names for each in pack_of(name).header.class_names)
    return load(vit.TEXT_OF).encode_text([f"a photo of a {each}." for each in classes]).float()


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("work", type=Path, help="folder of what is kept")
    parser.add_argument("--photos", type=Path, required=True, help="folder of the photographs")
    parser.add_argument("--settings", type=Path, default=SETTINGS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--until", type=int, help="stop before this step; weights go to WORK")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe, names = read_settings(options.settings)
    device, work = options.device, options.work
    photos, counts = collect(names, options.photos, work, recipe.side)
    run = begin(recipe, device)
    run.identity |= {"views": counts}
    train(run, recipe, photos, said_names(names).to(device), work / f"{VIT}.pt", options.until)
    data = vit.pack(run.model)
    if run.step < recipe.steps or options.settings != SETTINGS:
        write_atomic(work / f"{VIT}.safetensors", data)
        return
    about = {
        "recipe": asdict(recipe),
        "cpu_seconds": round(run.seconds),
        "threads": torch.get_num_threads(),
        "views": counts,
    }
    record(VIT, data, about)
    print(f"{weights_path(VIT)}: {json.dumps(about)}")


if __name__ == "__main__":
    main()
