"""Further pre-trainings of a world: the same statistics as the judging one's, shown as points."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from made_records import made

from dip_book.claims import load_claims
from dip_book.correlations import correlation_numbers
from dip_book.frame import frame
from dip_book.notebook import begin
from dip_book.pages import base_to_new, pretrainings
from dip_book.pages.pretrainings import CLAIMS, ELSEWHERE, TOWERS, Pretraining, pretraining
from dip_lib.errors import UnknownNameError
from dip_study import study
from dip_study.profiles import load_profile

ROOT = Path(__file__).resolve().parents[1]
FULL = load_profile("embedded-full")
DATASETS = ("arrows", "boxes", "cyrillic", "greek")
JUDGING = {load_profile(name).world: name for (name, _), judges in TOWERS.items() if judges}


def runs(backbone: str, gain: float) -> pd.DataFrame:
    """Zero-shot, CoOp and DIP on four datasets; DIP is ``gain`` points ahead on new classes."""

    def one(i: int, dataset: str, method: str, seed: int) -> dict[str, object]:
        ahead = gain + 0.1 * i if method == "dip" else 0.0
        return made(
            dataset, method, seed, new=lambda t: 50 + i - (9 - ahead) * t, backbone=backbone
        )

    return frame(
        one(i, dataset, method, seed)
        for i, dataset in enumerate(DATASETS)
        for method, seeds in (("zero-shot", (0,)), ("coop", (1, 2)), ("dip", (1, 2)))
        for seed in seeds
    )


@pytest.fixture(scope="module")
def found() -> list[Pretraining]:
    """A world's judging pre-training, in which DIP is ahead, and one in which CoOp is."""
    return [
        pretraining(runs(tower, gain), replace(FULL, towers=(tower,)), judges=gain > 0)
        for tower, gain in (("glyph-resnet", 2.0), ("glyph-vit", -1.0))
    ]


def test_a_pretraining_has_the_statistics_of_the_pages(found: list[Pretraining]) -> None:
    first = found[0]
    page = base_to_new.numbers(base_to_new.compared(first.runs, FULL))
    assert first.claims["dip-new"] == page["dip_minus_coop_new"]
    assert first.claims["dip-h"] == page["dip_minus_coop_h"]
    lead = correlation_numbers(first.runs[first.runs["label"] == "CoOp"])["rho_id1_minus_rho_epoch"]
    assert first.claims["id-beyond-time"] == lead
    assert first.claims["dip-new"].value == pytest.approx(2.15)
    assert first.seeds == 2


def test_runs_without_a_path_have_no_rank_correlation() -> None:
    ends = runs("glyph-resnet", 2.0)
    short = pretraining(ends[ends["last"]], FULL, judges=False)
    assert short.claims.keys() == {"dip-new", "dip-h"}
    whole = pretraining(ends, FULL, judges=True)
    rows = pretrainings.points([whole, replace(short, tower="other")])
    assert [len(marks) for marks in rows.values()] == [2, 2, 1]


def test_further_ones_are_points_and_are_counted_by_sign(found: list[Pretraining]) -> None:
    rows = pretrainings.points(found)
    assert [*rows] == [*CLAIMS.values()]
    judged, further = rows[CLAIMS["dip-new"]].values()
    assert judged == found[0].claims["dip-new"]
    assert further.endless
    assert further.value == found[1].claims["dip-new"].value == pytest.approx(-0.85)
    text = pretrainings.said(found)
    assert "0 of 1 with its sign, 0 inside its interval" in text
    alike = [found[0], replace(found[0], judges=False)]
    assert "1 of 1 with its sign, 1 inside its interval" in pretrainings.said(alike)
    assert all(f"`{claim}`" in text for claim in ELSEWHERE)


def test_each_claim_has_a_panel_with_a_mark_for_each_pretraining(
    found: list[Pretraining],
) -> None:
    pretrainings.draw(pretrainings.points(found))
    panels = plt.gcf().axes
    assert len(panels) == len(CLAIMS)
    for axes in panels:
        assert [label.get_text() for label in axes.get_yticklabels()] == [
            "Glyph World: glyph-resnet",
            "glyph-vit",
        ]
    plt.close("all")
    pretrainings.draw(pretrainings.points([]))
    assert not plt.get_fignums()


def test_tables_and_numbers_name_every_pretraining(found: list[Pretraining]) -> None:
    table = pretrainings.table(found)
    assert [tower for _, tower in table.index] == ["glyph-resnet", "glyph-vit"]
    assert [*table["", "rate"]] == ["0.03", "0.03"]
    values = pretrainings.numbers(found, "Glyph World")
    assert values["glyph-vit_dip-new"] == pytest.approx(-0.85)
    assert not any(name.startswith("glyph-resnet") for name in values)
    assert pretrainings.numbers(found, "Photo World") == {}
    marks = pretrainings.drawn(pretrainings.points(found))
    assert len(marks) == 2 * len(CLAIMS)
    assert marks["low"].isna().sum() == len(CLAIMS)
    assert len(pretrainings.every_run(found)) == sum(len(each.runs) for each in found)
    assert pretrainings.every_run([]).empty


def test_every_primary_claim_is_shown_or_said_to_be_missing() -> None:
    primary = {claim.id for claim in load_claims(ROOT / "book" / "claims.toml") if claim.primary}
    assert primary == {*CLAIMS, *ELSEWHERE}


@pytest.mark.parametrize(("name", "tower"), [*TOWERS])
def test_only_the_pretraining_and_the_seeds_are_others(name: str, tower: str) -> None:
    profile = load_profile(name)
    judging = load_profile(JUDGING[profile.world])
    assert tower in profile.towers
    if profile == judging:
        return
    free = {"name", "towers", "seeds", "lr", "studies", "only", "grid_seeds"} | {"trajectory_seeds"}
    for each in fields(profile):
        if each.name not in free:
            assert getattr(profile, each.name) == getattr(judging, each.name), each.name
    assert profile.lr in judging.rates
    assert study.studies_of(profile) == ["base_to_new"]


def test_a_study_that_there_is_not_is_named() -> None:
    with pytest.raises(UnknownNameError, match="base_to_nwe"):
        study.studies_of(replace(load_profile("smoke"), only=("base_to_nwe",)))


def test_what_is_not_stored_is_left_out_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIP_RESULTS", str(tmp_path))
    monkeypatch.setattr(pretrainings, "TOWERS", {key: TOWERS[key] for key in [*TOWERS][:2]})
    parameters = {"profile": "smoke", "datasets": "all", "seeds": "all", "epochs": None}
    page = begin("03_base_to_new", parameters | {"device": "cpu", "results": "stored"})
    said: list[str] = []
    monkeypatch.setattr(type(page), "say", lambda _, text: said.append(text))
    assert pretrainings.stored(page) == []
    assert "`dip measure --profile embedded-full`" in said[-1]
