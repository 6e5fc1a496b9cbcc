"""What a tower cannot see: on every tower of the worlds, and in CLIP's own layouts."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from dip_book.pages.invisible_directions import ON_IMAGES, ON_TEXT, Change
from dip_book.pages.invisible_towers import (
    BEYOND,
    EXACT,
    FAILS,
    Seen,
    densities_table,
    kinds_table,
    of_tower,
    seen,
    sizes_table,
)
from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone

WITH_IMAGE_TOKENS = ("glyph-vit", "ViT-B-16")


@pytest.mark.parametrize("name", ["glyph-resnet", "glyph-vit", "photo-lite0", "ViT-B-16", "RN50"])
def test_every_tower_is_blind_to_the_same_changes(name: str) -> None:
    torch.manual_seed(0)  # of the layouts' random weights
    found = of_tower(load_backbone(name))
    assert {name: found[name].kind for name in ON_TEXT} == dict.fromkeys(ON_TEXT, "exact")
    for each in found.values():
        assert each.random > 10 * EXACT  # a random change as large is seen
    constant = found["constant in a token"].densities
    assert constant["ID₁"][1] > constant["ID₁"][0] + 0.2
    assert constant["ID₁ centred"][1] == pytest.approx(constant["ID₁ centred"][0], abs=1e-3)
    moved = found["gauge of the tables"].densities
    assert abs(moved["ID₁ centred"][1] - moved["ID₁ centred"][0]) > 0.1
    for each in found.values():  # the repair: as read, nothing of this is seen
        before, after = each.densities["ID₁ as read"]
        if each.kind != FAILS:
            assert after == pytest.approx(before, abs=0.02)
    assert (found.keys() == {*ON_TEXT, *ON_IMAGES}) == (name in WITH_IMAGE_TOKENS)
    if name in WITH_IMAGE_TOKENS:
        assert found["image token's scale"].kind == BEYOND
        assert found["constant through MaPLe"].kind == FAILS


def test_the_kind_follows_from_the_measured_changes() -> None:
    def of(*changes: float, without_eps: float = math.nan) -> str:
        return Seen(changes, 1.0, without_eps, {}).kind

    assert of(0.0, EXACT) == "exact"
    assert of(0.0, 2 * EXACT, without_eps=EXACT) == BEYOND
    assert of(2 * EXACT, 0.0, without_eps=2 * EXACT) == FAILS
    assert of(2 * EXACT) == FAILS


def test_a_change_that_is_seen_fails() -> None:
    clip = load_backbone("glyph-vit")

    def scaled(clip: Backbone, size: float, seed: int) -> Change:  # is none of a text tower
        prompt, names = clip.context("a photo of a"), ("greek letter", "small arrow")
        both = prompt, (1 + size) * prompt
        output = partial(clip.class_embeddings, class_names=names)
        return Change(both, both, output, output(both[1]))

    assert seen(clip, scaled).kind == FAILS


def test_tables_have_a_row_for_what_they_show() -> None:
    pair = {"ID₁": (0.3, 0.9), "ID₁ centred": (0.3, 0.3), "ID₁ as read": (0.3, 0.3)}
    exact = Seen((1e-7, 1e-7, 2e-7), 0.1, math.nan, pair)
    fails = Seen((1e-2, 1e-1, 0.3), 0.1, 0.3, pair)
    (name, *_), (other, *_) = ON_TEXT, ON_IMAGES
    table = kinds_table({"one": {name: exact}, "two": {name: exact, other: fails}})
    assert list(table.index) == ["one", "two"]
    assert table.loc["one", name] == "exact" and table.loc["one", other] == ""
    assert table.loc["two", other] == FAILS
    sizes = sizes_table({"one": {name: exact}, "two": {name: exact, other: fails}})
    assert sizes.loc[("two", other), "100 SD"] == 0.3
    assert densities_table({name: exact}).loc[name, "ID₁, after"] == 0.9
