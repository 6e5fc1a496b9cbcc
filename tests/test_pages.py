"""What each page says of its runs, on made runs whose answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_records import made, records, study
from PIL import Image

from dip_book.frame import frame
from dip_book.interval import Interval
from dip_book.pages import (
    base_to_new,
    cost,
    few_shot,
    glyph_world,
    information_density,
    own_images,
)
from dip_book.tables import differences, gap
from dip_lib.data import harmonic_mean
from dip_study import study as studies
from dip_study.profiles import load_profile

EVEN = Interval(0.0, -1.0, 1.0)
UP, DOWN = Interval(2.0, 1.0, 3.0), Interval(-2.0, -3.0, -1.0)
TABLE = pd.DataFrame(
    {"id1": [0.95, 0.5, -0.2], "id2": [1, 0, 0.1], "epoch": [1, 0, 0.3]},
    index=["greek", "latin", "boxes"],
)


def dips(shift: float = 0.0, **changes: Any) -> list[dict[str, Any]]:
    """Runs of DIP, whose accuracy on new classes is ``shift`` above CoOp's."""
    return records("dip", shift, **changes)


# ---- base to new --------------------------------------------------------------------------------


@pytest.fixture
def groups() -> dict[str, pd.DataFrame]:
    """CoOp, DIP with 2.5 points more on new classes, and one zero-shot run a dataset."""
    zero = study("zero-shot", seeds=(0,))
    return {"zero-shot": zero, "CoOp": study(), "DIP": frame(dips(2.5))}


@pytest.fixture
def alike() -> dict[str, pd.DataFrame]:
    """As ``groups``, on six datasets that are nearly as good: the difference in H is sure."""

    def runs(method: str, shift: float, *seeds: int) -> pd.DataFrame:
        return frame(
            made(d, method, s, new=lambda t, n=50 + i / 9 + shift: n)
            for i, d in enumerate(("arrows", "boxes", "cyrillic", "dingbats", "greek", "latin"))
            for s in seeds
        )

    return {
        "zero-shot": runs("zero-shot", 0, 0),
        "CoOp": runs("coop", 0, 1, 2),
        "DIP": runs("dip", 2.5, 1, 2),
    }


def in_a_world(
    groups: dict[str, pd.DataFrame],
    kinds: dict[str, list[str]] | None = None,
    frontier: pd.DataFrame | None = None,
    probe: pd.DataFrame | None = None,
) -> base_to_new.Compared:
    coop = groups["CoOp"]
    return base_to_new.Compared(
        pd.concat(groups.values()),
        coop if frontier is None else frontier,
        coop if probe is None else probe,
        groups,
        kinds or {},
    )


def finding(groups: dict[str, pd.DataFrame], **about: Any) -> str:
    return base_to_new.finding({"A World": in_a_world(groups, **about)})


def test_kinds_hold_only_datasets_that_are_there() -> None:
    found = base_to_new.kinds_of(["greek", "latin", "arrows"])
    assert {kind: sorted(names) for kind, names in found.items()} == {
        "systematic": ["greek", "latin"],
        "destructive": ["arrows"],
    }
    assert list(base_to_new.kinds_of(["arrows"])) == ["destructive"]
    assert base_to_new.kinds_of(["eurosat", "dtd"]) == {}  # photos have no styles


def test_the_finding_names_who_is_ahead_and_by_how_much(alike: dict[str, pd.DataFrame]) -> None:
    said = finding(alike, kinds={"odd": ["greek"]})
    assert "**+2.5** on new" in said and "DIP is ahead on this mix of styles" in said
    turned = alike | {"CoOp": alike["DIP"], "DIP": alike["CoOp"]}
    assert "CoOp is ahead. " in finding(turned)
    assert "not decided" in finding(alike | {"DIP": alike["CoOp"]})


def test_of_several_worlds_the_finding_says_first_whether_they_disagree(
    alike: dict[str, pd.DataFrame],
) -> None:
    turned = alike | {"CoOp": alike["DIP"], "DIP": alike["CoOp"]}
    worlds = {"One World": in_a_world(alike), "Other World": in_a_world(turned)}
    said = base_to_new.finding(worlds)
    assert said.startswith("**The worlds disagree** on DIP minus CoOp in H")
    assert said.index("**Finding in One World.**") < said.index("**Finding in Other World.**")
    agreed = base_to_new.finding(worlds | {"Other World": worlds["One World"]})
    assert "disagree" not in agreed
    kinds = {"odd": ["greek"]}
    headings = base_to_new.headings(worlds | {"One World": in_a_world(alike, kinds)})
    assert headings == {"odd": ["greek"], "Other World": sorted(set(alike["CoOp"]["dataset"]))}


def test_the_finding_names_the_learning_rates_that_do_no_worse_on_both_sides(
    groups: dict[str, pd.DataFrame],
) -> None:
    def at(rate: float, base: float, new: float) -> list[dict[str, Any]]:
        found = records(shift=new, lr=rate)
        for record in found:
            record["checkpoints"][-1]["base"] += base
        return found

    frontier = frame([*at(0.1, 5, 0), *at(0.01, 1, 4), *at(0.001, -1, 9)])
    said = finding(groups, frontier=frontier)
    assert "at learning rate 0.01 (8.0 and 52.0)." in said
    nowhere = frame([*at(0.1, 5, 0), *at(0.001, -1, 9)])
    assert "No CoOp of another learning rate" in finding(groups, frontier=nowhere)


def test_tables_have_a_row_for_all_datasets_and_for_each_kind(
    groups: dict[str, pd.DataFrame],
) -> None:
    kinds = {"odd": ["greek"], "even": ["latin"]}
    compared = in_a_world(groups, kinds)
    averages = base_to_new.averages_table(compared)
    assert list(averages.index) == [(k, g) for k in ("all", "odd", "even") for g in groups]
    assert averages.loc[("odd", "CoOp"), "base"].startswith("4.5 [")
    pairs = base_to_new.differences_table(compared)
    assert list(pairs.index.levels[0].sort_values()) == ["all", "even", "odd"]
    assert pairs.loc[("all", "DIP − CoOp"), "new"] == "+2.5 [+2.5, +2.5]"
    assert pairs.loc[("all", "DIP − CoOp"), "detectable"] == "0.0"
    families = base_to_new.family_table(compared)
    assert list(families.index) == ["greek", "latin", "average"]
    each = families["CoOp", "H"]
    assert each["average"] == pytest.approx((each["greek"] + each["latin"]) / 2)
    assert each["greek"] == pytest.approx(np.mean([harmonic_mean(4, 45), harmonic_mean(5, 46)]))


def test_head_room_is_what_a_probe_finds_beyond_zero_shot(groups: dict[str, pd.DataFrame]) -> None:
    probe = frame(
        [made(d, "probe", s, base=lambda t: 20.0) for d in ("greek", "latin") for s in (1, 2)]
    )
    kinds = {"odd": ["greek"], "even": ["latin"]}
    table = base_to_new.world_table(in_a_world(groups, kinds, probe=probe))
    assert table.loc["greek"].tolist() == ["odd", 3, 4.5, 20, 17]
    assert base_to_new.world_table(in_a_world(groups, probe=probe))["kind"].tolist() == ["", ""]


def test_the_numbers_are_those_of_the_tables(groups: dict[str, pd.DataFrame]) -> None:
    compared = in_a_world(groups, {"odd": ["greek"]})
    found = base_to_new.numbers(compared)
    assert found["dip_minus_coop_new"] == differences(groups["DIP"], groups["CoOp"])["new"]
    assert found["odd_dip_minus_coop_h"].value == pytest.approx(
        differences(groups["DIP"], groups["CoOp"], ["greek"])["h"].value
    )
    assert found["zero_shot_base"].value == pytest.approx(5.5)


# ---- information density ------------------------------------------------------------------------


def followed(
    lead: Interval, rho: Interval = UP, table: pd.DataFrame = TABLE
) -> information_density.Followed:
    """Correlations of which only the lead of ID_1 over the epoch, and rho with ID_1, matter."""
    names = ("median_rho_id1", "median_rho_id2", "median_rho_epoch")
    numbers = dict.fromkeys(names, rho) | {"rho_id1_minus_rho_epoch": lead}
    runs = study()
    return information_density.Followed(runs, frame(dips()), numbers, numbers, EVEN, table)


def test_the_finding_says_whether_density_tells_more_than_the_clock() -> None:
    said = {
        sign: information_density.finding({"Glyph World": followed(beyond)})
        for sign, beyond in ((1, UP), (-1, DOWN), (0, EVEN))
    }
    assert "ID₁ follows accuracy more closely" in said[1]
    assert "training time follows accuracy more closely" in said[-1]
    assert "no more closely than training time" in said[0]
    assert "**2.00** over 3 datasets (95 % interval 1.00 to 3.00" in said[0]
    assert all(each.startswith("**Finding.** Along CoOp's training") for each in said.values())


def test_the_finding_of_several_worlds_begins_with_what_they_disagree_on() -> None:
    found = {"Glyph World": followed(UP), "Photo World": followed(DOWN)}
    first, second = information_density.finding(found).split("\n\n")
    assert first.startswith("**The worlds disagree** on the lead of ID₁ over training time")
    assert "+2.00 [+1.00, +3.00] in Glyph World, -2.00 [-3.00, -1.00] in Photo World" in first
    assert "**Finding in Glyph World.** Along" in first
    assert second.startswith("**Finding in Photo World.** Along")
    turned = {"Glyph World": followed(UP), "Photo World": followed(UP, rho=DOWN)}
    said = information_density.finding(turned)
    assert said.startswith("**The worlds disagree** on the median ρ")
    agreed = information_density.finding(dict.fromkeys(found, followed(UP)))
    assert agreed.startswith("**Finding in Glyph World.**")
    ends = information_density.across_runs(dict.fromkeys(found, study()))
    assert ends.startswith("**Glyph World.** Spearman") and "\n\n**Photo World.** S" in ends


def test_the_table_of_datasets_ends_with_their_median() -> None:
    found, table = information_density.dataset_table(followed(UP)), TABLE
    assert found.loc["median"].tolist() == [0.5, 0.1, 0.3, "no"]
    assert found["at least 0.9 (ID₁)"].tolist() == ["yes", "no", "no", "no"]
    assert list(table.index) == ["greek", "latin", "boxes"]  # what is drawn is not changed


def test_a_training_is_told_by_its_start_and_end() -> None:
    runs = pd.concat([study(), frame(dips(2.5))])
    found = information_density.followed(runs)
    rows = information_density.starts_and_ends(found)
    assert list(rows.index) == ["CoOp", "DIP"]
    assert rows.loc["DIP", "new end, %"] == pytest.approx(50.5)
    row = rows.loc["CoOp"]
    assert (row["ID₁ start"], row["ID₁ end"]) == pytest.approx((0.6, 0.3))
    assert (row["new start, %"], row["new end, %"]) == pytest.approx((57.0, 48.0))
    assert row["median ρ(new, ID₁)"] == pytest.approx(1)
    ways = information_density.ways(found)
    assert ways["ρ with ID₁"].tolist() == pytest.approx([1, 1, 1], abs=0.02)
    trends = information_density.rank_trends(found)
    numbers = information_density.numbers(found, trends, runs)
    assert numbers["median_rho_id1"] == found.numbers["median_rho_id1"]
    assert numbers["dip_median_rho_rank"] == trends["DIP"]
    one, two = (information_density.ranks(dict.fromkeys(n, trends)) for n in (["A"], ["A", "B"]))
    assert two == f"**A.** {one}\n\n**B.** {one}"


def test_a_page_shows_as_read_density_where_every_run_holds_it() -> None:
    every = [*records(), *dips(2.5)]
    for record in every:
        for point in record["checkpoints"]:
            point["id_read"] = [1 - point["id"][0], 1.0]  # it rises as accuracy falls
    runs = frame(every)
    found = information_density.followed(runs)
    assert found.read is not None and found.read.read is None
    assert "With ID₁ *as read*" in information_density.finding({"Glyph World": found})
    table = information_density.dataset_table(found)
    assert table["ρ with as-read ID₁"].tolist() == pytest.approx([-1, -1, -1])
    rows = information_density.starts_and_ends(found)
    assert rows["as-read ID₁ end"].tolist() == pytest.approx([0.7, 0.7])
    ways = information_density.ways(found)
    assert ways["ρ with as-read ID₁"].tolist() == pytest.approx([-1, -1, -1], abs=0.02)
    trends = information_density.rank_trends(found)
    numbers = information_density.numbers(found, trends, runs)
    assert numbers["read_median_rho_id1"].value == pytest.approx(-1)
    assert {"read_rho_across_runs", "read_dip_median_rho_id1"} <= set(numbers)
    assert "With as-read ID₁" in information_density.across_runs({"Glyph World": runs})
    older = information_density.followed(frame([*records(), *dips(2.5)]))
    assert older.read is None
    assert not [name for name in information_density.dataset_table(older) if "as-read" in name]


def test_across_runs_counts_the_learning_rates_of_coop_alone() -> None:
    slow = [made(d, lr=0.001, new=lambda t: 80.0, id1=lambda t: 0.9) for d in ("greek", "latin")]
    runs = frame([*slow, *(made(d) for d in ("greek", "latin")), *dips(lr=0.5)])
    said = information_density.across_runs({"Glyph World": runs[runs["seed"] == 1]})
    assert said.startswith("Spearman's ρ")
    assert "CoOp at 2 learning rates" in said
    assert "over CoOp alone **1.00** (1.00 to 1.00)" in said


# ---- few-shot -----------------------------------------------------------------------------------


@pytest.fixture
def shots() -> pd.DataFrame:
    """DIP is 3 points ahead at one shot and as far behind at four; zero-shot has no shots."""
    runs = []
    for count, ahead in ((1, 3.0), (4, -3.0)):
        for label in ("probe", "coop", "dip"):
            found = records(label, shots=count)
            for record in found:
                record["checkpoints"][-1]["base"] += ahead * (label == "dip")
            runs += found
    return frame([*runs, *records("zero-shot", seeds=(0,))])


def test_few_shot_gaps_are_at_each_number_of_shots_and_over_all(shots: pd.DataFrame) -> None:
    coop, dip = (shots[shots["label"] == name] for name in ("CoOp", "DIP"))
    gaps = few_shot.gaps_at_each(dip, coop)
    assert {count: found.value for count, found in gaps.items()} == pytest.approx({1: 3, 4: -3})
    assert gaps[1] == gap(dip.query("shots == 1"), coop.query("shots == 1"))
    whole = few_shot.gap_over_shots(dip, coop)
    assert whole.value == pytest.approx(0)
    found = few_shot.compared(shots)
    assert (found.whole, found.gaps) == (whole, gaps)
    said = few_shot.finding({"Glyph World": found})
    assert said.startswith("**Finding.** Over 1 to 4 shots")
    assert said.endswith("DIP is clearly ahead at 1 shot; CoOp is clearly ahead at 4 shots.")
    assert "at no number of shots" in few_shot.difference(EVEN, {2: EVEN, 16: EVEN})
    assert few_shot.numbers(found)["dip_minus_coop_4_shots"] == gaps[4]


def test_few_shot_findings_of_several_worlds_begin_with_what_they_disagree_on(
    shots: pd.DataFrame,
) -> None:
    glyphs = replace(few_shot.compared(shots), whole=UP)
    found = {"Glyph World": glyphs, "Photo World": replace(glyphs, whole=DOWN)}
    first, second = few_shot.finding(found).split("\n\n")
    assert first.startswith("**The worlds disagree** on DIP minus CoOp over all shots")
    assert "**Finding in Glyph World.** Over 1 to 4 shots" in first
    assert second.startswith("**Finding in Photo World.** Over 1 to 4 shots")
    assert [*few_shot.panels(found)] == ["Glyph World\naccuracy, %", "Photo World\naccuracy, %"]
    assert few_shot.panels({"Glyph World": glyphs}) == {few_shot.ACCURACY: glyphs.lines}


def test_few_shot_curves_have_zero_shot_at_every_number_of_shots(shots: pd.DataFrame) -> None:
    lines = few_shot.curves(shots)
    assert set(lines) == {"linear probe", "CoOp", "DIP", "zero-shot"}
    assert all(list(line.index) == [1, 4] for line in lines.values())
    assert lines["zero-shot"]["value"].tolist() == pytest.approx([5.5, 5.5])
    assert lines["DIP"]["value"].tolist() == pytest.approx([10, 4])
    found = few_shot.compared(shots)
    table = few_shot.shots_table(found)
    assert table.loc[4, "DIP − CoOp"] == "-3.0 [-3.0, -3.0]"
    assert list(few_shot.mean_curves(found).loc["DIP", "value"]) == pytest.approx([10, 4])
    panels = few_shot.dataset_curves(found)
    assert panels["latin"]["CoOp"].loc[1].tolist() == pytest.approx([9.5, 9, 10])
    assert len(few_shot.stacked(panels)) == 2 * 2 * 2


# ---- Glyph World --------------------------------------------------------------------------------


def test_the_world_is_described_by_its_families_and_their_zero_shot_accuracy() -> None:
    profile = load_profile("embedded-full")
    zero = frame(studies.collect(studies.zero_shots(profile), profile))
    families = glyph_world.families_of(("greek", "arrows"))
    few = zero[zero["dataset"].isin(["greek", "arrows"])]
    table = glyph_world.zero_shot_table(few, families)
    assert list(table.index) == ["greek", "arrows", "average"]
    assert table.loc["greek", ["style", "kind", "classes"]].tolist() == ["mirror", "systematic", 56]
    for tower in profile.towers:
        row = few[(few["dataset"] == "greek") & (few["backbone"] == tower)].iloc[0]
        assert table.loc["greek", f"{tower} new"] == round(row["new"], 1)
    numbers = glyph_world.numbers(few, families)
    assert (numbers["families"], numbers["classes"]) == (2, 120)
    headline = few[few["backbone"] == profile.backbone]
    said = glyph_world.finding(few, families, profile.backbone)
    assert f"**{headline['base'].mean():.0f} %**" in said and "2 families with 120 classes" in said
    fonts = glyph_world.font_table(headline, families)
    assert fonts["other fonts that draw it"].astype(int).min() >= 3
    sheet = glyph_world.pictures(families, lambda family: 3)
    assert [each.shape for each in sheet.values()] == [(3, 48, 48, 3)] * 2


def test_a_run_is_told_by_its_first_and_last_checkpoint() -> None:
    said = glyph_world.first_and_last(frame([made("greek")]))
    assert said == "CoOp · 2048 trainable parameters · greek: base 60.0 → 70.0 %, new 60.0 → 50.0 %"


# ---- cost ---------------------------------------------------------------------------------------


def setting(ratio: float, memory: float | None) -> dict[str, Any]:
    measured = {"ratio": memory, "reference_extrapolated": memory and memory > 20}
    return {
        "classes": int(10 * ratio),
        "rows": {"ours": 7},
        "flop_ratio": ratio + 1,
        "ratio": ratio,
        "memory": measured if memory else None,
        "shares_of_time": {"matrix_products": 0.5},
        "difference": {"logits": 3e-6, "gradient": 4e-6},
        "bf16": {"ratio_to_ours": 0.3},
    }


def test_the_cost_of_a_step_is_told_at_a_hundred_classes_if_measured() -> None:
    step = {"settings": {"ImageNet 50": setting(5, 21), "ImageNet 100": setting(10, None)}}
    assert cost.headline(step)[0] == 100
    assert "With 100 classes" in cost.finding(step) and "less memory" not in cost.finding(step)
    table = cost.settings_table(step)
    assert table.loc["ImageNet 50", "memory"] == "21.0×*"
    assert table.loc["ImageNet 100", "memory"] == ""
    assert cost.ratios(step)["memory"].isna().tolist() == [False, True]
    quick = {"settings": {"ImageNet 50": setting(5, 19)}}
    assert cost.headline(quick)[0] == 50
    assert "19 times less memory" in cost.finding(quick)
    gaps = {"base": UP, "new": DOWN}
    whole = {"ratio_of_both_runs": 3.4}
    assert cost.numbers(quick, whole, gaps)["memory"] == "19"
    assert "memory" not in cost.numbers(step, whole, gaps)


def test_the_deviation_between_seeds_is_within_a_dataset_and_unknown_from_one_seed() -> None:
    spread = cost.seed_deviation(study())
    assert spread == pytest.approx({"base": 0.5**0.5, "new": 0.5**0.5})
    assert all(np.isnan(value) for value in cost.seed_deviation(study(seeds=(1,))).values())


# ---- own images ---------------------------------------------------------------------------------


class Guess:
    """A classifier that names every picture alike."""

    def __init__(self, name: str) -> None:
        self.name = name

    def predict(
        self, images: Sequence[Path], names: Sequence[str], top: int = 5
    ) -> list[list[tuple[str, float]]]:
        others = [each for each in names if each != self.name]
        return [[(self.name, 0.6), *((each, 0.1) for each in others)][:top] for _ in images]


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> own_images.OwnPictures:
    """Six pictures of each of four classes, as files."""
    monkeypatch.setattr(own_images, "CLASSES", 4)
    monkeypatch.setattr(own_images, "PER_CLASS", 6)
    profile = replace(load_profile("smoke"), datasets=("greek",))
    return own_images.write_pictures(profile, 24, tmp_path)


def test_pictures_are_written_one_folder_a_class(pictures: own_images.OwnPictures) -> None:
    assert pictures.own == ("capital alpha", "capital beta")
    assert pictures.unseen == ("capital chi", "capital delta")
    files = pictures.of_unseen()
    assert {own_images.truth(path) for path in files} == set(pictures.unseen)
    assert len(files) == 12 and Image.open(files[0]).size == (24, 24)
    held_out = pictures.held_out()
    assert {own_images.truth(path) for path in held_out} == set(pictures.own)
    assert 0 < len(held_out) < 12  # the rest trains


def test_a_score_is_the_share_of_pictures_named_right(pictures: own_images.OwnPictures) -> None:
    fitted = {"DIP": Guess("capital beta"), "zero-shot": Guess("capital chi")}
    table = own_images.scores(fitted, pictures)
    assert table["DIP"].tolist()[:4] == [50, 0, 50, 0]
    assert table["zero-shot"].tolist()[:4] == [0, 50, 0, 50]
    whole = len(pictures.held_out()) + 12
    assert table["zero-shot"].iloc[4] == pytest.approx(100 * 6 / whole)
    found = own_images.numbers(table, pictures, 816, agrees=True)
    assert (found["own"], found["zero_shot_unseen"], found["classes"]) == ("50.0", "50.0", 4)
    said = own_images.finding(table, pictures, load_profile("smoke"), 816)
    assert "**816 bytes**" in said and "of 2 classes that it has never seen with **0.0 %**" in said
    rows = own_images.examples(fitted["DIP"], pictures, each=2)
    assert [row.kind for row in rows] == ["own", "own", "unseen", "unseen"]
    assert all(row.best[0] == ("capital beta", 0.6) for row in rows)
