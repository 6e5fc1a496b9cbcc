"""How often 95 % intervals hold the truth, by simulation.

``python -m dip_book.coverage`` writes ``results/coverage.json``, which the book shows.

Studies are made whose truth is known: D datasets with S seeds within, datasets and seeds drawn from
normal numbers or from residuals of the committed book, which are skewed. The share of intervals
that hold the truth is their coverage.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dip_book.claims import load_claims
from dip_book.estimates import Array, average, jackknife, median_of, over_seeds
from dip_book.evidence import find_number
from dip_book.statistics import average_h_difference
from dip_lib.files import write_atomic
from dip_lib.paths import root

Draw = Callable[[tuple[int, ...]], Array]
"""Residuals with mean 0 and variance 1, in the asked shape."""
COVERAGE = "coverage.json"
DATASETS = (6, 8, 11, 22)
SEEDS = 5
STUDIES = 2000
ACROSS, WITHIN = 2.0, 1.0
"""Standard deviations of datasets and of seeds, in points, about those of DIP minus CoOp."""
METHODS = np.array([74.0, 52.0, 76.0, 49.0])
"""Base and new accuracy of one method, then of another: where the simulated studies lie."""


def normal(rng: np.random.Generator) -> Draw:
    """Normal residuals."""
    return lambda shape: rng.standard_normal(shape)


def drawn_from(residuals: Array, rng: np.random.Generator) -> Draw:
    """Residuals drawn with replacement from some that have mean 0 and variance 1."""
    return lambda shape: rng.choice(residuals, shape)


def standardised(units: Iterable[float]) -> Array:
    """Units with their mean taken away, in units of their standard deviation."""
    each = np.asarray([*units], dtype=float)
    return (each - each.mean()) / each.std()


def committed_residuals(claims: Path, numbers: Path) -> dict[str, Array]:
    """Claim -> the residuals of its units, of every claim and world that has spread in them."""
    found = {}
    for claim in load_claims(claims):
        for world in claim.worlds:
            units = (find_number(claim, world, numbers) or {}).get("units", ())
            if len(units) >= min(DATASETS) and np.ptp(units) > 0:
                found[f"{claim.id} {world}"] = standardised(units)
    return found


def of_averages(draw: Draw, datasets: int, studies: int = STUDIES) -> float:
    """Coverage of the interval of an average over new datasets."""
    means = ACROSS * draw((studies, datasets)) + _noise(draw, studies, datasets)
    return _share(jackknife(each, average).ends_hold(0.0) for each in means)


def of_h_differences(draw: Draw, datasets: int, studies: int = STUDIES) -> float:
    """Coverage of the interval of a difference of H of averages, over new datasets."""
    truth = float(average_h_difference(METHODS[None, None])[0])
    level = 10 * draw((studies, datasets, 1))  # of the dataset, which both methods share
    own = ACROSS * draw((studies, datasets, 4)) + WITHIN * draw((studies, datasets, 4)) / SEEDS**0.5
    means = METHODS + level + own
    return _share(jackknife(each, average_h_difference).ends_hold(truth) for each in means)


def of_these_datasets(draw: Draw, datasets: int, studies: int = STUDIES) -> float:
    """Coverage of the interval of an average over seeds, with the datasets as they are."""
    truths = ACROSS * draw((studies, datasets))
    seeds = truths[..., None] + WITHIN * draw((studies, datasets, SEEDS))
    held = []
    for truth, each in zip(truths.mean(1), seeds, strict=True):
        ends = over_seeds([*each], average)
        held.append(ends is not None and ends[0] <= truth <= ends[1])
    return _share(held)


def of_medians(draw: Draw, datasets: int, studies: int = STUDIES) -> float:
    """Coverage of the interval of a median over new datasets."""
    truth = float(np.median(draw((100_000,))))
    tables = draw((studies, datasets))
    return _share(
        median_of({str(i): v for i, v in enumerate(each)}).ends_hold(truth) for each in tables
    )


def _noise(draw: Draw, studies: int, datasets: int) -> Array:
    return WITHIN * draw((studies, datasets, SEEDS)).mean(2)


def _share(held: Iterable[bool]) -> float:
    return float(np.mean([*held]))


KINDS = {
    "average": of_averages,
    "difference of H": of_h_differences,
    "median": of_medians,
    "average, these datasets": of_these_datasets,
}
"""What the intervals are of -> their simulation."""


def pools(claims: Path, results: Path) -> dict[str, Array]:
    """What residuals are called -> those that the committed book offers.

    All claims' together; of H's difference over every family in every style; and of the claim whose
    units are most skewed.
    """
    residuals = committed_residuals(claims, results / "numbers")
    most = max(residuals, key=lambda name: abs(skewness(residuals[name])))
    pairs = pd.read_csv(results / "data" / "12_rotation" / "map.csv", index_col=0)
    return {
        "all claims": np.concatenate([*residuals.values()]),
        "family and style": standardised(pairs.to_numpy().ravel()),
        f"most skewed: {most}": residuals[most],
    }


def skewness(residuals: Array) -> float:
    """The mean cube of residuals that have mean 0 and variance 1; 0 for symmetric ones."""
    return float((residuals**3).mean())


def report(residuals: Mapping[str, Array], studies: int = STUDIES) -> list[dict[str, Any]]:
    """A row for each kind of interval and of residuals: skew, and coverage in per cent by D."""
    rng = np.random.default_rng(0)
    draws = {name: drawn_from(each, rng) for name, each in residuals.items()}
    rows = []
    for kind, simulate in KINDS.items():
        for name, draw in {"normal": normal(rng), **draws}.items():
            shares = {str(d): round(100 * simulate(draw, d, studies), 1) for d in DATASETS}
            skew = round(skewness(residuals[name]), 2) if name in residuals else 0.0
            rows.append({"of": kind, "residuals": name, "skew": skew, "coverage": shares})
    return rows


def write_report(claims: Path, results: Path) -> None:
    """Write ``report`` to COVERAGE among the results, a line a row."""
    lines = ",\n".join(json.dumps(row) for row in report(pools(claims, results)))
    write_atomic(results / COVERAGE, f"[\n{lines}\n]\n".encode())


def main() -> None:
    if not (checkout := root()):
        raise SystemExit("the claims lie in a checkout, which is not here")
    write_report(checkout / "book" / "claims.toml", checkout / "results")


if __name__ == "__main__":
    main()
