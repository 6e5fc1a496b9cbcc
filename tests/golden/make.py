"""Golden runs: one tiny run of every method, measured once, for what all methods share.

A run's key holds its settings and its method's code, and for the trainer, the towers and the data
the number ``RECIPE``. These runs notice when one of those computes something else, so that the
number rises and stored runs are measured anew.

    python tests/golden/make.py      writes what is missing, or allowed to change, into golden.json

An entry may change when ``RECIPE`` has risen or its method's own code is another; otherwise the
program refuses.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))  # as when pytest collects tests

from few_glyphs import COUNTS, DIP, Bench, Few, run
from torch import Tensor

from dip_lib import load_backbone
from dip_lib.methods import METHODS
from dip_lib.training.measure import Group, measure_group
from dip_lib.training.parts import LowRank
from dip_lib.training.run import RECIPE, Run

FILE = Path(__file__).with_name("golden.json")
RELATIVE = 1e-4
"""Tolerance of losses, densities and singular values; last digits differ between processors."""
NUMBERS = ("loss", "id", "singular", "update_norm")
SHARES = ("base", "new", "joint", "val")
"""Accuracies in percent; one image may be on the edge."""


class Mislabelled(Few):
    """The few glyphs, one training image of each class under another's label.

    So that the loss is large: a loss near zero is a difference of close numbers, mere rounding.
    """

    fingerprint = "few, mislabelled"

    def labels(self, split: str) -> Tensor:
        return super().labels(split).roll(1 if split == "train" else 0)


def golden_bench() -> Bench:
    return Bench(load_backbone("glyph-vit"), Mislabelled())


def golden_runs() -> dict[str, Run]:
    """A run of every method, and of what no method's own run passes through."""
    return {name: run(name) for name in METHODS} | {
        "coop with a low-rank update": run("coop", low_rank=DIP),
        "coop on a target": run("coop", protocol="all-classes", target="greek"),
        "vpt condensed": run("vpt", keep=50.0, tuned=1),
        "spt from prototypes": run("spt", **METHODS["spt"].earlier),
        "cvpt without biases and dropout": run("cvpt", **METHODS["cvpt"].earlier),
        "vpt with an update and no P0": run("vpt", low_rank=LowRank(p0=False)),
        "control held": run("control", loss_scale=0.5, held=True, density=0.6),
    }


def measure(bench: Bench, run: Run) -> dict[str, Any]:
    """What a run ends with: its status, its method's code, and the numbers to compare."""
    learned = None
    if run.source() != run:
        (source,) = measure_group(Group([run.source()], bench.clip, bench.dataset))
        learned = [source.tensors]
    target = bench.dataset if run.data.target else None
    (result,) = measure_group(Group([run], bench.clip, bench.dataset, learned, target))
    record, end = result.record, result.record["checkpoints"][-1]
    base, new = record["test_images"]
    images = {"base": base, "new": new, "joint": base + new}
    images["val"] = record["classes"][0] * COUNTS["val"]
    given = [name for name in (*NUMBERS, *SHARES) if end.get(name) is not None]
    return {
        "code": record["code"],
        "status": record["status"],
        "numbers": {name: rounded(end[name]) for name in given},
        "images": {name: images[name] for name in given if name in SHARES},
    }


def rounded(value: Any) -> Any:
    """Seven significant digits."""
    return [rounded(each) for each in value] if isinstance(value, list) else float(f"{value:.7g}")


def differences(golden: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of an entry is another, beyond tolerance."""
    if golden["status"] != now["status"] or golden["numbers"].keys() != now["numbers"].keys():
        return [f"{golden['status']}, {list(golden['numbers'])} -> {now['status']}, ..."]
    different = []
    for name, old in golden["numbers"].items():
        new = now["numbers"][name]
        image = 1.01 * 100 / golden["images"][name] if name in SHARES else 0.0
        pairs = zip(old, new, strict=True) if isinstance(old, list) else [(old, new)]
        # a singular value that is only rounding is compared with the first
        size = abs(old[0]) if isinstance(old, list) else 0.0
        if any(abs(a - b) > max(image, RELATIVE * max(abs(a), abs(b), size)) for a, b in pairs):
            different.append(f"{name}: {old} -> {new}")
    return different


def updated(golden: Mapping[str, Any], now: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The file's new content; entries that agree within tolerance stay as they are.

    Raises:
        ValueError: an entry is another though neither ``RECIPE`` nor its method's code is.
    """
    entries, refused = {}, []
    for name, new in now.items():
        old = golden["runs"].get(name)
        changed = differences(old, new) if old else []
        if changed and golden["recipe"] == RECIPE and old["code"] == new["code"]:
            refused.append(f"{name}: {'; '.join(changed)}")
        entries[name] = new if changed or not old else {**old, "code": new["code"]}
    if refused:
        raise ValueError(f"RECIPE is still {RECIPE}: raise it in run.py\n" + "\n".join(refused))
    return {"recipe": RECIPE, "runs": entries}


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["DIP_HOME"] = home
        bench = golden_bench()
        now = {name: measure(bench, each) for name, each in golden_runs().items()}
    golden = json.loads(FILE.read_text()) if FILE.is_file() else {"recipe": RECIPE, "runs": {}}
    try:
        content = updated(golden, now)
    except ValueError as error:
        sys.exit(str(error))
    FILE.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
