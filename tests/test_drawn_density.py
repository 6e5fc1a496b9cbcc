"""What comes of the density that a seed draws, on made runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dip_book.pages import drawn_density as page
from dip_lib.prompt.low_rank import initial_factors

SEEDS, WIDTH = range(1, 9), 16
SHAPE = (4, WIDTH)


def runs(effect: float, noise: float = 0.0) -> pd.DataFrame:
    """DIP's runs on two datasets: density follows A, new-class accuracy density by ``effect``."""
    chance, rows = np.random.default_rng(0), list[dict[str, Any]]()
    for seed in SEEDS:
        density = 0.5 + 0.1 * float(initial_factors(seed, SHAPE, 1)[0].norm())
        new = 50 + effect * density + noise * chance.normal()
        for dataset, up in (("greek", 3.0), ("boxes", -3.0)):
            for last in (False, True):
                values = {"id1": density, "id1_read": density, "base": 60 + up, "new": new + up}
                if not last:
                    values = dict.fromkeys(values, 0.0)
                more = {"singular": [1.0] * 4, "trainable": sum(SHAPE), "last": last}
                rows.append({"dataset": dataset, "seed": seed, **values, **more})
    return pd.DataFrame(rows)


def test_a_slope_is_that_of_the_seeds_and_its_interval_least_squares() -> None:
    table = page.by_seed(runs(effect=20))
    assert page.slope(table, "new").value == pytest.approx(2)  # 20 points a unit, a tenth of it
    assert page.slope(table, "base").value == pytest.approx(0, abs=1e-9)
    noisy = page.by_seed(runs(effect=0, noise=1.0))
    found = page.slope(noisy, "new")
    line = stats.linregress(noisy["id1"], noisy["new"])
    half = 0.1 * line.stderr * stats.t.ppf(0.975, len(SEEDS) - 2)
    assert [found.low, found.high] == pytest.approx([found.value - half, found.value + half])


def test_the_length_of_a_is_that_of_the_run_s_own_start() -> None:
    table = page.by_seed(runs(effect=0))
    starts = [float(initial_factors(seed, SHAPE, 1)[0].norm()) for seed in SEEDS]
    assert table["start"].tolist() == pytest.approx(starts)
    assert "+1.00" in page.sentence(table) and "8 seeds" in page.sentence(table)


def test_a_dataset_without_every_seed_is_left_out() -> None:
    whole = runs(effect=20)
    part = whole[~((whole["dataset"] == "boxes") & (whole["seed"] == 1))]
    assert page.by_seed(part)["base"].tolist() == [63.0] * len(SEEDS)


def test_two_seeds_are_too_few_and_give_no_number() -> None:
    few = runs(effect=20)
    table = page.by_seed(few[few["seed"] < 3])
    assert "too few" in page.sentence(table)
    assert page.numbers(table) == {} and page.slope(table, "new").endless
    assert page.numbers(page.by_seed(few)).keys() == {
        "base_per_drawn_density",
        "new_per_drawn_density",
        "h_per_drawn_density",
    }
