"""Page 21: every variant that was tried before the method was judged, as ``tried.toml`` has it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pandas as pd

from dip_lib.data import harmonic_mean

FILE = Path(__file__).parents[1] / "tried.toml"
"""Written while the method was developed: nothing is left out, and nothing was added since."""


def tried() -> dict[str, Any]:
    """What the file holds: "about", words and counts, and "variant", a list."""
    return tomllib.loads(FILE.read_text("utf-8"))


def variants() -> pd.DataFrame:
    """A row for each setting of each variant: its numbers, base, new and H of the averages."""
    rows = [
        {"variant": each["name"], "numbers": each["numbers"], **setting}
        for each in tried()["variant"]
        for setting in each["setting"]
    ]
    table = pd.DataFrame(rows)
    table["H"] = harmonic_mean(table["base"].to_numpy(), table["new"].to_numpy())
    return table


def best(table: pd.DataFrame) -> pd.DataFrame:
    """The row of each variant whose H is best; in the order in which they were tried."""
    places = table.groupby("variant", sort=False)["H"].idxmax()
    return table.loc[places].set_index("variant")


def variant_table(table: pd.DataFrame) -> pd.DataFrame:
    """Every setting of every variant as a reader sees it."""
    shown = table.assign(
        **{name: table[name].map("{:.1f}".format) for name in ("base", "new", "H")}
    )
    return shown.set_index(["variant", "setting"])


def counted(table: pd.DataFrame) -> str:
    """How many were tried, and what the best and the field's own reach: a sentence."""
    about, peaks = tried()["about"], best(table)
    size = about["numbers"]
    own, others = (peaks[(peaks["numbers"] == size) == same]["H"] for same in (True, False))
    return (
        f"{len(peaks)} variants with {len(table)} settings were tried on {len(about['datasets'])} "
        f"families. With {size} trainable numbers the best setting of a variant reached H between "
        f"{own.min():.1f} and {own.max():.1f} ({own.idxmax()}); {others.idxmax()}, with "
        f"{peaks.loc[others.idxmax(), 'numbers']}, {others.max():.1f}. These are the best of their "
        "settings on test images: they choose a method, and compare none."
    )


def chosen_table() -> pd.DataFrame:
    """Methods on the same families by the rule that judges: base, new and H of the averages."""
    chosen = {name: map("{:.1f}".format, row) for name, row in tried()["about"]["chosen"].items()}
    table = pd.DataFrame.from_dict(chosen, orient="index", columns=["base", "new", "H"])
    return table.rename_axis("method")


def numbers(table: pd.DataFrame) -> dict[str, int | float]:
    """The page's numbers of the development."""
    about, peaks = tried()["about"], best(table)
    own = peaks[peaks["numbers"] == about["numbers"]]
    return {
        "tried_variants": len(peaks),
        "tried_settings": len(table),
        "tried_best_h": float(own["H"].max()),
    }
