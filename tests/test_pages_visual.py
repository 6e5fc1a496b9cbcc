"""What page 14 says of its runs, on made runs whose answer is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_records import made

from dip_book.frame import frame
from dip_book.interval import Interval
from dip_book.pages import condensation, visual_prompts
from dip_book.pages.visual_runs import Visual
from dip_study.profiles import load_profile

DATASETS, SEEDS = ("greek", "latin"), (1, 2)
DIP = {"rank": 1, "dropout": 0.5}
DEPTH = 2


def visual_run(
    method: str, base: float, vectors: int, seed: int = 1, dataset: str = "greek", **changed: Any
) -> dict[str, Any]:
    """A run of one checkpoint, with what attention and condensing are told by."""
    settings = {"lr": 0.01, "depth": DEPTH, "epochs": 4, "vectors": vectors} | changed
    run = made(dataset, method, seed, **settings)
    point = {"base": base + seed, "val": base - 5, "loss": 1 / base, "flops": 1e6 * (10 + vectors)}
    seen = {"mass": [0.1, 0.3], "map_rank": [4.0, 2.0], "counts": [vectors / 2, vectors]}
    run["checkpoints"] = [
        point | seen | {"id": [0.5, 0.6], "id_chance": 0.4, "singular": [1.0, 1.0]}
    ]
    return run


@pytest.fixture(scope="module")
def visual() -> Visual:
    """VPT gains 10 points from 10 prompts and none from the next 10; SPT is 1 above, CVPT 2."""
    height = {0: 50.0, 10: 60.0, 20: 60.0}
    found = []
    for dataset in DATASETS:
        for seed in SEEDS:
            at = {"dataset": dataset, "seed": seed}
            found += [visual_run("vpt", base, n, **at) for n, base in height.items()]
            for n in (10, 20):
                found.append(visual_run("spt", height[n] + 1, n, **at))
                found.append(visual_run("cvpt", height[n] + 2, n, **at))
                found.append(visual_run("vpt", height[n] - 3, n, **at, depth=1))
            found.append(visual_run("vpt", 61, 20, **at, **DIP))
            for share in (50, 30):
                found.append(visual_run("vpt", 59, 20, **at, **DIP, keep=float(share)))
                for ranking in ("global", "layer"):
                    for tuned in (0, 2):
                        kept = {"keep": float(share), "ranking": ranking, "tuned": tuned}
                        base = 60 + tuned - (50 - share) / 10 - (ranking == "layer")
                        found.append(visual_run("vpt", base, 20, **at, **kept))
            found.append(visual_run("vpt", 63, 20, **at, keep=100.0, tuned=2))
        for rate, base in ((0.01, 60.0), (0.1, 40.0)):
            if rate != 0.01:
                found.append(visual_run("vpt", base, 10, dataset=dataset, lr=rate))
        for n, base in {0: 52.0, 10: 64.0, 20: 66.0}.items():
            found.append(visual_run("vpt", base, n, dataset=dataset, epochs=16))
    lists = {"prompts": (0, 10, 20), "compared": (10, 20), "keep": (50, 30), "rates": (0.01, 0.1)}
    profile = load_profile("smoke")
    vpt = profile.settings["vpt"] | {"lr": 0.01, "depth": DEPTH}
    changed = replace(
        profile,
        visual=profile.visual | lists,
        settings=profile.settings | {"vpt": vpt},
        seeds=SEEDS,
    )
    return Visual.of(frame(found), changed)


def test_the_runs_of_a_figure_differ_in_nothing_else(visual: Visual) -> None:
    assert (visual.epochs, visual.longer, visual.few, visual.most) == (4, 16, 10, 20)
    assert visual.share == 30
    plain = visual.ends()
    assert len(plain) == 3 * 4 and set(plain["depth"]) == {DEPTH} and set(plain["keep"]) == {0}
    tuned, fixed = visual.kept(30), visual.kept(30, tuned=False)
    assert set(tuned["ranking"]) == {"global"} and set(tuned["tuned"]) == {2}
    assert set(fixed["tuned"]) == {0} and len(tuned) == len(fixed) == 4
    assert visual.kept(100, tuned=False).equals(visual.ends(vectors=20))
    assert set(visual.kept(100)["keep"]) == {100}


def test_prompts_are_compared_within_a_family_and_seed(visual: Visual) -> None:
    groups = visual_prompts.pair_groups(visual)
    pairs = visual_prompts.pairs_of(groups)
    gaps = {
        name: float(np.mean([*_ends(ours)]) - np.mean([*_ends(theirs)]))
        for name, (ours, theirs) in pairs.items()
    }
    assert gaps == pytest.approx(
        {
            "VPT, 10 prompts, minus none": 10,
            "VPT, 20 prompts, minus none": 10,
            "SPT minus VPT, 10 prompts": 1,
            "SPT minus VPT, 20 prompts": 1,
            "CVPT minus VPT, 10 prompts": 2,
            "CVPT minus VPT, 20 prompts": 2,
            "VPT-shallow minus VPT, 10 prompts": -3,
            "VPT-shallow minus VPT, 20 prompts": -3,
            "CVPT, 20 prompts, minus none": 12,
            "VPT with DIP (rank 1) minus without, 20 prompts": 1,
            "equal cost: CVPT with 20 minus VPT with 10": 2,
        }
    )
    assert set(visual_prompts.breaks(groups)) <= set(pairs) and len(groups) == 6
    assert "SPT's take 20% of the image" in visual_prompts.beside_the_pairs(visual)
    assert "30 and 20 million operations" in visual_prompts.beside_the_pairs(visual)


def _ends(runs: pd.DataFrame) -> Iterable[float]:
    return runs.sort_values(["dataset", "seed"])["base"]


def test_what_is_said_of_visual_prompts_is_what_the_runs_have(visual: Visual) -> None:
    said = visual_prompts.finding(visual)
    assert "the most important 30 % alone, trained on, change accuracy by -3.0 points" in said
    assert "From none to 10 prompts accuracy moves by +10.0" in said and "by +0.0" in said
    lines = visual_prompts.by_count(visual)["test accuracy, %"]
    assert lines["other"]["value"].tolist() == pytest.approx([58.5, 58.5])
    numbers = visual_prompts.numbers(visual)
    values = {key: each.value for key, each in numbers.items() if isinstance(each, Interval)}
    assert values.pop("vit_b16_gmacs_200") > 17  # without prompts
    assert values == pytest.approx(
        {
            "condensed_30_minus_all": -3,
            "first_half_minus_second": 10,
            "most_minus_half": 0,
            "spt_minus_vpt": 1,
            "cvpt_minus_vpt": 2,
            "condensed_id1_minus_chance": 0.1,
            "most_minus_none": 10,
        }
    )
    assert (numbers["most"], numbers["share"]) == (20, 30)


def test_the_rate_and_the_schedule_are_of_the_first_seed(visual: Visual) -> None:
    rates = visual_prompts.rate_table(visual)["validation accuracy"]
    assert rates.to_dict() == pytest.approx({0.01: 55, 0.1: 35})
    table = visual_prompts.schedule_table(visual)
    assert table.loc["20 prompts, 16 epochs", "test accuracy"] == pytest.approx(67)
    said = visual_prompts.schedule_finding(visual)
    assert "+10.0 points [+10.0, +10.0] after 4 epochs, +14.0" in said


def test_condensing_is_compared_with_all_prompts_trained_as_long(visual: Visual) -> None:
    trained, fixed = condensation.panels(visual).values()
    assert trained["other"]["value"].to_dict() == pytest.approx({30: -3, 50: -1, 100: 0})
    assert fixed["zero-shot"]["value"].to_dict() == pytest.approx({30: -3, 50: -1, 100: 0})
    table = condensation.table(visual)
    assert list(table.index) == ["100 %", "50 %", "30 %"]
    assert table.loc["30 %", ["accuracy", "without tuning"]].tolist() == pytest.approx([61.5, 59.5])
    assert table.loc["100 %", "ID₁ by chance"] == table.loc["100 %", "ID₁"]
    assert table.loc["30 %", "prompts by block"] == "10 20"
    lines = condensation.densities(visual)
    assert list(lines["zero-shot"].index) == [30, 50]
    assert list(lines["VPT"].index) == list(lines["DIP"].index) == [30, 50, 100]
