"""What prompts and condensed sets cost: the benchmark, and what page 14 makes of its results."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dip_book.pages import prompt_costs

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))  # as when a benchmark is run as a program

import visual  # noqa: E402


def row(part: float, seconds: list[float], memory: float, **more: Any) -> dict[str, Any]:
    same = {"flops": 1e9 * part, "seconds": seconds, "step_mb": memory, "forward_mb": memory / 2}
    return {"flops_over_none": part, "flops_over_all": part} | same | more


PROMPTS = {"0": row(1.0, [1.0, 1.0], 100.0), "50": row(1.5, [2.0, 3.0], 150.0)}
KEPT = {
    "100 global": row(1.0, [4.0, 4.0], 200.0, share=100, ranking="global", counts=[8, 8]),
    "30 global": row(0.5, [2.0, 3.0], 50.0, share=30, ranking="global", counts=[3, 1]),
    "30 layer": row(0.4, [1.0, 1.0], 40.0, share=30, ranking="layer", counts=[2, 2]),
}
BEFORE = {"towers": {"ViT": {"batch": 2, "prompts": PROMPTS}}}
NOW = {"towers": {"ViT": {"batch": 2, "prompts": PROMPTS, "condensed": {"of": 8, "kept": KEPT}}}}


@pytest.mark.parametrize("result", [BEFORE, NOW], ids=["before", "now"])
def test_costs_of_prompts_are_relative_to_none(result: dict[str, Any]) -> None:
    (lines,) = prompt_costs.cost_curves(result).values()
    assert set(lines) == set(prompt_costs.LOOKS)
    assert lines["zero-shot"].loc[50].tolist() == [1.5] * 3
    assert lines["other"].loc[50].tolist() == [2.5, 2.0, 3.0]  # the interval of a median
    assert lines["DIP"].loc[50, "value"] == 1.5


def test_costs_of_condensed_sets_are_relative_to_all() -> None:
    (lines,) = prompt_costs.condensed_curves(NOW).values()
    assert [*lines["other"].index] == [30, 100]
    assert lines["zero-shot"].loc[30, "value"] == 0.5
    assert lines["other"].loc[30, "value"] == pytest.approx(0.625)
    assert lines["DIP"].loc[30, "value"] == 0.25
    said = prompt_costs.condensed_finding(NOW)
    assert "30 % of the prompts take 62% of the time and 25% of the memory" in said
    assert "10 %" not in said  # not measured
    table = prompt_costs.condensed_table(NOW)
    assert table.loc[("ViT", "30 %", "over all blocks")].tolist() == ["3, 1", 0.5, 1250, 25, 50]
    assert len(table) == 3


def test_a_result_without_condensed_sets_says_so() -> None:
    assert prompt_costs.condensed_curves(BEFORE) == {}
    assert prompt_costs.condensed_table(BEFORE).empty
    assert "not measured yet" in prompt_costs.condensed_finding(BEFORE)


@pytest.mark.parametrize("share", [50, 30, 10])
def test_a_ranking_over_all_blocks_leaves_unequal_numbers_and_as_many_in_all(share: int) -> None:
    across, within = (visual.kept(200, 12, share, ranking) for ranking in ("global", "layer"))
    assert sum(across) == sum(within) == 200 * 12 * share // 100
    assert set(within) == {2 * share}
    assert across == sorted(across, reverse=True) and across[0] > 1.5 * across[-1]
    assert visual.kept(200, 12, 100, "global") == [200] * 12


def test_the_benchmark_writes_what_the_page_reads(
    smoke: Callable[[ModuleType], tuple[str, Any]],
) -> None:
    said, found = smoke(visual)
    assert "--smoke" in found["no_measurement"] and "30 global" in said
    assert len(prompt_costs.cost_curves(found)) == len(prompt_costs.condensed_curves(found)) == 1
    rows = found["towers"]["glyph-vit"]["condensed"]["kept"].values()
    assert {each["share"] for each in rows} == {*visual.SHARES}
    for each in rows:
        assert len(each["counts"]) == 4 and each["flops_over_all"] <= 1
    committed = json.loads((ROOT / "results" / "benchmarks" / "visual.json").read_text())
    assert len(prompt_costs.cost_curves(committed)) == 2  # whichever it is, the page shows it
    assert len(prompt_costs.condensed_curves(committed)) in (0, 2)
