"""The grid of the fair comparisons: as many settings for each method, and which runs they need."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from dip_lib.data.protocols import folds
from dip_lib.errors import NotMeasuredError, UnknownNameError
from dip_lib.training.run import Run
from dip_study import hosts, study
from dip_study.fronts import MOST, Setting, entries, fronts, places, rates, settings
from dip_study.profiles import load_profile
from dip_study.runs import coop, dip, make_run

SMOKE, PHOTOS, PAPER = (load_profile(name) for name in ("smoke", "photos", "paper"))
FEW = replace(SMOKE, datasets=("greek",))


@pytest.mark.parametrize("name", ["embedded-full", "photos", "smoke", "paper"])
def test_no_method_has_more_settings_than_another_may_have(name: str) -> None:
    grid = settings(load_profile(name))
    assert len(grid) == 10
    for of_method in grid.values():
        assert len(set(of_method)) == len(of_method) == MOST


def test_rates_are_the_profiles_and_its_neighbours() -> None:
    assert rates(load_profile("embedded")) == (0.03, 0.1, 0.01)
    assert rates(PHOTOS) == (0.1, 0.3, 0.03)
    assert rates(SMOKE) == (0.03, 0.09, 0.01)  # its list has one rate
    assert rates(PAPER) == (0.002, 0.006, 0.000667)


def test_the_first_setting_is_what_a_method_has_where_nothing_is_chosen() -> None:
    first = {
        name: each[0].run(FEW, "greek", 1, fingerprint="") for name, each in settings(FEW).items()
    }
    (plain,) = coop(replace(FEW, seeds=(1,)), checkpoints=1, fingerprint="")
    (dense,) = dip(replace(FEW, seeds=(1,)), checkpoints=1, fingerprint="")
    assert first["CoOp"] == first["CoOp, update scaled"] == plain
    assert first["DIP"] == first["DIP, update scaled"] == dense
    for name in ("kgcoop", "prograd"):
        (own,) = [run for run in first.values() if run.method.name == name]
        assert own == make_run(FEW, "greek", name, 1, checkpoints=1, fingerprint="")


def test_scaled_updates_need_no_run_of_their_own() -> None:
    every = [*entries(FEW, fingerprint="")]
    trained = {entry.run for entry in every if entry.kept == 1}
    scaled = {entry.run for entry in every if entry.kept != 1}
    assert scaled and scaled <= trained
    assert set(fronts(FEW, fingerprint="")) == trained


def test_lengths_are_parts_of_the_epochs_that_the_profile_gives_the_dataset() -> None:
    def epochs(dataset: str, length: float) -> int:
        run = Setting(lr=0.1, length=length).run(PAPER, dataset, 1, fingerprint="")
        return vars(run.schedule)["epochs"]

    assert epochs("dtd", 1 / 4) == 50
    assert epochs("imagenet", 1 / 4) == 12  # of 50
    assert Setting(lr=0.1, length=1 / 8).run(FEW, "greek", 1, fingerprint="").schedule is not None


def test_weights_are_the_published_and_parts_of_the_rescaled_one() -> None:
    def weights(profile: str, dataset: str) -> list[float]:
        grid = settings(load_profile(profile))["KgCoOp"]
        runs = [s.run(load_profile(profile), dataset, 1, fingerprint="") for s in grid]
        return [vars(run.method)["weight"] for run in runs]

    plain = make_run(FEW, "greek", "kgcoop", 1, fingerprint="")
    scaled = vars(hosts.rescaled(plain).method)["weight"]
    assert 0 < scaled < 8
    quarter = pytest.approx(scaled / 4, rel=5e-3)
    assert weights("smoke", "greek") == [8, 8, scaled, scaled, quarter, quarter]
    # CLIP has the scale of the published weights, and is not loaded to be asked
    assert weights("paper", "dtd") == [8, 8, 8, 8, 2, 2]


def test_every_setting_is_there_with_every_third_left_out_that_can_be() -> None:
    of_grid = dict.fromkeys(("photo-dtd10", "photo-resisc14"), (1, 2))
    few = replace(PHOTOS, datasets=tuple(of_grid), seeds=(1, 2), grid_seeds=of_grid)
    found = Counter((e.dataset, e.seed, e.held_out) for e in entries(few, fingerprint=""))
    parts = {"photo-dtd10": (0, *folds(10)), "photo-resisc14": (0, 1, 2, 3)}
    assert parts["photo-dtd10"] == (0, 1, 2)
    expected = {(d, s, k): 10 * MOST for d, of in parts.items() for s in (1, 2) for k in of}
    assert found == expected
    for entry in entries(few, fingerprint=""):
        data = entry.run.data
        assert (data.dataset, data.held_out, entry.run.seed) == (
            entry.dataset,
            entry.held_out,
            entry.seed,
        )


@pytest.mark.parametrize(
    ("name", "shared"), [("embedded-full", 0), ("photos-full", 1), ("paper", 0)]
)
def test_no_two_datasets_of_a_grid_have_a_seed_in_common(name: str, shared: int) -> None:
    """But for the one that the committed feature packs have no images for."""
    profile = load_profile(name)
    found = [place.seed for place in places(profile)]
    assert len({*found}) == len(found) - shared
    assert len(found) >= len(profile.datasets)
    assert {place.dataset for place in places(profile)} == {*profile.datasets}


def test_the_seeds_of_a_dataset_do_not_depend_on_which_others_are_asked_for() -> None:
    full = load_profile("embedded-full")
    few = replace(full, datasets=("greek",))
    assert {*places(few)} == {place for place in places(full) if place.dataset == "greek"}
    assert {entry.seed for entry in entries(few)} == {*full.seeds_of_grid("greek")}
    assert {entry.seed for entry in entries(replace(PHOTOS, datasets=()))} == set()
    assert {entry.seed for entry in entries(FEW, fingerprint="")} == {SMOKE.seeds[0]}


def test_only_profiles_that_ask_for_it_have_the_study() -> None:
    assert "fronts" in study.studies_of(PHOTOS) and "fronts" not in study.studies_of(SMOKE)


def test_a_run_of_the_grid_is_measured_as_any_other() -> None:
    chosen: list[Run] = [run for run in fronts(FEW) if run.data.held_out == 1][:1]
    with pytest.raises(NotMeasuredError):
        study.collect(chosen, FEW)
    (record,) = study.collect(chosen, FEW, results="fresh")
    assert record["status"] == "finished" and len(record["checkpoints"]) == 1


@pytest.mark.parametrize(
    ("line", "error", "named"),
    [
        ("greeek = [1]", UnknownNameError, "greeek"),
        ("greek = []", ValueError, "greek"),
        ("greek = 3", ValueError, "grid_seeds"),
    ],
)
def test_seeds_of_a_grid_that_cannot_be_are_refused(
    tmp_path: Path, line: str, error: type[Exception], named: str
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f'like = "embedded"\n[grid_seeds]\n{line}\n')
    with pytest.raises(error, match=named):
        load_profile(str(path))
