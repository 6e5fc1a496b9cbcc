"""What each method costs, plain and with DIP: seconds and memory of a step, numbers kept.

Glyph World's vision transformer on one family, one run at a time, the same batch for all methods,
through the trainer as users call it. A step is an epoch's time over its steps. Fair: all methods
take the same steps on the same images, in turn in one process; methods that prompt the image tower
read the images themselves, the others features that were encoded before. *Judging* is the time to
embed all class names once with what has been learnt; DIPs are merged by then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from bench import Step, clock, interleaved, paired_ratio, parser, start, step_memory, write
from safetensors.torch import save

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import Features, load_features
from dip_lib.data import Dataset, load_dataset
from dip_lib.data.protocols import pixels, task
from dip_lib.methods import LEARNT, setting
from dip_lib.training.run import RunSpec
from dip_lib.training.step import stack
from dip_lib.training.trainer import train_epochs
from dip_lib.training.transfer import tensors
from dip_study.profiles import load_profile
from dip_study.runs import DIP, spec

FAMILY, BATCH, SHOTS = "greek", 32, 4
HOSTS = ("coop", "kgcoop", "prograd", "dept", "do", "pp", "cocoop", "maple", "promptsrc")


@dataclass(frozen=True)
class Case:
    """One method at work.

    Attributes:
        epoch: trains one epoch from the start.
        judge: builds the classifier of all class names.
        steps: of the epoch.
        numbers: trained, and kept in a file of ``stored_bytes``.
    """

    epoch: Step
    judge: Step
    steps: int
    numbers: int
    stored_bytes: int


def case(run: RunSpec, clip: Backbone, dataset: Dataset, features: Features) -> Case:
    """A run of one epoch, ready to be timed."""
    method, data = LEARNT[run.method], task([run], dataset, features)
    fixed = setting([run], clip, dataset, data.names)
    begun = method.start(fixed, run)
    seen = pixels(data, dataset, clip, run.views) if method.encode else None
    state = stack([begun], [run])
    kept = {
        f"{i}.{name}": tensor[0].detach().contiguous()
        for i, prompt in enumerate(state.prompts)
        for name, tensor in zip("AB", prompt[1:], strict=True)
    }
    if not run.rank:
        kept = tensors(state.learnt(), 0)
    names = (*data.base.names, *data.new.names)

    def judge() -> None:
        with torch.no_grad():
            method.classifier(state.learnt(), fixed, names)(data.base.images[None, :1])

    def epoch() -> None:
        for _ in train_epochs([run], state, data, fixed, seen, graphs=False):
            pass

    others = {f"other.{i}": each for i, each in enumerate(begun.others)}
    return Case(
        epoch,
        judge,
        data.labels.shape[1] // min(run.batch, data.labels.shape[1]),
        begun.trainable(run.rank),
        len(save({name: each.cpu().clone() for name, each in (kept | others).items()})),
    )


def cases(device: str, hosts: tuple[str, ...]) -> dict[str, Callable[[], Case]]:
    """Every method, plain and with DIP, under the name of its row."""
    profile = load_profile("embedded")
    clip, dataset = load_backbone("glyph-vit", device=device), load_dataset(FAMILY)
    features = load_features(clip, dataset, 1)
    same: dict[str, Any] = {
        "backbone": "glyph-vit",
        "epochs": 1,
        "views": 1,
        "batch": BATCH,
        "shots": SHOTS,
    }
    found: dict[str, Callable[[], Case]] = {}
    for host in hosts:
        ways = {host: spec(profile, FAMILY, host, 1, **same)}
        if host not in ("do", "pp"):
            dense = "dip" if host == "coop" else host
            name = "dip" if host == "coop" else f"{host}+dip"
            ways[name] = spec(profile, FAMILY, dense, 1, **same, **DIP)
        for name, run in ways.items():
            found[name] = partial(case, run, clip, dataset, features)
    return found


def main() -> None:
    options = parser(__doc__, "methods")
    options.add_argument("--repeats", type=int, default=9)
    options.add_argument("--quick", action="store_true", help="CoOp and KgCoOp alone, two repeats")
    chosen = start(options)
    repeats = 2 if chosen.quick else chosen.repeats
    made = cases(chosen.device, HOSTS[:2] if chosen.quick else HOSTS)
    every = {name: make() for name, make in made.items()}
    memory = {name: step_memory(each.epoch, chosen.device) for name, each in every.items()}
    ticks = clock(chosen.device)
    turns = partial(interleaved, repeats=repeats, clock=ticks, settle=True)
    train = turns({name: each.epoch for name, each in every.items()})
    judge = turns({name: each.judge for name, each in every.items()})
    rows = {
        name: {
            "trainable": each.numbers,
            "stored_bytes": each.stored_bytes,
            "seconds_of_a_step": [seconds / each.steps for seconds in train[name]],
            "seconds_of_judging": judge[name],
            "over_coop": paired_ratio(train[name], train["coop"]),
            **memory[name],
        }
        for name, each in every.items()
    }
    for name, row in rows.items():
        print(
            f"{name:16}{row['trainable']:>8,} numbers{row['stored_bytes']:>9,} bytes"
            f"{row['over_coop']:8.2f} of CoOp's step{row['step_mb']:8.1f} MB",
            flush=True,
        )
    about = {"family": FAMILY, "tower": "glyph-vit", "batch": BATCH, "shots": SHOTS}
    write("methods", {**about, "methods": rows}, chosen.out, chosen.device)


if __name__ == "__main__":
    main()
