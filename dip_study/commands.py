"""What the command ``dip`` does: photo datasets, a prompt for your own pictures, the studies."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from dip_lib.data.dataset import picture_sources
from dip_lib.data.photos import listed_pictures
from dip_lib.errors import MissingDownloadError, NotMeasuredError
from dip_lib.fetch import download
from dip_lib.fetch.archives import amount
from dip_lib.machine import usable_cores
from dip_lib.paths import results_dir
from dip_study import (
    feature_commands,
    picture_commands,
    plan,
    plan_table,
    profiles,
    share_commands,
    store_commands,
    study,
    told,
)
from dip_study.answer import Answer
from dip_study.engine.cluster import dask_cluster
from dip_study.exports import write_exports
from dip_study.measure import measure

EPILOG = """examples:
  dip data status --data pictures           what is there, what is missing, how large it is
  dip data get eurosat dtd --data pictures  fetch, check, unpack; resumes where it was interrupted
  dip fit animals --out animals.safetensors --backbone ViT-B-16 --pretrained openai
  dip predict animals.safetensors photos/ --classes "red fox,wolf,lynx" --csv named.csv
  dip predict animals.safetensors photos/ --class "7 up, can" --class lynx
  dip plan --profile paper                  runs, pictures, disk and time of a study
  dip plan --profile paper --json >plan.json
  dip measure --profile embedded --study hosts   what neither this machine nor results/ has
  dip measure --profile paper --scheduler tcp://10.0.0.1:8786   on the workers of Dask there
  dip export --profile embedded-full        writes what was measured into results/
  dip features pack --backbone ViT-B-16 --pretrained openai --dataset eurosat --profile paper
                                            image features in one file: text-side studies need no
                                            pictures then, and no GPU
  dip features get FILE_OR_URL              a pack that somebody else has made
  dip share out --profile paper             exports, feature packs and checksums in one folder
  dip store merge out                       takes it in, on another machine
  dip store rekey coop                      keeps the runs of a method whose code changed in looks
exit codes:
  0    all is well
  1    something is missing (data status), a picture is not readable (predict; the others are
       named), or it failed: stderr says why
  2    wrong usage: stderr says what is valid
  130  interrupted (Ctrl-C): the same command resumes
With --json, stdout holds one JSON value and nothing else; progress and faults go to stderr.
DIP_MIRROR=URL: fetch URL/folder/file instead of the published addresses."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and print its answer.

    Returns:
        0 if all is well, 1 if something is missing or failed; a wrong usage exits with 2.
    """
    options, formatted = parse(arguments), warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"dip: {message}\n"  # no source lines
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
    try:
        answer: Answer = options.run(options)
        lines = [json.dumps(answer.data, indent=1)] if options.json else answer.lines
        print("".join(f"{line}\n" for line in lines), end="", flush=True)
        return answer.code
    except (MissingDownloadError, NotMeasuredError, OSError, RuntimeError, ValueError) as error:
        sys.exit(f"dip: {told.error(error)}")
    finally:
        warnings.formatwarning = formatted


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of a command, ``run`` among them: the function that does it."""
    look: dict[str, Any] = {"epilog": EPILOG, "formatter_class": argparse.RawTextHelpFormatter}
    parser = argparse.ArgumentParser("dip", description=__doc__, **look)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    data = commands.add_parser("data", help="the photo datasets on this disk", **look)
    actions = data.add_subparsers(required=True, metavar="ACTION")
    status = actions.add_parser("status", help="what is there, what is missing", **look)
    get = actions.add_parser("get", help="fetch, check and unpack what is missing", **look)
    get.add_argument(
        "names", nargs="+", metavar="NAME", choices=[*download.sources(), *picture_sources()]
    )
    for action, run in ((status, _status), (get, _get)):
        folder, help = os.environ.get("DATA"), "the folder of all datasets (default: $DATA)"
        action.add_argument("--data", type=Path, default=folder, required=not folder, help=help)
        action.set_defaults(run=run)
    cost = commands.add_parser("plan", help="what a study costs, before any work", **look)
    cost.add_argument("--profile", default="paper", help="a name or a file of yours")
    cost.add_argument("--study", default="all", choices=["all", *study.STUDIES])
    cost.add_argument("--device", default="cpu", help="cpu, or a GPU's name in results/benchmarks")
    cost.add_argument("--images-per-second", type=float, help="default: as measured there")
    cost.add_argument("--steps-per-second", type=float, help="default: as measured there")
    cost.set_defaults(run=_plan)
    live = commands.add_parser("measure", help="measure the runs that are missing", **look)
    live.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    cluster = live.add_mutually_exclusive_group()
    cluster.add_argument("--scheduler", default="", metavar="ADDRESS", help="of Dask's workers")
    cluster.add_argument(
        "--workers", type=int, default=0, metavar="N", help="so many of Dask's, on this machine"
    )
    kept = commands.add_parser("export", help="write measured runs into results/", **look)
    for action, run in ((live, _measure), (kept, _export)):
        action.add_argument("--profile", default="embedded-full", help="a name or a file of yours")
        studies = [*study.STUDIES]
        action.add_argument("--study", nargs="+", choices=studies, metavar="STUDY")
        action.set_defaults(run=run)
    rooms = (picture_commands, store_commands, feature_commands, share_commands)
    others = [each.add_commands(commands, **look) for each in rooms]
    for action in (status, get, cost, live, kept, *chain(*others)):
        action.add_argument("--json", action="store_true", help="for programs")
    return parser.parse_args(arguments)


def _status(options: argparse.Namespace) -> Answer:
    known = download.sources()
    listed = {name: listed_pictures(name, options.data) for name in known}
    datasets = {n: download.status(each, options.data, listed[n]) for n, each in known.items()}
    lines = list[str]()
    for name, each in datasets.items():
        begun = f", {amount(each['begun'])} of it downloaded" if each["begun"] else ""
        state = f"missing, {amount(each['download'])} to download{begun}"
        lines.append(f"{name:16}{state if each['missing'] else 'complete'}  ({each['folder']})")
        for file in each["missing"]:
            hand = f"  by hand: `dip data get {name}` says how" if file["by_hand"] else ""
            more = f" and {file['pictures'] - 1} more" if file.get("pictures", 1) > 1 else ""
            lines.append(f"{'':16}- {file['path']}{more}{hand}")
    return Answer(datasets, lines, int(any(each["missing"] for each in datasets.values())))


def _get(options: argparse.Namespace) -> Answer:
    datasets, mirror = dict[str, Any](), os.environ.get("DIP_MIRROR", "")
    brought, known = picture_sources(), download.sources()
    # a part of a dataset comes with the whole of it
    wanted = [brought[n] if brought.get(n) in known else n for n in options.names]
    for name in dict.fromkeys(wanted):
        if name in brought:
            datasets[name] = {"error": f"no program can fetch it. {brought[name]}"}
            print(f"dip: {name}: {datasets[name]['error']}", file=sys.stderr)
            continue
        photos, fault = known[name], None
        try:
            listed = partial(listed_pictures, name, options.data)
            download.get(photos, options.data, mirror, listed=listed)
        except (LookupError, OSError, ValueError) as error:
            fault = str(error)
            print(f"dip: {name}: {fault}", file=sys.stderr)
        now = download.status(photos, options.data, listed_pictures(name, options.data))
        datasets[name] = {**now, "error": fault}
    complete = [f"{name}: complete" for name, each in datasets.items() if each["error"] is None]
    return Answer(datasets, complete, int(len(complete) < len(datasets)))


def _plan(options: argparse.Namespace) -> Answer:
    profile = profiles.load_profile(options.profile)
    rates = options.images_per_second, options.steps_per_second
    costs = plan.plan(profile, options.study, options.device, *rates)
    rows = json.loads(costs.reset_index().to_json(orient="records"))  # not measured: null
    about = {name: getattr(options, name) for name in ("profile", "study", "device")}
    methods = plan.methods(profile, options.study)
    lines = [plan_table.table(costs), f"methods: {', '.join(methods)}"]
    return Answer({**about, "methods": methods, "rows": rows}, lines)


def _measure(options: argparse.Namespace) -> Answer:
    """Those of all studies together, so that no worker waits for the last run of a study."""
    profile = profiles.load_profile(options.profile)
    store = study.open_store(profile, "missing")
    studies = dict(study.each_run_once(profile, options.study or study.studies_of(profile)))
    missing = {name: store.missing(runs, failed=True) for name, runs in studies.items()}
    wanted = list(chain(*missing.values()))
    if wanted and (options.scheduler or options.workers):
        with dask_cluster(options.scheduler, options.workers, options.device) as cluster:
            measure(wanted, store, options.device, profile.folders, cluster)
    else:
        measure(wanted, store, options.device, profile.folders)
    counts, lines = dict[str, Any](), list[str]()
    for name, runs in studies.items():
        counts[name] = {"runs": len(runs), "measured": len(missing[name])}
        line = f"{name:16}{len(runs):,} runs, {len(missing[name]):,} of them measured now"
        if failed := len(store.missing(runs, failed=True)):
            counts[name]["failed"] = failed
            line += f", {failed:,} of these failed: the same command tries them again"
        lines.append(line)
    return Answer(counts, lines, int(any("failed" in each for each in counts.values())))


def _export(options: argparse.Namespace) -> Answer:
    profile = profiles.load_profile(options.profile)
    studies = options.study or study.studies_of(profile)
    written = write_exports(profile, studies, results_dir() / profile.name)
    paths = {name: str(path) for name, path in written.items()}
    return Answer(paths, [*paths.values()])
