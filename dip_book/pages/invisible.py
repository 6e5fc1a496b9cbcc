"""Page 17: what Information Density cannot see, and what is left of Figure 1.

Drifts are 1 - cosine of class embeddings, centred over the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from dip_book import worlds
from dip_book.pages.invisible_directions import ON_TEXT
from dip_book.pages.invisible_runs import WAYS
from dip_book.pages.invisible_towers import Seen
from dip_book.slider import Bars
from dip_lib.data.dataset import dataset_title

CONSTANT = next(iter(ON_TEXT))
Towers = Mapping[str, Mapping[str, Seen]]


@dataclass(frozen=True, eq=False)
class Found:
    """What the page measures in one world.

    Attributes:
        trainings, searches: a row for each prompt of ``invisible_runs.trained`` and
            ``searched``, on every dataset.
        slid: of the first dataset, the trained prompt with an invisible direction added.
    """

    trainings: pd.DataFrame
    searches: pd.DataFrame
    slid: pd.DataFrame


# ---- averages ------------------------------------------------------------------------------------

VALUES = ["id", "id_read", "base", "new", "drift_base", "drift_new", "drift_words"]


def mean_searches(found: Found) -> pd.DataFrame:
    """Start x way, from the flattest to the densest: averages over datasets."""
    means = found.searches.groupby(["start", "way"], sort=False)[VALUES].mean()
    middle, denser, flatter = WAYS
    ways = (flatter, middle, denser)
    order = [(start, way) for start in means.index.unique(0) for way in ways]
    return means.loc[order]


def mean_trainings(found: Found) -> pd.DataFrame:
    """Training x step: averages over datasets."""
    return found.trainings.groupby(["training", "step"], sort=False)[VALUES].mean()


def means(found: Found) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both, as the figure takes them."""
    return mean_searches(found), mean_trainings(found)


TITLES = {
    "id": "ID₁",
    "id_read": "as-read ID₁",
    "drift_base": "drift, base",
    "drift_new": "drift, new",
    "drift_words": "drift, words",
}


DIGITS = dict.fromkeys(TITLES.values(), 4) | {"base": 1, "new": 1}
"""Of the columns of the two tables below."""


def searches_table(found: Found) -> pd.DataFrame:
    """:func:`mean_searches` with the titles of a table."""
    return mean_searches(found)[[*TITLES, "base", "new"]].rename(columns=TITLES)


def trainings_table(found: Found) -> pd.DataFrame:
    """The start of training, and where each training ends: averages over datasets."""
    paths = mean_trainings(found)
    ends = {name: paths.loc[name].iloc[-1] for name in paths.index.unique(0)}
    rows = {"start": paths.iloc[0]} | ends
    return pd.DataFrame(rows).T[[*TITLES, "base", "new"]].rename(columns=TITLES)


def moved(found: Found) -> pd.DataFrame:
    """Dataset x start: how far the densest and the flattest prompt found are apart.

    Columns: id_read, and the largest change of base and of new accuracy from the prompt as it is.
    """
    rows = {}
    for place, each in found.searches.groupby(["dataset", "start"], sort=False):
        by_way = each.set_index("way")
        change = (by_way[["base", "new"]] - by_way.loc[WAYS[0], ["base", "new"]]).abs().max()
        spread = by_way["id_read"].max() - by_way["id_read"].min()
        rows[place] = {"id_read": spread, "base": change["base"], "new": change["new"]}
    return pd.DataFrame(rows).T


# ---- what is said --------------------------------------------------------------------------------


def finding(found: Mapping[str, Found], seen: Towers) -> str:
    """The page's finding: the towers, then each world."""
    blind = [tower for tower, each in seen.items() if each[CONSTANT].kind == "exact"]
    before, after = next(iter(seen.values()))[CONSTANT].densities["ID₁"]
    largest = max(max(each[CONSTANT].changes) for each in seen.values())
    said = {world: _found(each) for world, each in found.items()}
    return (
        f"**Finding.** A constant added to every entry of a token changes no class embedding on "
        f"{len(blind)} of {len(seen)} towers (largest change of an entry {largest:.0e}), and takes "
        f"ID₁ of the prompt from {before:.2f} to {after:.2f}.\n\n" + worlds.paragraphs(said)
    )


def _found(found: Found) -> str:
    """Density at the same function, and function at the same density, in one world."""
    searches, apart = mean_searches(found)["id_read"], moved(found).mean()
    words, tuned = (searches.loc[start] for start in ("words", "trained"))
    held, others = (found.searches[f"drift_{kind}"].max() for kind in ("base", "new"))
    ends = trainings_table(found)
    free, same = (ends.loc[name] for name in ("free", "spectrum held"))
    start = ends.loc["start"]
    return (
        f"With the base classes' embeddings held (drift at most {held:.4f}; of new classes "
        f"{others:.4f}; training moves these by {free['drift, new']:.2f}), as-read ID₁ of the "
        f"words goes from {words.min():.2f} to {words.max():.2f} and that of a trained prompt from "
        f"{tuned.min():.2f} to {tuned.max():.2f}, while accuracy on new classes moves by "
        f"{apart['new']:.1f} points on average. Trained with its as-read spectrum "
        f"held at {same['as-read ID₁']:.2f}, the prompt changes new classes by "
        f"{same['new'] - start['new']:+.1f} points and base classes by "
        f"{same['base'] - start['base']:+.1f}; trained freely, by "
        f"{free['new'] - start['new']:+.1f} and {free['base'] - start['base']:+.1f}."
    )


def left(found: Mapping[str, Found]) -> str:
    """What is left of Figure 1: of the change in accuracy, the part that needs no density."""
    return worlds.paragraphs({world: _left(each) for world, each in found.items()})


def _left(found: Found) -> str:
    ends = trainings_table(found)
    free, same, start = (ends.loc[name] for name in ("free", "spectrum held", "start"))
    return (
        f"In free training new-class accuracy moves by {free['new'] - start['new']:+.1f} points "
        f"while as-read ID₁ goes from {start['as-read ID₁']:.2f} to {free['as-read ID₁']:.2f}. "
        f"With the spectrum held it moves by {same['new'] - start['new']:+.1f} points, and "
        f"as-read ID₁ by {abs(same['as-read ID₁'] - start['as-read ID₁']):.4f}. The new classes' "
        f"embeddings drift by {free['drift, new']:.3f} and {same['drift, new']:.3f}."
    )


def bars(found: Mapping[str, Found]) -> list[Bars]:
    """The slider's panels, one a world."""
    return [
        Bars(
            f"{world}, {dataset_title(rows['dataset'].iloc[0])}",
            ("the prompt", "as block 1 reads it"),
            [
                [[round(row[name], 3) for name in row.index if _is_share(name, kind)]
                 for kind in ("share", "read")]
                for _, row in rows.iterrows()
            ],
            [_line(row) for _, row in rows.iterrows()],
            bar="singular values",
            axis="share of their sum",
        )
        for world, each in found.items()
        for rows in (each.slid,)
    ]  # fmt: skip


def _is_share(name: str, kind: str) -> bool:
    return name.startswith(kind) and name.removeprefix(kind).isdigit()


def _line(row: pd.Series) -> str:
    return (
        f"ID₁ {row['id']:.2f}, as read {row['id_read']:.2f}. Accuracy {row['base']:.1f} % on base "
        f"and {row['new']:.1f} % on new classes; {row['changed']} of {row['images']:,} predictions "
        "changed."
    )


def positions(found: Mapping[str, Found]) -> list[str]:
    """What each position of the slider is called."""
    first, *_ = found.values()
    return [f"{size:.3g} SD" for size in first.slid["added"]]


# ---- numbers -------------------------------------------------------------------------------------


def numbers(found: Found) -> dict[str, float]:
    """The page's numbers of one world."""
    table, ends = mean_searches(found), trainings_table(found)
    start, free, same = (ends.loc[name] for name in ("start", "free", "spectrum held"))
    return {
        "read_flattest": float(table["id_read"].min()),
        "read_densest": float(table["id_read"].max()),
        "read_moved": float(moved(found)["id_read"].mean()),
        "same_function_new": float(moved(found)["new"].mean()),
        "same_function_drift": float(found.searches["drift_base"].max()),
        "free_new": float(free["new"] - start["new"]),
        "held_new": float(same["new"] - start["new"]),
        "free_base": float(free["base"] - start["base"]),
        "held_base": float(same["base"] - start["base"]),
        "predictions_changed": float(found.slid["changed"].max()),
    }


def tower_numbers(seen: Towers) -> dict[str, int | float]:
    """The page's numbers of all towers."""
    exact = [each[CONSTANT].kind == "exact" for each in seen.values()]
    largest = max(max(each[CONSTANT].changes) for each in seen.values())
    return {"towers": len(seen), "towers_blind": sum(exact), "constant_change": largest}
