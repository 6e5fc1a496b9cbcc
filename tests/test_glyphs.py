"""Glyph World: its lists, its draws, its fonts, and the pre-training of its two CLIPs."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dip_lib.data import load_dataset
from dip_lib.errors import UnknownNameError
from dip_lib.randomness import uniform
from glyph_world import draw, families, models, styles, world
from glyph_world.captions import LOOKS, caption, tokenizer, vocabulary
from glyph_world.families import PER_CLASS, SHIFTS, glyph_dataset
from glyph_world.render import render
from glyph_world.world import FAMILIES, FONTS, HELD_OUT_FONTS, characters, members

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "pretraining"))  # as when one of its programs is run

import hard  # noqa: E402
from choose import choose  # noqa: E402
from corpus import Corpus  # noqa: E402
from encoders import text_features  # noqa: E402
from pretrain import RECIPES  # noqa: E402
from training import Recipe, train  # noqa: E402

TINY = Recipe(steps=8, batch=32)


def digests(images: Tensor) -> list[str]:
    return [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in images]


def first_images(name: str, style: str, split: str, view: int | None = None) -> Tensor:
    return next(glyph_dataset(name, style).batches(split, (view,)))[0]


# ---- the lists ----------------------------------------------------------------------------------


def test_eleven_families_of_twenty_to_sixty_four_classes_named_alphabetically() -> None:
    assert len(FAMILIES) == 11
    for family in FAMILIES:
        names = glyph_dataset(family).class_names
        assert 20 <= len(names) <= 64
        assert len(set(names)) == len(names)
        assert list(names) == sorted(names)


def test_the_source_set_and_the_families_share_no_character() -> None:
    sets = {name: set(members(name)) for name in (*FAMILIES, "source")}
    for one, other in combinations(sets, 2):
        assert not sets[one] & sets[other], (one, other)
    assert set().union(*sets.values()) == set(characters())


def test_the_committed_list_is_what_the_rule_chooses() -> None:
    assert choose() == world.world()["sets"]


def test_each_class_has_its_images_in_every_split() -> None:
    dataset = glyph_dataset("dominoes")
    for split, count in PER_CLASS.items():
        labels = dataset.labels(split)
        assert torch.bincount(labels).tolist() == [count] * len(dataset.class_names)
        assert sum(images.shape[1] for images in dataset.batches(split)) == len(labels)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="greeek"):
        glyph_dataset("greeek")
    with pytest.raises(UnknownNameError, match="source-v3"):
        load_dataset("source-v3")
    with pytest.raises(UnknownNameError, match="miror"):
        glyph_dataset("greek", "miror")
    with pytest.raises(UnknownNameError, match="tests"):
        glyph_dataset("greek").labels("tests")
    with pytest.raises(UnknownNameError, match="train"):
        glyph_dataset("source-v2").labels("train")
    with pytest.raises(UnknownNameError, match="DejaVuSan"):
        world.font_path("DejaVuSan")


# ---- draws --------------------------------------------------------------------------------------


def test_a_draw_is_the_same_twice_and_in_a_fresh_process() -> None:
    code = (
        "import hashlib; from glyph_world.families import glyph_dataset as g\n"
        "for view in (None, 1):\n"
        "    images = next(g('latin').batches('val', (view,)))\n"
        "    print(hashlib.sha256(images.numpy().tobytes()).hexdigest())\n"
    )
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for _ in range(2):
        here = [first_images("latin", "default", "val", view) for view in (None, 1)]
        printed = [hashlib.sha256(images.numpy().tobytes()).hexdigest() for images in here]
        assert fresh.stdout.split() == printed


def test_no_two_splits_or_views_share_an_image() -> None:
    dataset = glyph_dataset("greek")
    draws = [("train", None), ("train", 0), ("train", 1), ("val", None), ("test", None)]
    shown = (images for split, view in draws for images in dataset.batches(split, (view,)))
    seen = [digest for (images,) in shown for digest in digests(images)]
    per_class = sum(PER_CLASS[split] for split, _ in draws)
    assert len(set(seen)) == len(seen) == per_class * len(dataset.class_names)


def test_a_view_shows_the_same_glyphs_in_another_crop() -> None:
    dataset = glyph_dataset("boxes")
    plain, crop = next(dataset.batches("train", (None, 0)))
    assert plain.shape == crop.shape == (256, 3, 48, 48)
    # a crop keeps the colours of its image, up to what lies outside
    means = torch.stack([plain.mean((2, 3)).flatten(), crop.mean((2, 3)).flatten()])
    assert torch.corrcoef(means)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("name", "style", "view", "recorded"),
    [
        ("greek", "default", None, -83.612),
        ("greek", "default", 2, -83.982),
        ("latin", "default", None, -8.685),
        ("latin", "default", 2, 55.702),
        ("arrows", "rotation", 0, -55.735),
    ],
)
def test_the_pixels_are_those_that_the_committed_results_saw(
    name: str, style: str, view: int | None, recorded: float
) -> None:
    # other views beside it change nothing
    images = torch.cat([i[1] for i in glyph_dataset(name, style).batches("val", (5, view))])
    # a sum that one other or misplaced picture moves by about 25, and another processor by 1e-3
    found = (images * (uniform(0, 0, images.shape) - 0.5)).double().sum().item()
    assert found == pytest.approx(recorded, abs=0.05)


def test_some_rows_are_those_rows_of_the_whole_split() -> None:
    dataset = glyph_dataset("source-a")
    whole = torch.cat(list(dataset.batches("test", (None, 1), range(300))), 1)
    rows = [0, 7, 255, 256, 299]
    found = torch.cat(list(dataset.batches("test", (1, None), rows)), 1)
    assert torch.equal(found, whole[[1, 0]][:, rows])
    with pytest.raises(ValueError, match="rows"):
        next(dataset.batches("test", rows=[3, 2]))
    assert not list(dataset.batches("test", rows=[]))


def test_a_larger_tower_sees_the_same_pictures_enlarged() -> None:
    dataset = glyph_dataset("greek")
    drawn, large = (next(dataset.batches("val", rows=[0, 1], size=s)) for s in (None, 96))
    assert large.shape == (1, 2, 3, 96, 96)
    assert 0 <= large.min() <= large.max() <= 1
    small = torch.nn.functional.interpolate(large[0], (48, 48), mode="area")
    assert (small - drawn[0]).abs().mean() < 0.02


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_augments_as_the_cpu_does() -> None:
    for on_cpu, on_gpu in zip(
        *(glyph_dataset("greek").batches("val", (None, 3), device=d) for d in ("cpu", "cuda")),
        strict=True,
    ):
        assert on_gpu.device.type == "cuda"
        torch.testing.assert_close(on_gpu.cpu(), on_cpu, atol=1e-3, rtol=0)


def test_any_family_can_be_drawn_in_any_style() -> None:
    pairing = [styles.PAIRING[family] for family in FAMILIES]
    assert len(set(pairing)) == 11
    made = [glyph_dataset(family, style) for family in FAMILIES for style in pairing]
    assert len({dataset.fingerprint for dataset in made}) == 121
    for family in FAMILIES:
        named = glyph_dataset(family, styles.PAIRING[family])
        assert named.fingerprint == glyph_dataset(family).fingerprint
    assert sorted(styles.SYSTEMATIC + styles.DESTRUCTIVE) == sorted(FAMILIES)


@pytest.mark.parametrize("style", [*styles.STYLES])
def test_a_style_changes_pixels_but_neither_labels_nor_fonts(style: str) -> None:
    plain, shown = glyph_dataset("arrows", "plain"), glyph_dataset("arrows", style)
    (images,) = next(shown.batches("val"))
    assert images.shape == (256, 3, 48, 48)
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.flatten(1).std(1).median() > 0.05  # something is drawn
    assert torch.equal(images, next(plain.batches("val"))[0]) == (style == "plain")
    assert torch.equal(shown.labels("val"), plain.labels("val"))
    assert shown.drawn_fonts("val") == plain.drawn_fonts("val")


def test_the_shifts_of_the_source_set() -> None:
    source = glyph_dataset("source")
    for name in SHIFTS:
        shifted = glyph_dataset(name)
        assert shifted.splits == ("test",)
        assert set(shifted.class_names) <= set(source.class_names)
        assert next(shifted.batches("test")).shape[2:] == (3, 48, 48)
        assert shifted.fingerprint != source.fingerprint
    assert set(glyph_dataset("source-v2").drawn_fonts("test")) == set(HELD_OUT_FONTS)
    assert set(source.drawn_fonts("test")) == set(FONTS)


def test_an_image_says_whether_pretraining_knew_its_font() -> None:
    dataset = glyph_dataset("greek")
    by_group = dict(zip(dataset.drawn_fonts("test"), dataset.groups("test"), strict=True))
    assert by_group.keys() == set(FONTS)
    for font, group in by_group.items():
        assert group == ("other fonts" if font in HELD_OUT_FONTS else "pre-training fonts")


def test_the_hard_images_were_chosen_by_the_committed_tower() -> None:
    listed = json.loads(families.HARD_FILE.read_text())
    assert listed["weights"] == models.fingerprint(hard.TOWER)
    dataset = glyph_dataset("source-a")
    total = len(dataset.class_names) * families.HARD_DRAWS
    drawn = sum(images.shape[1] for images in dataset.batches("test"))
    assert len(dataset.labels("test")) == drawn
    assert listed["kept"] == sorted(set(listed["kept"]))
    assert set(listed["kept"]) <= set(range(total))


# ---- fonts --------------------------------------------------------------------------------------


@pytest.fixture
def forgetful() -> Iterator[None]:
    """Masks are drawn once a process; forget them before and after."""
    draw.masks.cache_clear()
    yield
    draw.masks.cache_clear()


def test_this_machine_draws_the_committed_pixels() -> None:
    assert draw.changed_fonts(draw.every_mask()) == []
    files = {font: draw.font_digest(font) for font in FONTS}
    assert files == {font: recorded["file"] for font, recorded in world.world()["fonts"].items()}


@pytest.mark.usefixtures("forgetful")
def test_a_font_that_renders_differently_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    other = world.world()["fonts"]["STIXGeneral"]["masks"]
    monkeypatch.setitem(world.world()["fonts"]["DejaVuSerif"], "masks", other)
    with pytest.warns(UserWarning, match="DejaVuSerif"):
        draw.masks()


def test_a_digest_tells_fonts_and_characters_apart() -> None:
    points = characters()[:30]

    def digest(font: str, of: list[int]) -> str:
        return draw.mask_digest(draw.draw(point, font) for point in of)

    assert digest("DejaVuSans", points) == digest("DejaVuSans", points)
    assert digest("DejaVuSans", points) != digest("DejaVuSans-Bold", points)
    assert digest("DejaVuSans", points) != digest("DejaVuSans", points[1:])
    assert draw.draw(0x1F600, "STIXGeneral") is None  # a character that the font does not have


# ---- words --------------------------------------------------------------------------------------


def test_every_token_of_every_caption_is_in_the_vocabulary() -> None:
    known, random = set(vocabulary().tolist()), np.random.default_rng(0)
    for point in characters():
        for text in {caption(point, list(LOOKS), random) for _ in range(20)}:
            assert known.issuperset(tokenizer().encode(text)), text


@pytest.mark.parametrize("name", families.NAMES)
def test_every_class_can_be_named(name: str) -> None:
    known, dataset = set(vocabulary().tolist()), glyph_dataset(name)
    for label in dataset.class_names:
        for text in (dataset.template.format(label), f"a photo of a {label}."):
            assert known.issuperset(tokenizer().encode(text)), text


def test_the_words_for_looks_are_the_captions_own() -> None:
    masks = torch.from_numpy(draw.masks().pixels[:8])
    _, tags = render(masks, styles.GENERIC, torch.Generator().manual_seed(0))
    assert set(tags) <= set(LOOKS)
    assert all(applies.shape == (8,) for applies in tags.values())


# ---- models and pre-training --------------------------------------------------------------------


@pytest.mark.parametrize("name", models.committed())
def test_committed_weights_load_and_match_their_card(name: str) -> None:
    model, seen = models.load_glyph_clip(name)
    assert seen == frozenset(vocabulary().tolist())
    card, scale = json.loads(models.CARD.read_text())[name], model.logit_scale.exp().item()
    assert card["recipe"] == vars(RECIPES[name])
    assert card["bytes"] == models.weights_path(name).stat().st_size <= 5e6
    assert card["logit_scale"] == pytest.approx(scale, rel=2e-3)


def test_packed_weights_unpack_to_half_precision() -> None:
    torch.manual_seed(0)
    ids = vocabulary()
    small = models.build("glyph-vit", len(ids)).eval()
    whole, seen = models.unpack("glyph-vit", models.pack(small, ids))
    assert seen == frozenset(ids.tolist())
    ours, theirs = small.state_dict(), whole.state_dict()
    table = theirs.pop("token_embedding.weight")
    assert torch.equal(table[ids], ours.pop("token_embedding.weight").half().float())
    assert not table[sorted(set(range(len(table))) - set(ids.tolist()))].any()
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        torch.testing.assert_close(theirs[key], value, rtol=1e-3, atol=1e-6)


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    corpus = Corpus()
    first, again = corpus.batch(32, 0, 3), corpus.batch(32, 0, 3)
    for key, value in vars(first).items():
        assert torch.equal(value, vars(again)[key])
    for other in (corpus.batch(32, 0, 4), corpus.batch(32, 1, 3)):
        assert not torch.equal(first.character[:16], other.character[:16])
    assert len(first.character) == len(first.images) == len(first.tokens) <= TINY.batch
    assert len(set(first.character.tolist())) == len(first.character)


def test_short_texts_without_padding_have_the_features_of_the_model() -> None:
    model, corpus = models.build("glyph-vit", len(vocabulary())).eval(), Corpus()
    tokens = corpus.tokens(["a small alpha.", "the character greek small letter alpha.", "bold."])
    padded = torch.nn.functional.pad(tokens, (0, model.context_length - tokens.shape[1]))
    with torch.no_grad():
        theirs = model.encode_text(padded, normalize=True)
        torch.testing.assert_close(text_features(model, tokens), theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("own", [False, True])
def test_beside_a_teacher_the_text_encoder_is_its_own_or_the_teachers(
    own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIP_HOME", str(tmp_path))
    recipe = Recipe(steps=2, batch=16, teacher="glyph-resnet", own_text=own, scale_floor=60.0)
    trained, _ = train("glyph-vit", recipe)
    teacher, _ = models.load_glyph_clip("glyph-resnet")
    texts = tokenizer()(["a photo of a greek small letter alpha."])
    ids = torch.zeros(models.VOCABULARY, dtype=torch.long)
    ids[vocabulary()] = torch.arange(len(vocabulary()))
    with torch.no_grad():
        ours, theirs = trained.encode_text(ids[texts], True), teacher.encode_text(texts, True)
    assert torch.allclose(ours, theirs, atol=1e-5) != own
    assert trained.logit_scale.exp().item() == pytest.approx(60, rel=0.01)  # the floor


def test_a_killed_pretraining_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import torch; torch.set_num_threads(1)\n"
        "from training import Recipe, train\n"
        f"train('glyph-resnet', Recipe(steps={TINY.steps}, batch={TINY.batch}), every=1)"
    )
    saved = tmp_path / "home" / "pretrain" / "glyph-resnet.pt"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT / "pretraining", stderr=subprocess.DEVNULL
    )
    while not saved.is_file():
        assert process.poll() is None, "ended before its first checkpoint"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = torch.load(saved, weights_only=True)["step"]
    assert 1 <= reached < TINY.steps
    resumed, _ = train("glyph-resnet", TINY, every=TINY.steps)
    monkeypatch.setenv("DIP_HOME", str(tmp_path / "other"))
    whole, _ = train("glyph-resnet", TINY, every=TINY.steps)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    # a checkpoint of another recipe is not gone on from
    longer, _ = train("glyph-resnet", replace(TINY, steps=1))
    assert not torch.equal(longer.visual.conv1.weight, whole.visual.conv1.weight)
