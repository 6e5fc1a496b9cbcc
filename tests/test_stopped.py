"""A run that stopped is said, and no average has it: what it was paired with leaves with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from made_records import made, stop

from dip_book.frame import compact, frame, stopped_runs
from dip_book.pages import (
    base_to_new,
    epochs_dropout,
    few_shot,
    host_numbers,
    hosts,
    image_hosts,
    rotation,
    transfer,
)
from dip_book.tables import average_of, differences, finished_pairs, gap, summary
from dip_study.profiles import load_profile

DIP = {"rank": 1, "dropout": 0.5}
Group = list[dict[str, Any]]


def runs_of(method: str, height: float, stopped: bool = False, **changes: Any) -> Group:
    """Two datasets by three seeds, ending at ``height`` and a little more for each.

    Of those that ``stopped`` it is greek's second seed, which ends at chance.
    """
    found = []
    for dataset, level in (("greek", 0.0), ("latin", 4.0)):
        for seed in (1, 2, 3):
            broken = stopped and (dataset, seed) == ("greek", 2)
            ends = {half: lambda t, at=height + level + seed: at for half in ("base", "new")}
            record = made(dataset, method, seed, **ends, **changes)
            if broken:
                record["checkpoints"][-1] |= {"base": 1.0, "new": 1.0}
                stop(record)
            found.append(record)
    return found


def without(records: Group) -> Group:
    """The records without greek's second seed."""
    return [r for r in records if (r["run"]["data"]["dataset"], r["run"]["seed"]) != ("greek", 2)]


def test_the_line_says_how_many_stopped_which_and_why() -> None:
    runs = frame([*runs_of("kgcoop", 50, stopped=True), *runs_of("coop", 50)])
    said = stopped_runs(runs)
    assert "1 of 12" in said and "KgCoOp (1, stopped: non-finite loss in epoch 3)" in said
    assert stopped_runs(frame(runs_of("coop", 50))) == stopped_runs(frame([])) == ""


def test_neither_averages_nor_csv_files_have_it() -> None:
    whole, rest = runs_of("coop", 50, stopped=True), without(runs_of("coop", 50))
    assert average_of(frame(whole), "new") == average_of(frame(rest), "new")
    pd.testing.assert_frame_equal(summary({"a": frame(whole)}), summary({"a": frame(rest)}))
    pd.testing.assert_frame_equal(compact(frame(whole)), compact(frame(rest)))
    none = [stop(record) for record in runs_of("coop", 50)]
    assert list(summary({"none": frame(none), "all": frame(rest)}).index) == ["all"]


@pytest.mark.parametrize("compare", [differences, gap])
def test_its_pair_leaves_with_it(compare: Callable[..., Any]) -> None:
    whole = frame(runs_of("coop", 50, stopped=True)), frame(runs_of("coop", 52, **DIP))
    rest = (frame(without(each)) for each in (runs_of("coop", 50), runs_of("coop", 52, **DIP)))
    expected = compare(*rest)
    assert compare(*whole) == expected
    assert compare(*whole[::-1]) == compare(*finished_pairs(*whole[::-1]))


def test_a_dataset_of_which_nothing_is_left_leaves_both_sides() -> None:
    lost = runs_of("coop", 50)
    for record in lost[:3]:  # greek's
        stop(record)
    sides = finished_pairs(frame(lost), frame(runs_of("coop", 52, **DIP)))
    assert [set(side["dataset"]) for side in sides] == [{"latin"}, {"latin"}]
    zero = frame([made(d, "zero-shot", 0) for d in ("greek", "latin")])
    assert set(finished_pairs(frame(lost), zero)[1]["dataset"]) == {"latin"}


def test_every_method_but_the_one_that_always_stops_is_on_its_page() -> None:
    found = runs_of("coop", 50, epochs=40) + runs_of("coop", 51, **DIP)
    found += runs_of("kgcoop", 50, stopped=True) + runs_of("kgcoop", 53, **DIP)
    found += runs_of("prograd", 50) + [stop(each) for each in runs_of("prograd", 50, **DIP)]
    found += runs_of("do", 50)
    runs = frame(found)
    pairs = hosts.text_pairs(runs, 40)
    assert list(pairs) == ["CoOp", "KgCoOp"]
    assert hosts.gaps(pairs)["KgCoOp"]["new"].value == pytest.approx(3)
    assert host_numbers.text_numbers(pairs)["hosts_dip_minus_plain_h"].value == pytest.approx(3)
    assert hosts.family_changes(pairs).loc["greek", "KgCoOp"] == pytest.approx(3)
    assert hosts.methods(runs, "text", dense=True) == ["DO"]


def test_where_no_image_side_method_is_left_the_page_says_so() -> None:
    at = {"backbone": "glyph-vit"}
    runs = frame([stop(made("greek", "promptsrc", rank=r, **at)) for r in (0, 1)])
    numbers = host_numbers.image_numbers(runs)
    assert image_hosts.pairs(runs) == image_hosts.groups(runs) == numbers == {}
    assert "PromptSRC is not measured" in image_hosts.finding({"One": runs})
    assert "No such method is measured in One" in image_hosts.finding({"One": frame([])})


def test_the_other_pages_pair_what_is_left() -> None:
    coop, dip = runs_of("coop", 50, stopped=True), runs_of("coop", 52, **DIP)
    groups = {
        "CoOp": frame(coop),
        "DIP": frame(dip),
        "zero-shot": frame([made(d, "zero-shot", 0) for d in ("greek", "latin")]),
    }
    coop_runs = groups["CoOp"]
    compared = base_to_new.Compared(coop_runs, coop_runs, coop_runs, groups, {})
    table = base_to_new.differences_table(compared)
    assert table.loc[("all", "DIP − CoOp"), "new"] == "+2.0 [+2.0, +2.0]"

    shots = coop + runs_of("coop", 50, shots=4), dip + runs_of("coop", 52, shots=4, **DIP)
    assert few_shot.gap_over_shots(*map(frame, shots[::-1])).value == pytest.approx(2)

    long = coop + dip + runs_of("coop", 47, epochs=80) + runs_of("coop", 50, epochs=80, **DIP)
    changes = epochs_dropout.new_changes(frame(long))
    assert {name: each["greek"].tolist() for name, each in changes.items()} == {
        "CoOp": [-3, -3],
        "DIP": [-2, -2],
    }


def test_a_prompt_that_stopped_on_its_source_is_left_out_elsewhere() -> None:
    found = []
    for rank in (0, 1):
        for target in ("", "latin"):
            for seed in (1, 2):
                one = made("greek", "coop", seed, rank=rank, target=target)
                found.append(stop(one) if (rank, seed) == (0, 2) else one)
    accuracies = transfer.accuracies(frame(found))
    assert all(len(each) == 1 for places in accuracies.values() for each in places.values())


def test_styles_are_compared_on_the_seeds_that_are_whole() -> None:
    names = load_profile("smoke").datasets
    found = []
    for family in names:
        for other in names:
            style = "default" if family == other else rotation.PAIRING[other]
            for seed in (1, 2):
                for rank in (0, 1):
                    found.append(made(family, seed=seed, rank=rank, style=style))
    stop(found[0])
    assert rotation.Rotation.of(frame(found), names).cells.shape == (2, 2, 1, 4)
