"""The commands ``dip features``: packs of image features, made, listed, checked and fetched."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dip_lib.clip import Backbone
from dip_lib.clip.loading import backbone_source
from dip_lib.clip.packing import make_pack, pool
from dip_lib.clip.weights import HUB
from dip_lib.data import Dataset
from dip_lib.data.pack_files import (
    add_pack,
    get_pack,
    headers_of,
    pack_paths,
    read_header,
    read_pack,
)
from dip_lib.data.packed import packed_dataset
from dip_lib.data.packs import ENCODINGS, SPLITS
from dip_lib.data.protocols import Classes, Draw, draw
from dip_lib.errors import PackError
from dip_lib.fetch.archives import amount
from dip_lib.fetch.download import sources
from dip_study.answer import Answer
from dip_study.loaded import NO_FOLDERS, backbone_of, dataset_of
from dip_study.profiles import Profile, load_profile
from dip_study.study import STUDIES

AUTO = "auto: int8, or fp16 where int8 moves zero-shot accuracy too far"
SEEDS, SHOTS, VIEWS = "1,2,3,4,5", "1,2,4,8,16", 4


def add_commands(commands: Any, **look: Any) -> list[argparse.ArgumentParser]:
    """Add ``features pack``, ``list``, ``verify`` and ``get`` to the parser's commands;
    ``look`` is the parsers' own (its epilog)."""
    features = commands.add_parser(
        "features", help="packs of image features, without pictures", **look
    )
    actions = features.add_subparsers(required=True, metavar="ACTION")
    make = actions.add_parser("pack", help="encode a dataset in DATA and pack its features", **look)
    make.add_argument("--backbone", required=True, help="whose image encoder encodes")
    make.add_argument("--pretrained", default="", help="open_clip tag or file of weights")
    make.add_argument("--dataset", required=True, nargs="+", metavar="NAME")
    make.add_argument("--profile", help="pack what its text-side studies need")
    make.add_argument("--seeds", help=f"of the draws, default {SEEDS}")
    make.add_argument("--shots", help=f"training images a class, default {SHOTS}")
    make.add_argument("--views", type=int, help=f"of each training image, default {VIEWS}")
    make.add_argument("--encoding", default="auto", choices=["auto", *ENCODINGS], help=AUTO)
    make.add_argument("--out", type=Path, help="folder, default: this machine's own packs")
    make.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    make.add_argument("--licence", default="", help="of the pictures: told in the pack")
    make.add_argument("--source", default="", help="of the pictures: told in the pack")
    make.add_argument("--note", default="", help="told in the pack, as what a subset is")
    shown = actions.add_parser("list", help="the packs that are found", **look)
    verify = actions.add_parser("verify", help="read packs whole and compare their hashes", **look)
    verify.add_argument("files", nargs="*", type=Path, help="default: all that are found")
    get = actions.add_parser("get", help="copy or download a pack, checked", **look)
    get.add_argument("pack", help="a file, or an address")
    for action, run in ((make, _pack), (shown, _list), (verify, _verify), (get, _get)):
        action.set_defaults(run=run)
    return [make, shown, verify, get]


def profile_draws(profile: Profile, dataset: Dataset) -> tuple[list[Draw], int]:
    """The draws, and the number of views, of every run of a profile on stored features.

    Drawn over all classes, so that they hold those of any half. A dataset on which prompts are
    only evaluated has no draws.

    Raises:
        ValueError: the profile has nothing to do with the dataset.
    """
    every = [run for make in STUDIES.values() for run in make(profile, fingerprint="")]
    name = dataset.name
    if not any(name in (run.data.dataset, run.data.target) for run in every):
        raise ValueError(
            f"profile {profile.name} has no run on {name}; it has "
            f"{', '.join(sorted({run.data.dataset for run in every}))}"
        )
    stored = [run for run in every if run.method.side in ("none", "text")]
    data = [(run.data, run.seed) for run in stored if run.data.dataset == name]
    drawn = {(each.shots, seed) for each, seed in data if each.shots}
    draws = [draw(dataset.labels, *each, Classes("all-classes")) for each in sorted(drawn)]
    return draws, max((each.views for each, _ in data), default=0)


def _numbers(given: str, option: str) -> list[int]:
    """Numbers separated by commas."""
    try:
        return [int(each) for each in given.split(",")]
    except ValueError as error:
        raise ValueError(f"{option} {given!r} must be numbers, as in 1,2,3") from error


def _draws(options: argparse.Namespace, dataset: Dataset) -> tuple[list[Draw], int]:
    """What is to be packed: the draws, and the number of views."""
    if options.profile:
        return profile_draws(load_profile(options.profile), dataset)
    seeds = _numbers(options.seeds or SEEDS, "--seeds")
    shots = _numbers(options.shots or SHOTS, "--shots")
    each = [draw(dataset.labels, k, seed, Classes("all-classes")) for k in shots for seed in seeds]
    return each, VIEWS if options.views is None else options.views


def _encoding(options: argparse.Namespace, dataset: Dataset) -> str:
    """The encoding asked for; "auto" is fp16 where another pack of the dataset has it."""
    try:
        others = headers_of(dataset.name).values()
    except PackError:  # damaged: this may be the call that makes it again
        others = {}.values()
    packed = {each.encoding for each in others if each.fingerprint == dataset.fingerprint}
    return "fp16" if options.encoding == "auto" and packed == {"fp16"} else options.encoding


def _backbone(options: argparse.Namespace, profile: Profile | None) -> tuple[Backbone, str]:
    """The backbone, in fp32, and what people call its image encoder."""
    name, weights = options.backbone, options.pretrained or (profile.weights if profile else "")
    if backbone_source(name) and options.pretrained:
        raise ValueError(f"{name} carries its own weights; leave --pretrained out")
    return backbone_of(name, weights, "fp32", options.device), encoder_name(name, weights)


def encoder_name(backbone: str, weights: str) -> str:
    """What people call the image encoder of a backbone: "ViT-B-16 openai"."""
    if backbone_source(backbone) or backbone.startswith(HUB):
        return backbone
    tag = Path(weights).stem if Path(weights).is_file() else weights
    return f"{backbone} {tag or 'random weights'}"


def source_of(name: str) -> str:
    """Where `dip data get` has the pictures of a dataset from; "": from nowhere, or by hand."""
    files = sources()[name].files if name in sources() else ()
    return max(files, key=lambda file: file.size or file.about).url if files else ""


def _before(dataset: Dataset, draws: Sequence[Draw], views: int, backbone: Backbone) -> str:
    """What is going to be packed, and how large it is going to be."""
    (train, val), test = map(len, pool(draws)), len(dataset.labels("test"))
    size = (views * train + val + test) * (backbone.model.text_projection.shape[1] + 4)
    counts = f"{train:,} training images in {views} views, {val:,} for validation, {test:,} to test"
    return f"dip: {dataset.name}: {counts}; about {amount(size)} in int8, twice that in fp16"


def _pack(options: argparse.Namespace) -> Answer:
    profile = load_profile(options.profile) if options.profile else None
    if profile and (options.seeds or options.shots or options.views is not None):
        raise ValueError("--profile says seeds, shots and views: leave these out, or the profile")
    backbone, encoder = _backbone(options, profile)
    packed, lines = dict[str, Any](), list[str]()
    for name in dict.fromkeys(options.dataset):
        dataset = dataset_of(name, "default", profile.folders if profile else NO_FOLDERS)
        draws, views = _draws(options, dataset)
        source = options.source or source_of(name)
        about = {"licence": options.licence, "source": source, "note": options.note}
        encoding = _encoding(options, dataset)
        print(_before(dataset, draws, views, backbone), file=sys.stderr)
        made = make_pack(backbone, dataset, draws, views, encoding, about | {"encoder": encoder})
        path = add_pack(made, options.out)
        size, loss = path.stat().st_size, made.header.loss
        packed[name] = {"file": str(path), "bytes": size, **_about(path)}
        lines.append(
            f"{path}: {amount(size)}, {made.header.encoding}, which moves zero-shot accuracy "
            f"({loss['zero_shot']:.2f} %) by {loss['points']:+.2f} points, "
            f"{loss['pictures']:+.0f} pictures"
        )
    return Answer(packed, lines)


def _about(path: Path) -> dict[str, Any]:
    """What a table says of a pack; raises PackError."""
    pack = read_pack(path)
    head = pack.header
    counts = {split: len(pack.rows(split)) for split in SPLITS}
    told = {"licence": head.licence, "source": head.source, "note": head.note}
    return {
        "dataset": head.dataset,
        "encoder": head.encoder,
        "classes": len(head.class_names),
        "views": head.views,
        **counts,
        "encoding": head.encoding,
        "loss": dict(head.loss),
        **told,
    }


def _list(options: argparse.Namespace) -> Answer:
    rows, damaged = list[dict[str, Any]](), list[str]()
    for path in pack_paths():
        try:
            rows.append({"file": str(path), "bytes": path.stat().st_size, **_about(path)})
        except PackError as error:
            damaged.append(str(error))
    if not rows:
        return Answer(
            rows, [*damaged, "no feature packs: `dip features get` or `dip features pack`"]
        )
    import pandas as pd  # takes a third of a second, which only this command should cost

    shown = pd.DataFrame(rows)
    shown["size"] = [amount(size) for size in shown["bytes"]]
    shown["train"] = [f"{row['train']} x {row['views']}" for row in rows]
    shown["licence"] = [licence or "not stated" for licence in shown["licence"]]
    columns = ["dataset", "encoder", "train", "val", "test", "encoding", "size", "licence", "file"]
    return Answer(rows, [shown[columns].to_string(index=False), *damaged])


def _verify(options: argparse.Namespace) -> Answer:
    files: Sequence[Path] = options.files or pack_paths()
    faults = {str(path): _fault(lambda path=path: read_pack(path)) for path in files}
    if not options.files:  # those that are found stand for datasets, together
        whole = [path for path in files if not faults[str(path)]]
        for name in dict.fromkeys(read_header(path).dataset for path in whole):
            if fault := _fault(lambda name=name: packed_dataset(name)):
                faults[name] = fault
    for fault in filter(None, faults.values()):
        print(f"dip: {fault}", file=sys.stderr)
    lines = [f"{path}: whole" for path, fault in faults.items() if fault is None]
    return Answer(faults, lines or ["no whole feature packs"], int(any(faults.values())))


def _fault(read: Any) -> str | None:
    """What is wrong with a pack; None if it can be read."""
    try:
        read()
    except PackError as error:
        return str(error)
    return None


def _get(options: argparse.Namespace) -> Answer:
    path = get_pack(options.pack)
    about = {"file": str(path), "bytes": path.stat().st_size, **_about(path)}
    return Answer(about, [f"{path}: {about['dataset']} by {about['encoder']}, checked"])
