"""What page 14 says of images in a language model's memory, on a made result."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from dip_book.pages import memory_prompts
from glyph_world.language.sights import SIGHTS

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))  # as when a benchmark is run as a program

import memvp  # noqa: E402

TASKS = {"natural-greek": ("which character", 40), "how-many": ("how many", 8)}
HEIGHTS = {"question alone": 10.0, "prefix": 50.0, "memory": 60.0}
SECONDS = {"question alone": 1.0, "prefix": 4.0, "memory": 2.0, "memory, larger scales": 2.0}


def made(**changed: float) -> dict[str, Any]:
    """The memory is 10 points above the prefix in every seed, and takes half its time."""
    ways = {}
    for name, height in (HEIGHTS | changed).items():
        right = [height - 1, height, height + 1]
        ways[name] = {
            "trainable": 100,
            "rows_before": 4,
            "validation": {"0.001": height - 5, "0.01": height},
            "rate": 0.01,
            "accuracy": {
                task: {"ranked": right, "exact": [each / 2 for each in right]} for task in TASKS
            },
            "step_over_floor": SECONDS[name],
            "answer_over_floor": SECONDS[name],
        }
        for what in ("step", "answer"):
            ways[name][f"seconds_of_{what}"] = [SECONDS[name] * each for each in (1.0, 2.0, 3.0)]
    tasks = {
        task: {"title": title, "answers": count, "untouched": {"ranked": 2.5, "exact": 0.0}}
        for task, (title, count) in TASKS.items()
    }
    return {
        "settings": {"seeds": [1, 2, 3], "rates": [0.001, 0.01, 0.1]},
        "tasks": tasks,
        "ways": ways,
    }


def test_a_difference_is_paired_by_seed() -> None:
    gaps = memory_prompts.differences(made())
    assert [*gaps] == ["which character: memory", "how many: memory"]
    for gap in gaps.values():
        assert gap.value == gap.low == pytest.approx(10)
    scaled = made(**{"memory, larger scales": 60.0})
    assert "how many: larger scales" in memory_prompts.differences(scaled)
    floor = memory_prompts.difference(made(), "prefix", "question alone", "how-many")
    assert floor.value == pytest.approx(40)


def test_the_table_has_a_row_a_way_and_both_readings_of_an_answer() -> None:
    table = memory_prompts.table(made())
    assert [*table.index] == [*HEIGHTS]
    assert table.loc["memory", "which character"].startswith("60.0 [57.5, 62.5]")
    assert "at most 30.0 points" in memory_prompts.word_for_word(made())
    assert table.loc["prefix", "step"] == 4 and table.loc["prefix", "numbers"] == 100
    rates = memory_prompts.rate_table(made())
    assert rates.idxmax().tolist() == [0.01] * 3
    assert np.isclose(rates.loc[0.001, "memory"], 55)
    assert not memory_prompts.at_the_highest(made())
    result = made()
    result["ways"]["memory"]["rate"] = 0.1
    assert memory_prompts.at_the_highest(result).endswith("0.1, for: memory.")


@pytest.mark.parametrize(
    ("height", "said"),
    [
        (60.0, "which character: 10.0 points above the prefix (+10.0 to +10.0)"),
        (30.0, "how many: 20.0 points below the prefix (-20.0 to -20.0)"),
    ],
)
def test_the_finding_says_which_way_is_above(height: float, said: str) -> None:
    found = memory_prompts.finding(made(memory=height))
    assert said in found.lower() and "not decided" not in found
    assert "0.50 of the prefix's time" in found


def test_the_finding_says_when_seeds_do_not_tell() -> None:
    result = made()
    result["ways"]["memory"]["accuracy"]["how-many"]["ranked"] = [48.0, 50.0, 53.0]
    found = memory_prompts.finding(result)
    assert "how many: 0.3 points above the prefix" in found.lower() and "not decided" in found


def test_numbers_and_what_the_untouched_model_answers() -> None:
    numbers = memory_prompts.numbers(made())
    assert numbers["memvp_numbers"] == 100
    step = numbers["memvp_step_over_prefix"]
    assert not isinstance(step, int) and step.value == pytest.approx(0.5)
    assert "how many 2.5 % (chance 12.5 %)" in memory_prompts.untouched(made())


def test_what_the_benchmark_writes_is_what_the_page_reads(
    smoke: Callable[[ModuleType], tuple[str, Any]],
) -> None:
    said, result = smoke(memvp)
    assert "--smoke" in result["no_measurement"]
    assert [*result["ways"]] == [*SIGHTS]
    assert all(name in said for name in SIGHTS)
    table = memory_prompts.table(result)
    assert table["rows"].to_dict() == dict(zip(SIGHTS, (4, 45, 0, 0), strict=True))
    assert table.loc["question alone", "step"] == 1
    assert memory_prompts.finding(result).count("not known") == 2  # one seed has no interval
    ways = result["ways"]
    assert ways["memory"]["flops_of_step"] < ways["prefix"]["flops_of_step"]


def test_the_committed_result_has_every_way_and_three_seeds() -> None:
    result = json.loads((ROOT / "results/benchmarks/memvp.json").read_text("utf-8"))
    assert "no_measurement" not in result and [*result["ways"]] == [*SIGHTS]
    for way in result["ways"].values():
        assert {len(each) for found in way["accuracy"].values() for each in found.values()} == {3}
