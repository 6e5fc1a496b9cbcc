"""What pages 07 to 13 say of their runs, on made runs whose answer is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_records import made

from dip_book.frame import frame, where
from dip_book.interval import Interval
from dip_book.pages import (
    ablation,
    epochs_dropout,
    host_numbers,
    hosts,
    image_hosts,
    method_costs,
    pictures,
    rotation,
    towers,
    transfer,
)
from dip_book.tables import harmonic_mean
from dip_study.profiles import load_profile
from glyph_world.styles import PAIRING

UP, DOWN, EVEN = Interval(2.0, 1.0, 3.0), Interval(-2.0, -3.0, -1.0), Interval(0.0, -1.0, 1.0)
DATASETS, SEEDS = ("greek", "latin"), (1, 2)
WORDS = {"context": "a photo of a", "vectors": 0}
DIP = {"rank": 1, "dropout": 0.5}


def runs_of(
    method: str, base: float, new: float, seeds: Iterable[int] = SEEDS, **changes: Any
) -> list[dict[str, Any]]:
    """A run a dataset and seed that ends at these accuracies, a little apart for each of them."""
    found = []
    for dataset, level in zip(DATASETS, (0.0, 4.0), strict=True):
        for seed in seeds:
            away = level + seed / 4
            ends = {"base": lambda t, at=base + away: at, "new": lambda t, at=new + away: at}
            found.append(made(dataset, method, seed, **ends, **changes))
    return found


# ---- transfer -----------------------------------------------------------------------------------

ELSEWHERE = replace(
    load_profile("smoke"), datasets=("greek", "latin"), source="source", shifts=("source-v2",)
)
PLACES = {"source": 70.0, "source-v2": 60.0, "greek": 50.0, "latin": 40.0}


@pytest.fixture
def transferred() -> pd.DataFrame:
    """DIP is 3 points below CoOp on the source, 2 above on shifts, 1 above on other datasets."""
    above = {"source": -3.0, "source-v2": 2.0, "greek": 1.0, "latin": 1.0}
    found = []
    for place, level in PLACES.items():
        zero = {"dataset": place, "target": ""}
        found.append(made(method="zero-shot", seed=0, base=lambda t, a=level - 5: a, **zero))
        target = "" if place == "source" else place
        for seed in SEEDS:
            for rank in (0, 1):
                at = level + seed + rank * above[place]
                found.append(
                    made("source", seed=seed, rank=rank, base=lambda t, a=at: a, target=target)
                )
    return frame(found)


def test_a_prompt_counts_where_it_is_evaluated(
    transferred: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = transfer.Transferred.of(transferred, ELSEWHERE)
    assert found.accuracies["CoOp"]["greek"].tolist() == [51, 52]
    assert found.accuracies["CoOp"]["source"].tolist() == [71, 72]
    assert found.accuracies["zero-shot"]["source-v2"].tolist() == [55]
    assert {name: gap.value for name, gap in found.gaps().items()} == pytest.approx(
        {"other datasets": 1, "shifted pictures": 2}
    )
    rows = transfer.differences(found)
    assert list(rows)[:3] == ["source itself", "source-v2", "greek"]
    assert list(rows)[-2:] == ["mean of the shifts", "mean of the others"]
    assert rows["source itself"] == Interval(-3, -3, -3)
    assert transfer.breaks(found) == ["source-v2", "greek", "mean of the shifts"]
    table = transfer.accuracy_table(found)
    assert table.loc["mean of the others"].tolist() == pytest.approx([40, 46.5, 47.5, 1])
    said = transfer.finding({"One": found})
    assert said.startswith("**Finding.** Prompts") and "on other datasets **+1.0** points" in said
    assert "2 of them, too few to judge" in said and "One" not in said
    monkeypatch.setattr(transfer, "FEWEST", 2)
    assert "; ahead)" in transfer.finding({"One": found})
    numbers = transfer.numbers(found)
    assert numbers["shift_dip_minus_zero"].value == pytest.approx(60 + 1.5 + 2 - 55)


def test_a_world_without_shifts_or_other_datasets_says_so_and_has_no_rows_of_them(
    transferred: pd.DataFrame,
) -> None:
    whole = transfer.Transferred.of(transferred, ELSEWHERE)
    bare = transfer.Transferred.of(transferred, replace(ELSEWHERE, shifts=()))
    rows = transfer.differences(bare)
    assert list(rows) == ["source itself", "greek", "latin", "mean of the others"]
    assert all(rows[name] == transfer.differences(whole)[name] for name in rows)
    assert transfer.breaks(bare) == ["greek", "mean of the others"]
    assert list(transfer.accuracy_table(bare).index) == ["source", *list(rows)[1:]]
    assert transfer.numbers(bare).keys() == {"cross_dip_minus_coop", "cross_dip_minus_zero"}
    said = transfer.finding({"Bare": bare})
    assert said.endswith("There are no shifted pictures to measure in Bare.")
    alone = transfer.Transferred.of(
        transferred, replace(ELSEWHERE, datasets=("source",), shifts=())
    )
    assert list(transfer.differences(alone)) == ["source itself"]
    assert transfer.breaks(alone) == [] and transfer.numbers(alone) == {}
    assert transfer.finding({"Bare": alone}).startswith("**Finding.** There are no other datasets")


def test_prompts_that_carry_over_in_one_world_alone_are_a_disagreement(
    transferred: pd.DataFrame,
) -> None:
    one = transfer.Transferred.of(transferred, ELSEWHERE)
    swapped = {"CoOp": one.accuracies["DIP"], "DIP": one.accuracies["CoOp"]}
    other = transfer.Transferred(
        {**one.accuracies, **swapped}, "source", {transfer.OTHERS: ["greek", "latin"]}
    )
    said = transfer.finding({"One": one, "Other": other})
    assert said.startswith("**The worlds disagree** on DIP minus CoOp on other datasets: +1.0 ")
    assert "disagree** on DIP minus CoOp on shifted" not in said  # which one of them has
    assert "**Finding in One.** Prompts" in said and "**Finding in Other.** Prompts" in said
    assert transfer.finding({"One": one, "Two": one}).startswith("**Finding in One.**")


# ---- epochs and dropout -------------------------------------------------------------------------


@pytest.fixture
def long() -> pd.DataFrame:
    """From 5 to 20 epochs CoOp loses 6 points on new classes and DIP 2."""
    lost = {("coop", 5): 0.0, ("coop", 20): 6.0, ("dip", 5): 1.0, ("dip", 20): 3.0}
    parts = [
        runs_of("coop", 60, 50 - away, epochs=n, **(DIP if method == "dip" else {}))
        for (method, n), away in lost.items()
    ]
    return frame([run for part in parts for run in part])


def test_training_longer_is_the_longest_schedule_minus_the_shortest(long: pd.DataFrame) -> None:
    change = epochs_dropout.new_change(where(long, label="CoOp"))
    assert {name: each.tolist() for name, each in change.items()} == {
        "greek": [-6, -6],
        "latin": [-6, -6],
    }
    said = epochs_dropout.longer({"Glyph World": long})
    assert (
        said.startswith("**Finding.** ")
        and "From 5 to 20 epochs" in said
        and "**-6.0** points with CoOp" in said
    )
    assert "difference of **+4.0**" in said
    panels = epochs_dropout.panels(long, "epochs")
    assert list(panels["new classes, %"]) == ["CoOp", "DIP"]
    assert all(
        list(curve.index) == [5, 20] for lines in panels.values() for curve in lines.values()
    )


def test_dropout_of_a_half_is_compared_with_none(long: pd.DataFrame) -> None:
    parts = [
        runs_of("coop", 60 - 10 * p, 50 + 4 * p, rank=1, dropout=p, epochs=20)
        for p in (0.0, 0.5, 0.9)
    ]
    dip = frame([run for part in parts for run in part])
    assert "**-5.0** points on base" in epochs_dropout.dropping({"Glyph World": dip})
    numbers = epochs_dropout.numbers(long, dip)
    assert numbers["dropout_new"].value == pytest.approx(2)
    assert numbers["new_change_dip_minus_coop"].value == pytest.approx(4)
    rows = list(epochs_dropout.averages_table(long, dip).index)
    assert rows[:2] == ["CoOp, 5 epochs", "CoOp, 20 epochs"]
    assert rows[-1] == "DIP, dropout 0.9"


def test_findings_of_several_worlds_begin_with_what_they_disagree_on(long: pd.DataFrame) -> None:
    turned = long.assign(label=long["label"].map({"CoOp": "DIP", "DIP": "CoOp"}))
    first, second = epochs_dropout.longer({"Glyph World": long, "Photo World": turned}).split(
        "\n\n"
    )
    assert first.startswith("**The worlds disagree** on how training longer changes DIP minus CoOp")
    assert "+4.0 [+4.0, +4.0] in Glyph World, -4.0 [-4.0, -4.0] in Photo World" in first
    assert "**Finding in Glyph World.** From 5 to 20 epochs" in first
    assert second.startswith("**Finding in Photo World.** From 5 to 20 epochs")

    def dropped(at_half: float) -> pd.DataFrame:
        parts = [runs_of("coop", 60, 50 + at_half * (p > 0), rank=1, dropout=p) for p in (0.0, 0.5)]
        return frame([run for part in parts for run in part])

    said = epochs_dropout.dropping({"Glyph World": dropped(2), "Photo World": dropped(-2)})
    assert said.startswith(
        "**The worlds disagree** on what dropout of one half does to new classes"
    )
    agreed = epochs_dropout.dropping({"Glyph World": dropped(2), "Photo World": dropped(1)})
    assert agreed.startswith("**Finding in Glyph World.** Dropout") and agreed.count("\n\n") == 1


# ---- towers -------------------------------------------------------------------------------------


def test_a_tower_and_a_start_are_compared_with_themselves_alone() -> None:
    above = {("one", "words"): 1.0, ("one", ""): 2.0, ("two", "words"): -3.0, ("two", ""): 4.0}
    found = []
    for (tower, context), gain in above.items():
        at: dict[str, Any] = {"backbone": tower}
        at |= {} if context else {"context": "", "vectors": 16}
        found += runs_of("coop", 60, 50, **at) + runs_of("coop", 60, 50 + gain, **at, **DIP)
    for tower in ("one", "two"):
        found += runs_of("zero-shot", 40, 45, seeds=(0,), backbone=tower)
    runs, names = frame(found), ("one", "two")
    gaps = towers.gaps(runs, names)
    assert [gap["new"].value for gap in gaps.values()] == pytest.approx([*above.values()])
    assert "second image encoder (two), DIP minus CoOp is **-" in towers.finding(gaps, names)
    rows = towers.rows(gaps)
    assert len(rows) == 12 and list(rows)[3] == towers.breaks(gaps)[0]
    numbers = towers.numbers(gaps, names)
    assert numbers["random_dip_minus_coop_new"].value == pytest.approx(2)
    assert numbers["second_dip_minus_coop_new"].value == pytest.approx(-3)
    table = towers.averages_table(runs, names)
    assert table.loc["two: zero-shot", "base"] == pytest.approx(42)
    assert len(table) == 10


# ---- hosts --------------------------------------------------------------------------------------


@pytest.fixture
def text_side() -> pd.DataFrame:
    """DIP raises both halves by 2 on KgCoOp, lowers them by 2 on ProGrad, and leaves DePT."""
    gains = {"coop": 1.0, "kgcoop": 2.0, "prograd": -2.0, "dept": 0.0}
    at = {"backbone": "one", "epochs": 40}
    found = []
    for method, gain in gains.items():
        found += runs_of(method, 60, 50, **at) + runs_of(method, 60 + gain, 50 + gain, **at, **DIP)
    for method in ("zero-shot", "ensemble"):
        found += runs_of(method, 50, 55, seeds=(0,), backbone="one")
        found += runs_of(method, 10, 15, seeds=(0,), backbone="two")
    for method in ("do", "pp"):
        found += runs_of(method, 61, 51, **at)
    return frame(found + runs_of("coop", 58, 54, backbone="one", epochs=10))


def test_every_method_is_compared_with_itself(text_side: pd.DataFrame) -> None:
    pairs = hosts.text_pairs(text_side, epochs=40)
    gaps = hosts.gaps(pairs)
    assert {name: gap["new"].value for name, gap in gaps.items()} == pytest.approx(
        {"CoOp": 1, "KgCoOp": 2, "ProGrad": -2, "DePT": 0}
    )
    said = hosts.raised_and_lowered(gaps)
    assert "clearly for **CoOp, KgCoOp**" in said and "clearly for **ProGrad**" in said
    assert "DIP on 4 methods raises" in said
    assert "**none**" in hosts.raised_and_lowered({"KgCoOp": {"h": UP}, "DePT": {"h": EVEN}})
    rows = hosts.rows(gaps)
    assert list(rows)[:3] == ["CoOp: base", "CoOp: new", "CoOp: H"]
    assert hosts.breaks(gaps) == ["KgCoOp: base", "ProGrad: base", "DePT: base"]
    assert host_numbers.mean_gain(pairs).value == pytest.approx(
        np.mean([gaps[method]["h"].value for method in ("KgCoOp", "ProGrad", "DePT")])
    )
    numbers = host_numbers.text_numbers(pairs)
    assert numbers["prograd_dip_minus_plain_h"] == gaps["ProGrad"]["h"]
    assert numbers["seed_sd_dip_minus_coop"].value == pytest.approx(0)
    assert host_numbers.seed_spread(*(where(side, seed=1) for side in pairs["CoOp"])) == {}


def test_groups_hold_one_tower_and_one_schedule_each(text_side: pd.DataFrame) -> None:
    pairs = hosts.text_pairs(text_side, epochs=40)
    groups = hosts.text_groups(text_side, pairs, "one")
    assert set(groups["CoOp"]["epochs"]) == {40} and set(groups["CoOp, 10 epochs"]["epochs"]) == {
        10
    }
    assert all(len(runs) for runs in groups.values())
    families = hosts.family_table(groups)
    assert families.loc["zero-shot", "greek"] == pytest.approx(harmonic_mean(50, 55))
    changes = hosts.family_changes(pairs)
    assert changes.loc["greek", "KgCoOp"] == pytest.approx(
        families.loc["KgCoOp + DIP", "greek"] - families.loc["KgCoOp", "greek"]
    )
    assert list(hosts.density_table(pairs).index) == [*("CoOp", "DIP", "KgCoOp", "ProGrad", "DePT")]
    assert "ρ with as-read ID₁" not in hosts.density_table(pairs)
    held = {n: tuple(r.assign(id1_read=1 - r["id1"]) for r in both) for n, both in pairs.items()}
    table = hosts.density_table(held)
    assert (table["ρ with as-read ID₁"] == -table["ρ with ID₁"]).all()


ONE = replace(load_profile("embedded"), towers=("one",), epochs=40)
"""The profile of ``text_side``."""


def with_rescaled(text_side: pd.DataFrame) -> pd.DataFrame:
    """Beside it KgCoOp of another weight, which DIP lowers by 3 on both halves."""
    at: dict[str, Any] = {"backbone": "one", "epochs": 40, "weight": 2.5}
    more = runs_of("kgcoop", 62, 52, **at) + runs_of("kgcoop", 59, 49, **at, **DIP)
    return pd.concat([text_side, frame(more)], ignore_index=True)


def test_a_method_with_another_weight_is_a_row_of_its_own(text_side: pd.DataFrame) -> None:
    plain = hosts.Compared.of(text_side, ONE)
    both = hosts.Compared.of(with_rescaled(text_side), ONE)
    name = "KgCoOp, weight rescaled"
    assert list(both.pairs) == ["CoOp", "KgCoOp", name, "ProGrad", "DePT"]
    assert set(both.pairs[name][1]["weight"]) == {2.5}
    assert both.gaps[name]["new"].value == pytest.approx(-3)
    assert {k: v for k, v in both.gaps.items() if k != name} == plain.gaps
    assert set(both.groups) - set(plain.groups) == {name, f"{name} + DIP"}
    assert (
        name in hosts.family_changes(both.pairs) and name in hosts.density_table(both.pairs).index
    )
    said = hosts.finding({"One": both})
    assert "on 4 methods (1 of them also with a rescaled weight)" in said
    assert "lowers it clearly for **KgCoOp (rescaled), ProGrad**" in said
    assert said.endswith("the weights are: KgCoOp 2.5.")
    old, new = (host_numbers.text_numbers(each.pairs) for each in (plain, both))
    assert {key: new[key] for key in old} == old  # the mean over methods, too
    assert {*new} - {*old} == {f"kgcoop_rescaled_dip_minus_plain_{k}" for k in ("base", "new", "h")}


def test_worlds_disagree_on_a_method_that_both_have(text_side: pd.DataFrame) -> None:
    one = hosts.Compared.of(text_side, ONE)
    other = hosts.Compared.of(with_rescaled(text_side), ONE)
    swapped = other.pairs["KgCoOp"][::-1]
    other = hosts.Compared({**other.pairs, "KgCoOp": swapped}, other.groups)
    said = hosts.finding({"One": one, "Other": other})
    assert said.startswith("**The worlds disagree** on KgCoOp with DIP minus without in H: +2.0")
    assert said.count("disagree") == 1 and "decides" not in said
    assert said.index("**Finding in One.**") < said.index("**Finding in Other.**")


def test_image_side_methods_stand_beside_what_is_on_their_own_tower() -> None:
    at = {"cocoop": "one", "maple": "two", "promptsrc": "two"}
    found = []
    for method, tower in at.items():
        found += runs_of(method, 60, 50, backbone=tower)
        found += runs_of(method, 57, 50, backbone=tower, **DIP)
    for tower, level in (("one", 30), ("two", 55)):
        found += runs_of("coop", level, 50, backbone=tower)
        found += runs_of("coop", level, 52, backbone=tower, **DIP)
        found += runs_of("zero-shot", level - 5, 50, seeds=(0,), backbone=tower)
    runs = frame(found)
    said = image_hosts.finding({"One": runs})
    at_start = 60 + np.mean([1, 2]) / 4 - 50  # zero-shot has one seed, and no part of its own
    assert f"{at_start:+.1f} points from zero-shot without DIP" in said
    both = image_hosts.finding({"One": runs, "Other": frame([])})
    assert both == f"**One.** {said}\n\n**Other.** No such method is measured in Other."
    groups = image_hosts.groups(runs)
    assert list(groups) == sorted(groups)
    assert set(groups["one: CoOp"]["backbone"]) == {"one"}
    numbers = host_numbers.image_numbers(runs)
    assert numbers["dip_minus_promptsrc_new"].value == pytest.approx(2)
    assert numbers["dip_minus_promptsrc_base"].value == pytest.approx(-5)


def test_costs_are_relative_to_coop_round_by_round() -> None:
    def row(seconds: list[float]) -> dict[str, Any]:
        sizes = {"trainable": 516, "stored_bytes": 2200, "step_mb": 10.04}
        return sizes | {"seconds_of_a_step": seconds, "seconds_of_judging": [0.002] * 3}

    result = {"methods": {"coop": row([0.2, 0.1, 0.4]), "dip": row([0.4, 0.3, 0.8])}}
    assert method_costs.step_ratios(result) == {"CoOp": 1, "DIP": pytest.approx(2)}
    assert method_costs.title("kgcoop+dip") == "KgCoOp + DIP"
    numbers = method_costs.numbers(result)
    assert numbers["stored_share_4_512"] == Interval(*[516 / 2048] * 3)
    assert numbers["merged_extra_numbers"] == 0
    step = numbers["step_seconds_dip_over_coop"]
    assert isinstance(step, Interval) and (step.value, step.high) == pytest.approx((2, 3))
    assert method_costs.units(result)["step_seconds_dip_over_coop"] == 3
    assert method_costs.cost_table(result).loc["DIP", "ms a step"] == 400


# ---- ablation -----------------------------------------------------------------------------------


@pytest.fixture
def ablated() -> pd.DataFrame:
    """The book's DIP ends at 55 on new classes; each change of it at another value."""
    words, bare = WORDS, WORDS | {"context": "", "vectors": 4}
    smaller = {"rank 1": {"base": 64.0, "new": 53.0}, "x 0.5": {"base": 60.5, "new": 56.0}}
    found = runs_of("coop", 66, 50, **words)
    for run in found:
        run["checkpoints"][-1]["shrunk"] = smaller
    found += runs_of("coop", 60, 55, **words | DIP)
    found += runs_of("coop", 61, 53, **words | DIP | {"dropout": 0.0})
    for rank in (2, 4):
        for p in (0.0, 0.5):
            found += runs_of("coop", 62, 55 - rank, **words | {"rank": rank, "dropout": p})
    for n in (4, 8):
        found += runs_of("coop", 59, 40, **bare | DIP | {"vectors": n})
        found += runs_of("coop", 63, 41, **bare | {"vectors": n})
    found += runs_of("coop", 65, 51, **words | {"dropout": 0.5, "site": "prompt"})
    for site in ("rows", "columns", "prompt"):
        found += runs_of("coop", 60, 54, **words | DIP | {"site": site})
    for method in ("do", "pp"):
        for weight in (0.1, 10.0):
            found += runs_of(method, 64, 52, **words | {"weight": weight})
    return frame(found)


def test_one_setting_is_changed_at_a_time(ablated: pd.DataFrame) -> None:
    groups = ablation.groups(ablated)
    assert all(len(runs[runs["last"]]) == 4 for runs in groups.values())
    rows = ablation.new_differences(groups)
    assert ablation.BOOK not in rows
    assert {name: row.value for name, row in rows.items()} == pytest.approx(
        {
            "CoOp (words, full rank)": -5,
            "without dropout": -2,
            "rank 2": -2,
            "rank 4": -4,
            "rank 4, without dropout": -4,
            "without frozen words": -15,
            "CoOp with dropout of its prompt": -4,
            "CoOp from random vectors": -14,
        }
    )
    assert set(rows) - set(ablation.with_words(rows)) == set(ablation.WORDLESS)
    said = ablation.finding({"One": groups})
    assert said.startswith("**Finding.** With the frozen words")
    assert "moves new classes by -2.0 [-2.0, -2.0], rank 4" in said
    numbers = ablation.numbers(groups)
    assert numbers["frozen_branch_new"].value == pytest.approx(15)


def test_tables_of_the_ablation_have_a_row_for_each_value(ablated: pd.DataFrame) -> None:
    assert list(ablation.site_table(ablated)["new"]) == pytest.approx([57.375, *[56.375] * 3])
    lengths = ablation.length_table(ablated, (4, 8))
    assert list(lengths.index) == [f"{m}, {n} vectors" for n in (4, 8) for m in ("CoOp", "DIP")]
    penalties = ablation.penalty_table(ablated)
    assert list(penalties.index) == [f"{m}, λ = {w}" for m in ("DO", "PP") for w in ("0.1", "10")]
    assert penalties["ID₁"].tolist() == pytest.approx([0.3] * 4)
    assert "as-read ID₁" not in penalties  # where runs do not hold it
    held = ablated.assign(id1_read=ablated["id1"] / 2)
    assert ablation.penalty_table(held)["as-read ID₁"].tolist() == pytest.approx([0.15] * 4)


def test_the_nearest_smaller_update_is_nearest_on_base_classes(ablated: pd.DataFrame) -> None:
    table = ablation.smaller_table(ablation.groups(ablated))
    assert list(table.index) == ["rank 1", "x 0.5", "DIP"]
    assert table.loc["DIP", "new"] == pytest.approx(57.375)
    said = ablation.nearest({"One": table})
    assert "is *rank 1*: base 64.0 and new 53.0, against 62.4" in said
    both = ablation.nearest({"One": table, "Other": table})
    assert both == f"**One.** {said}\n\n**Other.** {said}"


def test_worlds_disagree_on_each_part_by_itself(ablated: pd.DataFrame) -> None:
    groups = ablation.groups(ablated)
    swapped = {**groups, ablation.BOOK: groups["without dropout"]}
    swapped["without dropout"] = groups[ablation.BOOK]
    said = ablation.finding({"One": groups, "Other": swapped})
    assert said.startswith(
        "**The worlds disagree** on DIP without dropout minus DIP on new classes: -2.0 "
    )
    assert said.count("disagree") == 1  # frozen words help and a higher rank harms in both


# ---- rotation -----------------------------------------------------------------------------------


@pytest.fixture
def rotated() -> pd.DataFrame:
    """DIP minus CoOp on both halves is 3 in the style of greek and -1 in that of arrows."""
    found = []
    for family in ("arrows", "greek"):
        for other, gain in (("arrows", -1.0), ("greek", 3.0)):
            style = "default" if family == other else PAIRING[other]
            for seed in SEEDS:
                for rank in (0, 1):
                    at = 50.0 + seed + gain * rank
                    halves = {"base": lambda t, a=at: a, "new": lambda t, a=at: a}
                    found.append(made(family, seed=seed, rank=rank, style=style, **halves))
    return frame(found)


def test_rows_are_families_and_columns_their_styles(rotated: pd.DataFrame) -> None:
    pairs = rotation.Rotation.of(rotated, ("arrows", "greek"))
    assert pairs.cells.shape == (2, 2, 2, 4)
    assert pairs.new.tolist() == pytest.approx(np.array([[-1, 3], [-1, 3]]))
    assert rotation.h_map(pairs)[PAIRING["greek"]].tolist() == pytest.approx([3, 3])
    assert rotation.explained(pairs) == pytest.approx((1, 0))  # the styles decide alone
    gaps = rotation.gaps(pairs)
    assert [gaps[key].value for key in ("base", "new", "h")] == pytest.approx([1, 1, 1])
    # the styles are the units: two of them, a Student interval with one degree of freedom
    assert gaps["new"].low == pytest.approx(1 - 12.706 * 2, abs=0.01)
    said = rotation.finding(pairs)
    assert "new classes in 2 pairs, and in H in 2" in said and "style explains 100 %" in said
    numbers = rotation.numbers(pairs)
    assert (numbers["pairs"], numbers["pairs_h_ahead"]) == (4, 2)


def test_styles_are_shown_by_kind_and_averaged_over_families(rotated: pd.DataFrame) -> None:
    pairs = rotation.Rotation.of(rotated, ("arrows", "greek"))
    rows = rotation.by_style(pairs)
    assert list(rows) == [PAIRING["greek"], PAIRING["arrows"]]  # greek's style is systematic
    assert [row.value for row in rows.values()] == pytest.approx([3, -1])
    assert rotation.first_destructive(pairs) == [PAIRING["arrows"]]
    table = rotation.averages_table(pairs)
    assert table.loc["systematic styles", "pairs with H ahead"] == "2 of 2"
    assert table.loc["own styles", "mean H, DIP − CoOp"] == "1.0"
    alone = rotation.Rotation.of(rotated, ("greek",))
    assert "destructive styles" not in rotation.averages_table(alone).index
    assert rotation.first_destructive(alone) == []


# ---- pictures -----------------------------------------------------------------------------------


def test_shuffling_keeps_every_pixel_and_loses_the_density() -> None:
    shown = pictures.pictures()
    photograph, shuffled = shown[pictures.PHOTOGRAPH], shown[pictures.SHUFFLED]
    assert np.array_equal(np.sort(photograph, axis=None), np.sort(shuffled, axis=None))
    table = pictures.density_table(shown, (1, 10))
    assert table.loc["stripes", "ID1"] == pytest.approx(1)
    assert table.loc[pictures.PHOTOGRAPH, "ID10"] > 2 * table.loc[pictures.SHUFFLED, "ID10"]
    assert abs(float(pictures.centred(photograph).mean())) < 1e-12
    numbers = pictures.numbers(shown)
    assert f"**{100 * numbers['shuffled_id10']:.0f} %**" in pictures.finding(shown)
    values = pictures.spectra({"flat": np.outer([1.0, -1.0], [1.0, -1.0])})
    assert pictures.spectra_table(values, 1)["flat"].tolist() == pytest.approx([2])
