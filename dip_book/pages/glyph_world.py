"""Page 01: Glyph World's families, zero-shot accuracy of its two CLIPs, and a first prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pandas as pd

from dip_book.interval import Interval
from dip_book.tables import Array, averages, final
from glyph_world.families import GlyphDataset, glyph_dataset
from glyph_world.styles import SYSTEMATIC
from glyph_world.world import HELD_OUT_FONTS

Families = Mapping[str, GlyphDataset]


def families_of(names: Iterable[str]) -> dict[str, GlyphDataset]:
    """Name -> the family in its own style."""
    return {name: glyph_dataset(name) for name in names}


def finding(zero: pd.DataFrame, families: Families, tower: str) -> str:
    """The page's finding: the number of classes, and the zero-shot accuracy of one backbone."""
    accuracy = averages(zero[zero["backbone"] == tower])
    classes = sum(len(family.class_names) for family in families.values())
    return (
        f"**Finding.** {len(families)} families with {classes} classes, each drawn in a style that "
        f"shifts away from pre-training. Without tuning, zero-shot `{tower}` classifies "
        f"**{accuracy['base'].value:.0f} %** of the base classes' test images and "
        f"**{accuracy['new'].value:.0f} %** of the new ones' correctly: with room to improve, as "
        "CLIP on photo datasets."
    )


def pictures(families: Families, count: Callable[[GlyphDataset], int]) -> dict[str, Array]:
    """ "name · style" -> pictures (K, S, S, 3) of ``count`` evenly spread classes of a family."""
    return {
        f"{name} · {family.style}": family.examples(count(family)).permute(0, 2, 3, 1).numpy()
        for name, family in families.items()
    }


def zero_shot_table(zero: pd.DataFrame, families: Families) -> pd.DataFrame:
    """Each family's style, size and zero-shot accuracy by each backbone; their averages below."""
    about = {
        name: {
            "style": family.style,
            "kind": "systematic" if name in SYSTEMATIC else "destructive",
            "classes": len(family.class_names),
        }
        for name, family in families.items()
    }
    scores = {
        f"{tower} {half}": {name: values[0] for name, values in final(runs, half).items()}
        for tower, runs in zero.groupby("backbone", sort=False)
        for half in ("base", "new")
    }
    table = pd.DataFrame(about).T.join(pd.DataFrame(scores).round(1))
    table.loc["average"] = table[[*scores]].mean().round(1)
    return table.fillna("")


def font_table(zero: pd.DataFrame, families: Families) -> pd.DataFrame:
    """Zero-shot accuracy, mean of base and new, by whether pre-training had the font.

    A row for each family that at least three of the other fonts can draw.
    """
    rows = {}
    for name, groups in zero.set_index("dataset")["by_group"].items():
        covering = set(families[name].drawn_fonts("test")) & set(HELD_OUT_FONTS)
        if len(covering) >= 3:
            rows[name] = {g: round((s["base"] + s["new"]) / 2, 1) for g, s in groups.items()}
            rows[name]["other fonts that draw it"] = str(len(covering))
    return pd.DataFrame(rows).T


def first_and_last(run: pd.DataFrame) -> str:
    """Where one run started and ended, in a line."""
    first, last = run.iloc[0], run.iloc[-1]
    return (
        f"{last['label']} · {last['trainable']} trainable parameters · {last['dataset']}: base "
        f"{first['base']:.1f} → {last['base']:.1f} %, new {first['new']:.1f} → {last['new']:.1f} %"
    )


def numbers(zero: pd.DataFrame, families: Families) -> dict[str, Interval | int]:
    """The page's numbers: zero-shot accuracy by each backbone, and the size of the world."""
    values: dict[str, Interval | int] = {
        f"{tower}_{half}": score
        for tower, runs in zero.groupby("backbone")
        for half, score in averages(runs).items()
    }
    classes = sum(len(family.class_names) for family in families.values())
    return values | {"classes": classes, "families": len(families)}
