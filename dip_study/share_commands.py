"""The command ``dip share``: a reproduction in one folder, which ``dip store merge`` takes in."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dip_lib.fetch.archives import amount
from dip_study import study
from dip_study.answer import Answer
from dip_study.profiles import load_profile
from dip_study.sharing.files import EXPORT, PACK
from dip_study.sharing.make import Wanted, share
from dip_study.taken import DIGITS


def add_commands(commands: Any, **look: Any) -> list[argparse.ArgumentParser]:
    """Add ``share`` to the parser's commands; ``look`` is the parsers' own (its epilog)."""
    made = commands.add_parser("share", help="a reproduction in one folder, checked", **look)
    made.add_argument("folder", type=Path, help="new, or a share of the same profile")
    made.add_argument("--profile", default="paper", help="a name or a file of yours")
    made.add_argument("--study", nargs="+", choices=[*study.STUDIES], metavar="STUDY")
    packs = "exports alone, as where a licence of pictures forbids to pass their features on"
    made.add_argument("--without-packs", action="store_true", help=packs)
    made.add_argument(
        "--device", default="cpu", help="cpu, cuda or cuda:N: encodes what no pack has"
    )
    made.set_defaults(run=_share)
    return [made]


def _share(options: argparse.Namespace) -> Answer:
    profile = load_profile(options.profile)
    studies = options.study or study.studies_of(profile)
    packs, folder = not options.without_packs, options.folder
    wanted = Wanted(
        profile=profile,
        given=options.profile,
        studies=studies,
        packs=packs,
        device=options.device,
    )
    manifest = share(wanted, folder)
    size = sum((folder / name).stat().st_size for name in manifest.files)
    counts = f"{len(manifest.named(EXPORT))} exports, {len(manifest.named(PACK))} feature packs"
    line = f"{folder}: share {manifest.share[:DIGITS]}, {counts}, {amount(size)}"
    told = "No path and no name of this machine or its user was found in it."
    data = {"folder": str(folder), "share": manifest.share, "bytes": size, **asdict(manifest)}
    return Answer(data, [line, told])
