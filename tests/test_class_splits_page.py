"""The study of class splits and its page: the laws of their averages, intervals and variances."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_records import made, stop
from scipy import stats

from dip_book.frame import frame
from dip_book.pages import class_splits as page
from dip_book.pages.class_splits import FIELDS, PARTS, Splits
from dip_lib.data import harmonic_mean
from dip_lib.data.splits import RANDOM_SPLITS
from dip_study import study
from dip_study.plan import plan
from dip_study.profiles import load_profile

DATASETS = ("arrows", "boxes", "greek", "latin")
K = RANDOM_SPLITS
rng = np.random.default_rng(0)
GAINS = rng.normal(1, 2, (len(DATASETS), 1 + K, 2, 2))
"""DIP minus CoOp on each dataset, split and seed: base and new."""


def run_of(method: str, i: int, split: int, seed: int) -> dict[str, Any]:
    gain = GAINS[i, split, seed - 1] if method == "dip" else (0.0, 0.0)
    base, new = 70.0 + i + split, 60.0 - i + seed
    ends: list[Callable[[float], float]] = [lambda t: base + gain[0], lambda t: new + gain[1]]
    return made(DATASETS[i], method, seed, base=ends[0], new=ends[1], class_split=split)


def records() -> list[dict[str, Any]]:
    places = [(i, k, s) for i in range(len(DATASETS)) for k in range(1 + K) for s in (1, 2)]
    return [run_of(method, *place) for method in ("coop", "dip") for place in places]


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return frame(records())


@pytest.fixture(scope="module")
def splits(runs: pd.DataFrame) -> Splits:
    return Splits.of(runs)


# ---- the study ----------------------------------------------------------------------------------

SMOKE = load_profile("smoke")


def test_the_study_is_every_split_and_the_fields_are_runs_of_base_to_new() -> None:
    runs = study.class_splits(SMOKE, fingerprint="")
    assert len(runs) == len(set(runs)) == (1 + K) * len(SMOKE.datasets) * (1 + 2 * 2)
    assert {run.data.class_split for run in runs} == set(range(1 + K))
    known = {run.key() for run in study.base_to_new(SMOKE, fingerprint="")}
    assert all((run.key() in known) == (run.data.class_split == 0) for run in runs)
    many = replace(SMOKE, seeds=(1, 2, 3, 4, 5))
    assert {run.seed for run in study.class_splits(many, fingerprint="")} == {0, 1, 2}


def test_only_a_profile_that_asks_has_the_study(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('like = "smoke"\nstudies = ["class_splits"]\n')
    mine = load_profile(str(path))
    others = [n for n in study.STUDIES if n not in study.ON_REQUEST]
    assert study.studies_of(replace(SMOKE, studies=())) == others
    assert study.studies_of(mine) == [*others, "class_splits"]
    with pytest.raises(ValueError, match="'class_splits'"):
        study.studies_of(replace(SMOKE, studies=("class_split",)))


def test_asking_for_the_study_changes_no_page_of_a_profile() -> None:
    for name in ("embedded", "embedded-full", "paper", "photos", "smoke"):
        profile = load_profile(name)
        for asked in ((), ("class_splits",)):  # pages keep a fingerprint of what is printed
            assert repr(replace(profile, studies=asked)) == repr(profile)
        has_it = "class_splits" in study.studies_of(profile)
        assert has_it == (name not in ("paper", "smoke"))


def test_a_plan_encodes_the_images_of_all_classes_once_for_all_splits() -> None:
    paper = replace(load_profile("paper"), datasets=("eurosat",))
    cost = plan(paper, "class_splits").iloc[0]
    drawn = 16 * paper.views + 4
    # the test split; two draws of ten classes, and the field's own of five
    assert cost["images"] == 8100 + 2 * 10 * drawn + 2 * 5 * drawn
    assert cost["runs"] == 11 * (1 + 2 * 2)


def test_the_study_is_measured_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIP_HOME", str(tmp_path))
    monkeypatch.setenv("DIP_WORKERS", "1")
    small = replace(SMOKE, epochs=1, checkpoints=1)
    runs = [run for run in study.class_splits(small) if run.data.class_split < 3]
    found = frame(study.collect(runs, small, results="fresh"))
    assert set(found["class_split"]) == {0, 1, 2}
    splits = Splits.of(found)
    assert {name: each.shape for name, each in splits.cells.items()} == {
        "cyrillic": (3, 2, 4), "greek": (3, 2, 4)
    }  # fmt: skip
    assert page.averages_table(found).index.tolist() == [FIELDS, 1, 2]
    zero = found[(found["label"] == "zero-shot") & (found["dataset"] == "greek")]
    assert zero["base"].nunique() == 3  # other classes


# ---- averages and intervals ---------------------------------------------------------------------


def test_the_cells_are_the_runs_by_split_and_seed(splits: Splits) -> None:
    for i, name in enumerate(DATASETS):
        cells = splits.cells[name]
        assert cells.shape == (1 + K, 2, 4)
        np.testing.assert_allclose(cells[..., :2] - cells[..., 2:], GAINS[i])
        assert cells[3, 1, 2:].tolist() == [70 + i + 3, 60 - i + 2]


def test_a_row_is_what_would_be_reported_with_that_half(splits: Splits) -> None:
    table = page.per_split(splits)
    assert table.index.tolist() == [FIELDS, *map(str, range(1, K + 1))]
    np.testing.assert_allclose(table[["base", "new"]], GAINS.mean((0, 2)))
    base, new = 70 + 1.5 + 4, 60 - 1.5 + 1.5  # CoOp's averages in split 4
    gain = GAINS[:, 4].mean((0, 1))
    h = harmonic_mean(base + gain[0], new + gain[1]) - harmonic_mean(base, new)
    assert table.loc["4", "H"] == pytest.approx(h)


def test_the_interval_of_an_average_is_students_over_datasets(splits: Splits) -> None:
    gaps = page.gaps(splits)
    for half, name in enumerate(("base", "new")):
        means = GAINS[:, 1:, :, half].mean((1, 2))  # one number a dataset, without the field's
        low, high = stats.t.interval(0.95, len(means) - 1, means.mean(), stats.sem(means))
        found = gaps[name]
        assert (found.value, found.low, found.high) == pytest.approx((means.mean(), low, high))
    assert gaps["h"].value == pytest.approx(page.per_split(splits)["H"][1:].mean())


def test_splits_that_repeat_others_make_no_interval_narrower(splits: Splits) -> None:
    twice = {name: np.concatenate([each, each[1:]]) for name, each in splits.cells.items()}
    for key, gap in page.gaps(Splits(twice)).items():
        assert gap.columns == pytest.approx(page.gaps(splits)[key].columns)


def test_the_fields_split_has_no_part_in_the_intervals(splits: Splits) -> None:
    other = {n: np.concatenate([each[:1] + 9, each[1:]]) for n, each in splits.cells.items()}
    assert page.gaps(Splits(other)) == page.gaps(splits)
    assert page.shares(Splits(other)).equals(page.shares(splits))


def test_over_these_datasets_halves_and_seeds_count_and_datasets_do_not(splits: Splits) -> None:
    shift = 50 * np.array([1, 1, 0, 0])
    apart = {n: each + i * shift for i, (n, each) in enumerate(splits.cells.items())}
    for key, gap in page.gaps(splits).items():
        assert gap.these is not None and gap.these[0] < gap.value < gap.these[1]
        if key != "h":
            far = page.gaps(Splits(apart))[key].these
            assert far is not None and np.diff(far) == pytest.approx(np.diff(gap.these))
    single = {name: each[:, :1] for name, each in splits.cells.items()}
    assert page.gaps(Splits(single))["h"].these is None


def test_the_spread_is_over_random_splits_and_places_the_fields(splits: Splits) -> None:
    table, found = page.per_split(splits), page.spread(splits)
    others = table.drop(FIELDS)
    assert found.loc["standard deviation", "H"] == pytest.approx(others["H"].std(ddof=1))
    assert found.loc["smallest", "new"] == others["new"].min()
    assert found.loc[FIELDS].tolist() == table.loc[FIELDS].tolist()
    above = found.loc["random splits above the field's", "base"]
    assert above == (others["base"] > table.loc[FIELDS, "base"]).sum()


# ---- variance -----------------------------------------------------------------------------------


def effects(d: float, s: float, r: float, e: float, datasets: int = 400) -> dict[str, np.ndarray]:
    """Differences with these standard deviations by dataset, split, seed, and the rest."""
    draws = np.random.default_rng(1).normal
    return {
        str(i): draws(0, d) + draws(0, s, (K, 1)) + draws(0, r, (1, 3)) + draws(0, e, (K, 3))
        for i in range(datasets)
    }


def test_the_variance_is_told_apart_by_its_causes() -> None:
    found = page.variances(effects(3, 2, 1, 0.5))
    expected = dict(zip(PARTS, (9, 4, 1, 0.25), strict=True))
    assert found == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("cause", PARTS)
def test_what_one_cause_makes_no_other_is_given(cause: str) -> None:
    found = page.variances(effects(*(float(cause == each) for each in PARTS)))
    assert found.pop(cause) == pytest.approx(1, rel=0.15)
    assert max(found.values()) < 0.05


def test_seeds_may_differ_between_datasets() -> None:
    ragged = {n: v[:, : 1 + int(n) % 3] for n, v in effects(3, 2, 1, 0.5, 1200).items()}
    expected = dict(zip(PARTS, (9, 4, 1, 0.25), strict=True))
    assert page.variances(ragged) == pytest.approx(expected, rel=0.2)


def test_with_one_seed_or_dataset_what_cannot_be_told_is_not_a_number() -> None:
    one_seed = page.variances({n: v[:, :1] for n, v in effects(3, 2, 1, 0).items()})
    assert np.isnan([one_seed["seed"], one_seed["split and seed"]]).all()
    assert one_seed["split"] == pytest.approx(4, rel=0.15)
    one = page.variances(effects(3, 2, 1, 0.5, 1))
    assert np.isnan(one["dataset"])
    assert one["split"] > 0


def test_shares_are_per_cent_of_the_whole(splits: Splits) -> None:
    assert page.shares(splits).sum().tolist() == pytest.approx([100] * 3)


# ---- what the page shows ------------------------------------------------------------------------


def test_a_seed_that_stopped_leaves_its_dataset_and_no_other() -> None:
    made_runs = records()
    victim = next(
        r for r in made_runs
        if r["label"] == "DIP" and r["run"]["data"]["dataset"] == "boxes" and r["run"]["seed"] == 2
    )  # fmt: skip
    stop(victim)
    cells = Splits.of(frame(made_runs)).cells
    assert {name: each.shape[1] for name, each in cells.items()} == {
        "arrows": 2, "boxes": 1, "greek": 2, "latin": 2
    }  # fmt: skip
    page.numbers(Splits(cells))


def test_the_finding_and_the_numbers_say_the_same(splits: Splits, runs: pd.DataFrame) -> None:
    said, numbers = page.finding({"A World": splits}), page.numbers(splits)
    assert f"{K} random" in said
    assert f"{numbers['dip_minus_coop_new'].value:+.1f}" in said
    assert f"{numbers['field_dip_minus_coop_h']:+.2f}" in said
    assert re.search(rf"half {numbers['split_share_h']:.0f} %", said)
    table = page.averages_table(runs)
    assert table.index.tolist() == [FIELDS, *range(1, K + 1)]
    gap = table["DIP"] - table["CoOp"]
    np.testing.assert_allclose(gap[["base", "new", "H"]], page.per_split(splits))
