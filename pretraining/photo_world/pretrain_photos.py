"""Pre-train the text encoders of Photo World from cached features.

    python pretraining/photo_world/pretrain_photos.py WORK --data DATA [photo-lite0 ...]

``WORK`` holds what ``encode_photos.py`` has written; ``DATA`` the datasets, of which only the split
files are read here, for the class names. Makes the projection, trains (``fitting.py`` says how),
writes the weights with their entries in ``weights.json``. Any other recipe, by ``--web-photos`` and
``--seed``, is written to ``WORK``. Accuracy is for ``measure.py``: no test photograph is opened.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from concepts import Concept, imagenet_concepts, sentence_map, web_concepts
from encode_photos import MOST_WEB, OPEN, read
from fitting import Material, Recipe, fit
from safetensors.torch import load_file, save
from sentences import GENERIC, Texts, collect, vocabulary
from space import SHRINK, Space, make_space
from teacher import MiniLM
from torch import Tensor

from dip_lib.files import write_atomic
from photo_world import trunk
from photo_world.models import CARD, EMBEDDING, PROJECTION, pack, weights_path

RECIPES = {
    "photo-lite0": Recipe(web_photos=1),
    "photo-lite0-4": Recipe(web_photos=4),
    "photo-lite0-b": Recipe(web_photos=1, seed=1),
}


def sha256(*parts: bytes) -> str:
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    data: bytes = tensor.contiguous().numpy().tobytes()
    return data


def embeddings(work: Path, texts: list[str]) -> dict[str, Tensor]:
    """The sentence teacher's embeddings (384,) of ``texts``, kept in ``work``."""
    kept, digest = work / "minilm.safetensors", sha256("\n".join(texts).encode())
    if kept.is_file():
        stored = load_file(kept)
        if bytes(stored["texts"].tolist()).hex() == digest:
            return dict(zip(texts, stored["embeddings"].float(), strict=True))
    values = MiniLM()(texts).half()
    listed = torch.tensor(list(bytes.fromhex(digest)), dtype=torch.uint8)
    write_atomic(kept, save({"embeddings": values, "texts": listed}))
    return dict(zip(texts, values.float(), strict=True))


def space_of(work: Path) -> Space:
    """The projection: ImageNet's sample photographs and every web photograph, without labels."""
    sets = [read(work, "imagenet"), *(read(work, f"{name}-web") for name in OPEN)]
    features = torch.cat([each.flatten(0, 1) for each, _ in sets])
    classifier = trunk.read_weights()["_fc.weight"]
    return make_space(features, classifier, EMBEDDING)


def material(work: Path, texts: Texts, space: Space, k: int) -> tuple[Material, str]:
    """What a text encoder with ``k`` web photographs a class learns from, and its digest."""
    imagenet = imagenet_concepts(space, *read(work, "imagenet"))
    web: list[Concept] = []
    for name in OPEN:
        web += web_concepts(name, texts, space, *read(work, f"{name}-web"), k)
    listed = list(dict.fromkeys([*texts.sentences, *texts.words]))
    known = embeddings(work, listed)
    place = sentence_map(imagenet, web, known)
    sentences, words = (
        (each, place(torch.stack([known[text] for text in each])))
        for each in (texts.sentences, texts.words)
    )
    templates = [template for each in texts.own.values() for template in each]
    ids = np.array(vocabulary([*listed, *GENERIC, *templates]))
    images = [_bytes(concept.images) for concept in imagenet + web]
    digest = sha256("\n".join(listed).encode(), _bytes(space.weight), *images)
    return Material(imagenet, web, sentences, words, ids), digest


def record(name: str, data: bytes, about: dict[str, object]) -> None:
    """Write a weights file and its entry in ``weights.json``."""
    card = json.loads(CARD.read_text()) if CARD.is_file() else {}
    entry = {"sha256": sha256(data), "bytes": len(data)}
    if name == PROJECTION and card.get(name, {}).get("sha256") != entry["sha256"]:
        card = {}  # the text encoders of another projection fit no more
    write_atomic(weights_path(name), data)
    card[name] = entry | about
    write_atomic(CARD, (json.dumps(card, indent=2, sort_keys=True) + "\n").encode())


def record_projection(work: Path, space: Space) -> None:
    data = save({"weight": space.weight.half(), "bias": space.bias.half()})
    counts = {name: len(read(work, f"{name}-web")[0]) for name in OPEN}
    seen = {"imagenet": len(read(work, "imagenet")[0])} | counts
    about = {"shrink": SHRINK, "photographs": seen, "views": 2, "trunk_sha256": trunk.SHA256}
    record(PROJECTION, data, about)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("work", type=Path, help="folder of the features")
    parser.add_argument("names", nargs="*", default=list(RECIPES), help=" ".join(RECIPES))
    parser.add_argument("--data", type=Path, required=True, help="folder of the datasets")
    parser.add_argument("--web-photos", type=int, choices=range(1, MOST_WEB + 1))
    parser.add_argument("--seed", type=int, default=0, help="with --web-photos")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipes = {name: RECIPES[name] for name in options.names}
    if own := options.web_photos:
        recipes = {f"web{own}-seed{options.seed}": Recipe(own, options.seed)}
    texts, space = collect(options.data), space_of(options.work)
    if not own:
        record_projection(options.work, space)
    for name, recipe in recipes.items():
        learnt, digest = material(options.work, texts, space, recipe.web_photos)
        saved = options.work / f"{name}.pt"
        model, seconds = fit(name, recipe, learnt, digest, saved)
        data = pack(model, learnt.token_ids)
        if own:
            write_atomic(options.work / f"{name}.safetensors", data)
            continue
        about = {
            "recipe": asdict(recipe),
            "cpu_seconds": round(seconds),
            "threads": torch.get_num_threads(),
            "tokens": len(learnt.token_ids),
            "logit_scale": round(model.logit_scale.exp().item(), 2),
            "classes": {"imagenet": len(learnt.imagenet), "web": len(learnt.web)},
            "texts": {"sentences": len(texts.sentences), "words": len(texts.words)},
        }
        record(name, data, about)
        print(f"{weights_path(name)}: {len(data) / 1e6:.2f} MB, {seconds:.0f} CPU-seconds")


if __name__ == "__main__":
    main()
