"""What ``dip fit`` and ``dip predict`` tell people: what was found, how sure, what is odd."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from statistics import mean, median

from dip_lib.clip.backbone import Backbone
from dip_lib.data import walk
from dip_lib.data.decode import BROKEN, opened
from dip_lib.data.pictures import Pictures
from dip_lib.errors import NoWeightsError, UnknownWordsError
from dip_lib.training.confusion import HeldOut

Ranked = Sequence[tuple[str, float]]
"""All names asked for with their probabilities, best first."""
SURE = 0.2
"""A best name that leads by less is unsure."""
MANY = 30
"""Of more names a command line would be hard to read."""
ALIKE = 0.85
"""Words this much alike are taken for one, misspelt (``difflib``'s ratio)."""
LOOKED_AT, PHOTOGRAPH = 9, 160
"""Pictures whose size is looked at, and the pixels of a photograph's shorter side, at least."""


def teller(to_stderr: bool) -> Callable[..., None]:
    """Prints lines at once: on stderr, or on stdout."""

    def say(*lines: str) -> None:
        for line in lines:
            print(line, file=sys.stderr if to_stderr else sys.stdout, flush=True)

    return say


def counted(count: int, one: str, many: str) -> str:
    """The count with its noun: "1 picture", "1,200 pictures"."""
    return f"{count:,} {one if count == 1 else many}"


def error(fault: Exception) -> str:
    """An error in one line, with a remedy that exists on the command line."""
    said = " ".join(str(fault).splitlines())
    if isinstance(fault, NoWeightsError):
        remedy = "give a file of them with --pretrained FILE"
        other = f"go online once for --pretrained {fault.tag or 'openai'}"
        return f"{fault.fault}: {remedy}, or {other}"
    if isinstance(fault, UnknownWordsError):
        return f"{said} (--backbone ViT-B-16 --pretrained openai)"
    return said


# ---- dip fit ------------------------------------------------------------------------------------


def found(dataset: Pictures) -> list[str]:
    """What a folder holds: classes, pictures, splits; how it was read, and what was left out."""
    counts = {split: len(dataset.files[split]) for split in ("train", "val", "test")}
    # one of val/ and test/ may stand for both
    every = {path for entries in dataset.files.values() for path, _ in entries}
    shares = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    classes = counted(len(dataset.class_names), "class", "classes")
    held = f"{dataset.name}: {classes}, {counted(len(every), 'picture', 'pictures')} ({shares})"
    out = walk.told(dataset.left_out)
    return [held, *dataset.notes, *([out] if out else [])]


def untrained(epochs: int) -> list[str]:
    """What a training that is all warm-up means; else nothing."""
    if epochs != 1:
        return []
    return ["with --epochs 1 all training is warm-up, at 1/200 of the learning rate: give more"]


def tower_for_photographs(clip: Backbone, dataset: Pictures) -> list[str]:
    """Which backbone photographs want, where the chosen one reads small drawings; else nothing."""
    if 2 * clip.image_size > PHOTOGRAPH:
        return []
    sides = []
    for path, _ in dataset.files["train"][:: max(1, len(dataset.files["train"]) // LOOKED_AT)]:
        try:
            with opened(dataset.root / path) as picture:
                sides.append(min(picture.size))
        except BROKEN:
            continue  # encoding it says what is wrong
    if not sides or median(sides) < PHOTOGRAPH:
        return []
    return [
        f"these look like photographs (half are {median(sides):.0f} pixels high or more), and "
        f"{clip.name} reads {clip.image_size} x {clip.image_size}: --backbone photo-lite0, or real "
        "CLIP, --backbone ViT-B-16 --pretrained openai, suits them better"
    ]


def accuracy(held_out: HeldOut) -> list[str]:
    """Held-out pictures named right, by the prompt and by the words alone."""
    total = held_out.pictures

    def share(right: int) -> str:
        return f"{right:,} of {total:,} ({100 * right / total:.1f} %)"

    if not total:
        return ["no held-out pictures: there is no accuracy to tell"]
    return [
        f"held-out pictures named right: {share(held_out.right)}; "
        f"zero-shot, by the words alone: {share(held_out.zero_shot_right)}"
    ]


# ---- dip predict --------------------------------------------------------------------------------


def sure(ranked: Ranked) -> bool:
    """Whether the best name leads clearly."""
    return len(ranked) < 2 or ranked[0][1] - ranked[1][1] >= SURE


def line(path: str, ranked: Ranked, top: int) -> str:
    """A picture's best names with their probabilities."""
    names = ", ".join(f"{name} {100 * share:.1f} %" for name, share in ranked[:top])
    return f"{path}: {names}{'' if sure(ranked) else ' (unsure)'}"


def csv_of(best: Mapping[str, Ranked]) -> str:
    """One line a picture: its path, then names and probabilities, best first; none, if it cannot
    be read."""
    text = io.StringIO()
    columns = max([1, *map(len, best.values())])
    heads = [(f"name_{i}", f"probability_{i}") for i in range(1, columns + 1)]
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["picture", *(head for pair in heads for head in pair)])
    for path, ranked in best.items():
        cells = [cell for name, share in ranked for cell in (name, f"{share:.6f}")]
        rows.writerow([path, *cells, *[""] * (2 * columns - len(cells))])
    return text.getvalue()


def summary(names: Sequence[str], predictions: Mapping[str, Ranked]) -> list[str]:
    """How sure it is, and pictures a class; nothing of a single picture."""
    if len(predictions) < 2:
        return []
    clear = sum(map(sure, predictions.values()))
    by_name: dict[str, list[float]] = {name: [] for name in names}
    for ranked in predictions.values():
        by_name[ranked[0][0]].append(ranked[0][1])
    width = max(map(len, names))
    lines = [
        f"  {name:{width}}  {len(shares):,}" + (f", on average {100 * mean(shares):.1f} % sure")
        for name, shares in by_name.items()
        if shares
    ]
    none = [name for name, shares in by_name.items() if not shares]
    lines += [f"  no picture: {', '.join(none)}"] if none else []
    rest = len(predictions) - clear
    unsure = f", {rest:,} unsure (a lead below {100 * SURE:.0f} points)" if rest else ""
    return [f"{len(predictions):,} pictures, {clear:,} with a clear best name{unsure}", *lines]


def far_names(names: Sequence[str], predictions: Mapping[str, Ranked]) -> list[str]:
    """Names that no picture comes near: none gives them the probability of a guess."""
    nearest = dict.fromkeys(names, 0.0)
    for ranked in predictions.values():
        for name, share in ranked:
            nearest[name] = max(nearest[name], share)
    far = [name for name in names if nearest[name] < 1 / len(names)] if predictions else []
    if not far:
        return []
    listed = ", ".join(f"{n!r} (at most {100 * nearest[n]:.1f} %)" for n in far[:MANY])
    more = f" and {len(far) - MANY} more" if len(far) > MANY else ""
    return [f"no picture comes near {listed}{more}: misspelt, or none of them is shown?"]


def spelling(clip: Backbone, names: Sequence[str]) -> list[str]:
    """Words of the names that the tokenizer has only in pieces, and a whole one that is alike."""
    pieces = getattr(clip.tokenizer, "encoder", ())  # open_clip's own tokenizer has them
    whole = [piece.removesuffix("</w>") for piece in pieces if piece.endswith("</w>")]
    hints = []
    for word in dict.fromkeys(w for name in names for w in name.replace("_", " ").lower().split()):
        if len(word) < 5 or not word.isalpha() or len(clip.tokenizer.encode(word)) == 1:
            continue
        # a slip keeps the first letter; to compare with all words would take long
        like = [w for w in whole if w[:1] == word[0] and abs(len(w) - len(word)) <= 2]
        near = get_close_matches(word, like, n=1, cutoff=ALIKE)
        # a plural or a longer form is no slip
        if near and not (word.startswith(near[0]) or near[0].startswith(word)):
            hints.append(f"{word!r} may be misspelt: did you mean {near[0]!r}?")
    return hints
