"""The commands ``dip fit`` and ``dip predict``: a prompt for your own pictures."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dip_lib.checks import whole
from dip_lib.classifier import PromptedClassifier
from dip_lib.clip.layout import POSITIONS
from dip_lib.data import walk
from dip_lib.data.decode import fault
from dip_lib.data.folders import picture_folder
from dip_lib.data.split_files import read_text
from dip_lib.errors import BadValueError
from dip_lib.files import check_output, write_atomic
from dip_lib.training.confusion import HeldOut
from dip_study import told
from dip_study.answer import Answer

FIT = {
    "epochs": (40, 0, "of training; 0 keeps the words: zero-shot"),
    "shots": (16, 1, "training pictures a class"),
    "views": (4, 0, "random crops of each; 0: pictures as they are"),
    "batch": (32, 1, "pictures a step"),
    "seed": (1, None, "of the draw and of training"),
}
"""Whole numbers that ``dip fit`` takes: default, least, what it is."""


def add_commands(commands: Any, **look: Any) -> list[argparse.ArgumentParser]:
    """Add ``fit`` and ``predict`` to the parser's commands; ``look`` is the parsers' own."""
    fit = commands.add_parser("fit", help="train a prompt on a folder of class folders", **look)
    fit.add_argument("folder", help="one folder a class; half of the pictures train")
    fit.add_argument("--out", metavar="FILE", required=True, help="the prompt file to write")
    for name, (default, least, what) in FIT.items():
        kind = _whole(least)
        fit.add_argument(f"--{name}", type=kind, default=default, help=f"{what}; default {default}")
    fit.add_argument("--lr", type=float, help="learning rate; default: the backbone's")
    fit.add_argument("--confusion", metavar="FILE", help="a picture of what is taken for what")
    skip = "leave out files that are no readable pictures"
    fit.add_argument("--skip-unreadable", action="store_true", help=skip)
    position = "where the class name stands in the prompt, default end"
    fit.add_argument("--class-position", choices=POSITIONS, default="end", help=position)
    own = "every class has vectors of its own; names no other classes"
    fit.add_argument("--class-specific", action="store_true", help=own)
    predict = commands.add_parser("predict", help="name pictures by a saved prompt", **look)
    predict.add_argument("prompt", help="a file that `dip fit` wrote")
    predict.add_argument("pictures", nargs="+", help="picture files, or folders of them")
    names = predict.add_mutually_exclusive_group(required=True)
    names.add_argument("--classes", metavar="NAMES", help="any names, separated by commas")
    names.add_argument(
        "--class",
        dest="names",
        metavar="NAME",
        action="append",
        help="one name, commas and all; again for each",
    )
    names.add_argument("--classes-file", metavar="FILE", help="a text file, one name a line")
    predict.add_argument("--top", type=_whole(1), default=5, help="names a picture, default 5")
    predict.add_argument("--csv", metavar="FILE", help="a line a picture as CSV; -: on stdout")
    for action, run, tower in ((fit, _fit, "photo-lite0"), (predict, _predict, "")):
        action.add_argument("--backbone", default=tower, help=f"default {tower or 'the file says'}")
        action.add_argument("--pretrained", default="", help="open_clip tag or file of weights")
        action.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
        action.set_defaults(run=run)
    return [fit, predict]


def _whole(least: int | None) -> Callable[[str], int]:
    """A whole number of at least ``least``, as argparse reads it."""

    def read(text: str) -> int:
        try:
            return whole("it", int(text), least)
        except BadValueError as error:
            raise argparse.ArgumentTypeError(f"{text} must be {error.needs}") from error

    read.__name__ = "int"  # argparse names it for a text that is no number
    return read


def _fit(options: argparse.Namespace) -> Answer:
    say = told.teller(options.json)
    if options.confusion:
        from dip_study.confusion_picture import check_picture, draw  # matplotlib takes a second

        check_picture(Path(options.confusion))
    check_output(Path(options.out))  # before the work that it would lose
    dataset = picture_folder(options.folder, skip_unreadable=options.skip_unreadable)
    say(*told.found(dataset))
    settings = (*FIT, "lr", "class_position", "class_specific", "backbone", "pretrained", "device")
    classifier = PromptedClassifier(**{name: getattr(options, name) for name in settings})
    say(*told.tower_for_photographs(classifier.clip, dataset))
    classifier.fit(dataset).save(options.out)
    held_out = classifier.evaluate(dataset)
    if options.confusion:
        draw(held_out, Path(options.confusion))
    size, names = os.path.getsize(options.out), classifier.class_names
    about = {"file": options.out, "bytes": size, "classes": names, **_counts(held_out)}
    lines = [
        f"{options.out}: {size:,} bytes, trained on {told.counted(len(names), 'class', 'classes')}",
        *told.untrained(options.epochs),
        *told.accuracy(held_out),
        *([f"what is taken for what: {options.confusion}"] if options.confusion else []),
        "use it:",
        *(f"  {line}" for line in next_lines(options.out, names)),
    ]
    return Answer(about, lines)


def _counts(held_out: HeldOut) -> dict[str, int]:
    return {
        "held_out": held_out.pictures,
        "right": held_out.right,
        "zero_shot_right": held_out.zero_shot_right,
    }


def next_lines(file: str, names: Sequence[str]) -> list[str]:
    """The two lines that use a prompt next: in a shell, and in Python."""
    if len(names) > told.MANY:
        words, shown = ["--classes-file", "NAMES.txt"], "open('NAMES.txt').read().splitlines()"
    else:
        listed = any("," in name or name.startswith("-") for name in names)
        words = [f"--class={name}" for name in names] if listed else ["--classes", ",".join(names)]
        shown = repr([*names])
    call = f"PromptedClassifier.load({file!r}).predict('PICTURES', {shown})"
    return [
        shlex.join(["dip", "predict", file, "PICTURES", *words]),
        f"from dip_lib import PromptedClassifier; {call}",
    ]


def _predict(options: argparse.Namespace) -> Answer:
    if options.csv == "-" and options.json:
        raise ValueError("--csv - and --json both want stdout: give --csv a file")
    if options.csv and options.csv != "-":
        check_output(Path(options.csv))
    names, tower = class_names(options), {"device": options.device}
    if len(names) == 1:
        raise ValueError(f"{names[0]!r} is the only name: every picture would get it. Give more")
    loaded = PromptedClassifier.load(options.prompt, options.backbone, options.pretrained, **tower)
    found = walk.find_pictures(options.pictures)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unreadable pictures")  # each has a line of its own
        every = loaded.predict(found.files, names, len(names), skip_unreadable=True)
    ranked = dict(zip(map(str, found.files), every, strict=True))
    predictions = {path: names_of for path, names_of in ranked.items() if names_of}
    unreadable = [f"{path}: {fault(Path(path))}" for path in ranked if path not in predictions]
    hints = [*told.spelling(loaded.clip, names), *told.far_names(names, predictions)]
    for line in (walk.told(found.left_out), *unreadable, *hints):
        if line:
            print(f"dip: {line}", file=sys.stderr)
    best = {path: names_of[: options.top] for path, names_of in ranked.items()}
    data, code = {path: dict(names_of) for path, names_of in best.items()}, int(bool(unreadable))
    if options.csv == "-":
        return Answer(data, told.csv_of(best).splitlines(), code)
    if options.csv:
        write_atomic(Path(options.csv), told.csv_of(best).encode("utf-8", "surrogateescape"))
    lines = [told.line(path, predictions[path], options.top) for path in predictions]
    return Answer(data, [*lines, *told.summary(names, predictions)], code)


def class_names(options: argparse.Namespace) -> list[str]:
    """The names asked for, whichever of the three options gives them.

    Raises:
        ValueError: a file that is no text.
    """
    if options.names:
        return [name.strip() for name in options.names]
    if options.classes:
        return [name.strip() for name in options.classes.split(",") if name.strip()]
    if not options.classes_file:
        return []
    try:
        lines = read_text(Path(options.classes_file)).splitlines()
    except UnicodeError as error:
        raise ValueError(f"{options.classes_file} is not UTF-8 text: save it as UTF-8") from error
    return [line.strip() for line in lines if line.strip()]
