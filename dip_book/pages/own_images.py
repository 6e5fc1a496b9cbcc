"""Page 05: a prompt for a folder of pictures, evaluated on its own classes and on unseen ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from safetensors import safe_open
from torchvision.transforms.v2.functional import to_pil_image

from dip_book.figures import BestNames
from dip_lib import PromptedClassifier, few_shot, load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.data import load_dataset
from dip_lib.data.folders import picture_folder
from dip_lib.data.walk import find_pictures
from dip_study.profiles import Profile

CLASSES, PER_CLASS = 64, 32
"""At most so many classes of the dataset become folders, with so many pictures each."""


def backbone_of(profile: Profile, device: str) -> Backbone:
    """The backbone of the profile; in Glyph World the ViT, whose prompt file is the smallest."""
    if profile.world == "Glyph World":
        return load_backbone("glyph-vit", device=device)
    return load_backbone(profile.backbone, profile.weights or None, device)


def settings_of(profile: Profile) -> dict[str, Any]:
    """What a :class:`PromptedClassifier` takes from the profile; glyphs are never flipped."""
    shared = ("context", "shots", "epochs", "batch", "lr")
    views = 0 if profile.world == "Glyph World" else profile.views
    return {n: getattr(profile, n) for n in shared} | {"seed": profile.seeds[0], "views": views}


@dataclass(frozen=True)
class OwnPictures:
    """Pictures as a user has them: PNG files below ``folder``, one folder a class.

    Attributes:
        folder: holds "own", the classes to train on, and "unseen", the others.
        dataset: where they come from.
        own, unseen: names of the classes of either.
    """

    folder: Path
    dataset: str
    own: tuple[str, ...]
    unseen: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.own + self.unseen

    def held_out(self) -> list[Path]:
        """Pictures of own classes that ``fit`` keeps for testing."""
        dealt = picture_folder(self.folder / "own")
        return [dealt.root / path for path, _ in dealt.files["test"]]

    def of_unseen(self) -> list[Path]:
        return find_pictures(self.folder / "unseen").files


def write_pictures(profile: Profile, size: int, folder: Path) -> OwnPictures:
    """Write pictures of the profile's first dataset; the first half of its classes is "own"."""
    source, seed = load_dataset(profile.datasets[0]), profile.seeds[0]
    names = source.class_names[:CLASSES]
    own, unseen = names[: len(names) // 2], names[len(names) // 2 :]
    labels = source.labels("train").tolist()
    rows = sorted(row for row in few_shot(labels, PER_CLASS, seed) if labels[row] < len(names))
    images = (
        image for batch in source.batches("train", rows=rows, size=size) for image in batch[0]
    )
    for number, (row, image) in enumerate(zip(rows, images, strict=True)):
        name = names[labels[row]]
        kind = "own" if name in own else "unseen"
        path = folder / kind / name.replace(" ", "_") / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        to_pil_image(image).save(path)
    return OwnPictures(folder, source.name, own, unseen)


def truth(path: Path) -> str:
    """The class name of a picture: that of its folder."""
    return path.parent.name.replace("_", " ")


def score(classifier: PromptedClassifier, pictures: Sequence[Path], names: Sequence[str]) -> float:
    """Percent of the pictures whose most probable name is their own."""
    best = classifier.predict(pictures, names, top=1)
    return 100 * float(np.mean([b[0][0] == truth(p) for b, p in zip(best, pictures, strict=True)]))


def scores(fitted: Mapping[str, PromptedClassifier], pictures: OwnPictures) -> pd.DataFrame:
    """Percent named right: a row for each question, a column for each classifier."""
    base, new = pictures.held_out(), pictures.of_unseen()
    questions = {
        "own classes, own names": (base, pictures.own),
        "unseen classes, their names": (new, pictures.unseen),
        "own classes, all names": (base, pictures.names),
        "unseen classes, all names": (new, pictures.names),
        "all pictures, all names": (base + new, pictures.names),
    }
    return pd.DataFrame(
        {
            name: {question: score(classifier, *asked) for question, asked in questions.items()}
            for name, classifier in fitted.items()
        }
    )


def finding(table: pd.DataFrame, pictures: OwnPictures, profile: Profile, size: int) -> str:
    """The page's finding: what a prompt file of ``size`` bytes names right, beside bare words."""
    dip, words = table["DIP"], table["zero-shot"]
    return (
        f"**Finding.** Trained on {profile.shots} {pictures.dataset} pictures of each of "
        f"{len(pictures.own)} classes, a prompt of **{size} bytes** names test pictures of "
        f"these classes with **{dip.iloc[0]:.1f} %** accuracy (the bare words *{profile.context}*: "
        f"{words.iloc[0]:.1f} %) and pictures of {len(pictures.unseen)} classes that it has never "
        f"seen with **{dip.iloc[1]:.1f} %** ({words.iloc[1]:.1f} %). With all "
        f"{len(pictures.names)} names to choose from, {dip.iloc[4]:.1f} % of all pictures are "
        f"named right ({words.iloc[4]:.1f} %). What a tuned prompt gains depends on the pictures, "
        "so compare it with the bare words (`epochs=0`) on yours."
    )


def examples(
    classifier: PromptedClassifier, pictures: OwnPictures, each: int = 3
) -> list[BestNames]:
    """A few pictures of own classes and as many of unseen ones, and what they are taken for."""
    kinds = {"own": pictures.held_out(), "unseen": pictures.of_unseen()}
    chosen = [
        (k, path) for k, paths in kinds.items() for path in paths[:: len(paths) // each][:each]
    ]
    predictions = classifier.predict([path for _, path in chosen], pictures.names)
    return [
        BestNames(Image.open(path), truth(path), kind, best)
        for (kind, path), best in zip(chosen, predictions, strict=True)
    ]


def file_table(file: Path) -> pd.DataFrame:
    """What a prompt file holds: shapes of its tensors, its metadata and its size."""
    with safe_open(file, "pt") as opened:
        content = {n: str(tuple(opened.get_tensor(n).shape)) for n in sorted(opened.keys())}
        content |= dict(sorted(opened.metadata().items())) | {"bytes": str(file.stat().st_size)}
    content["p0_sha256"] = f"{content['p0_sha256'][:16]}…"
    return pd.Series(content, name="content").to_frame()


def numbers(
    table: pd.DataFrame, pictures: OwnPictures, size: int, agrees: bool
) -> dict[str, str | int]:
    """The page's numbers: accuracies, the size of the file, and whether open_clip agrees."""
    rows = {"own": 0, "unseen": 1, "joint": 4}
    percents: dict[str, str | int] = {k: f"{table['DIP'].iloc[i]:.1f}" for k, i in rows.items()}
    percents |= {f"zero_shot_{k}": f"{table['zero-shot'].iloc[i]:.1f}" for k, i in rows.items()}
    return percents | {
        "bytes": size,
        "classes": len(pictures.names),
        "plain_open_clip_agrees": int(agrees),
    }
