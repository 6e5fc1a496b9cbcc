"""The page that learns, without a browser: its scripts under Node compute what the library does.

In a real browser the page is looked at by ``tests/slow/test_train_here_page.py``.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from node_process import Ask, asked

from dip_book.train_here import Given, best_levels, pack, unpack
from dip_book.train_here_runs import evaluated, prepared
from dip_lib import load_backbone, randomness
from dip_lib.clip.backbone import Backbone
from dip_lib.data.protocols import Classes, draw
from dip_lib.errors import UnknownWordsError
from dip_lib.methods.coop import CoOp
from dip_lib.methods.prompts import Batch
from dip_lib.prompt.density import singular_values
from dip_lib.training.loop import train_epochs
from dip_lib.training.parts import LowRank, Schedule
from glyph_world.families import glyph_dataset

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book" / "_ext"))  # as Sphinx does
from companion.train_here import PARTS, families, scripts  # noqa: E402

DATA, STATIC = ROOT / "book" / "train_here", ROOT / "book" / "_static" / "train"
FAMILY = "greek"
PACKS = ("text_tower", "image_tower", "vocabulary", FAMILY)
IN_PAGE = ("drawing", "charts", "show", "page", "begin")
METHODS = {
    "coop": ({"method": "coop", "rank": 1, "dropout": 0.0}, None),
    "dip": ({"method": "dip", "rank": 1, "dropout": 0.5}, LowRank()),
    "rank 3": ({"method": "dip", "rank": 3, "dropout": 0.3}, LowRank(rank=3, dropout=0.3)),
}


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks the page's scripts for a task of ``train_here.js``; skipped visibly without Node."""
    if not (node := shutil.which("node")):
        pytest.skip("no node here: tests/slow runs the page's scripts in a browser")
    folder, made = tmp_path_factory.mktemp("packs"), scripts(DATA)
    packs = [folder / f"{name}.js" for name in PACKS]
    for path in packs:
        path.write_text(made[path.stem], "utf-8")
    parts = [STATIC / f"{part}.js" for part in PARTS if part not in IN_PAGE]
    command = [node, ROOT / "tests" / "train_here.js", *parts, *packs]

    with asked(command) as answer:
        yield answer


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return load_backbone("glyph-resnet")


@pytest.fixture(scope="module")
def given() -> Given:
    return Given.read(DATA / f"{FAMILY}.safetensors")


def test_random_numbers_are_the_library_s_bit_for_bit(ask: Ask) -> None:
    for seed, step, p in ((1, 0, 0.5), (7, 33, 0.3), (999_999, 159, 0.9)):
        uniform, normal, mask, order = ask("chance", seed=seed, step=step, count=512, p=p)
        assert torch.equal(torch.tensor(uniform), randomness.uniform(seed, step, (512,), 3))
        assert torch.equal(torch.tensor(normal), randomness.normal(seed, (512,)))
        expected = randomness.dropout_mask(seed, step, (512,), p)
        torch.testing.assert_close(torch.tensor(mask, dtype=torch.float32), expected)
        assert order == randomness.permutation(seed, step, 512).tolist()


def test_singular_values_are_exact_also_of_a_matrix_without_full_rank(ask: Ask) -> None:
    source, rank = torch.Generator().manual_seed(1), 3
    left, right = (
        torch.randn(size, generator=source).double() for size in ((4, rank), (rank, 128))
    )
    found = ask("density", matrix=(left @ right).flatten().tolist(), rows=4)
    torch.testing.assert_close(
        torch.tensor(found).double(), singular_values(left @ right), rtol=1e-6, atol=1e-12
    )


def test_words_have_the_library_s_tokens_and_unknown_ones_are_named(
    ask: Ask, clip: Backbone
) -> None:
    every = [Given.read(path) for path in families(DATA)]
    assert len(every) == 11
    texts = [f"{name}." for family in every for name in family.names]
    texts += ["A Photo of a  Small ALPHA.", "alpha-beta, gamma!", "omega's"]
    texts += ["dog.", "alphabet soup.", "small xylophone", "naïve", "rightleft"]
    answers = ask("tokens", texts=texts)
    rows = {token: row for row, token in enumerate(sorted(clip.known_tokens or ()))}
    for text, found in zip(texts, answers, strict=True):
        try:
            expected = [rows[token] for token in clip.tokens(text)]
        except UnknownWordsError:
            assert all(isinstance(word, str) and word in text for word in found) and found
        else:
            assert found == expected
    assert 3 <= sum(isinstance(found[0], str) for found in answers) <= 7


def test_levels_are_the_nearest_and_packing_loses_nothing_else() -> None:
    values = np.random.default_rng(1).standard_normal((40, 16)).astype(np.float32)
    levels = best_levels(values.ravel())
    nearest = levels[np.abs(values[..., None] - levels).argmin(-1)]
    found = unpack(pack(values, levels), levels, 16)
    np.testing.assert_allclose(
        found, nearest / np.linalg.norm(nearest, axis=1, keepdims=True), rtol=1e-6
    )
    spread = np.quantile(values, (np.arange(8) + 0.5) / 8)
    plain = spread[np.abs(values[..., None] - spread).argmin(-1)]
    assert ((nearest - values) ** 2).mean() < ((plain - values) ** 2).mean()


def test_the_page_reads_the_features_that_the_library_reads(ask: Ask, given: Given) -> None:
    found = ask("features", name=FAMILY)
    views = torch.tensor(found["views"]).view_as(given.train)
    torch.testing.assert_close(views, given.train, rtol=0, atol=1e-6)
    images = torch.tensor(found["images"]).view_as(given.test)
    torch.testing.assert_close(images, given.test, rtol=0, atol=1e-6)
    assert found["train"] == given.train_labels.tolist()
    assert found["test"] == given.test_labels.tolist()


def test_labels_and_names_are_those_of_the_few_shot_draw(given: Given) -> None:
    dataset = glyph_dataset(FAMILY)
    rows, _ = draw(dataset.labels, 16, 1, Classes())
    assert given.names == dataset.class_names
    assert torch.equal(given.train_labels, dataset.labels("train")[rows])
    assert torch.equal(given.test_labels, dataset.labels("test"))


@pytest.mark.parametrize("n", [1, 4])
def test_logits_are_the_library_s(ask: Ask, clip: Backbone, given: Given, n: int) -> None:
    prompt = 0.2 * torch.randn(n, 128, generator=torch.Generator().manual_seed(n))
    found = ask("embeddings", prompt=prompt.flatten().tolist(), names=given.names)
    expected = clip.class_embeddings(prompt, given.names)
    difference = torch.tensor(found).view_as(expected) - expected
    logits = clip.logit_scale * given.test[::25] @ difference.T
    assert logits.abs().max() < 1e-4


def test_features_of_an_image_are_the_library_s(ask: Ask, clip: Backbone, given: Given) -> None:
    images = glyph_dataset(FAMILY).examples(3)
    found = torch.tensor(ask("images", images=images.flatten(1).tolist()))
    torch.testing.assert_close(found, clip.encode_image(clip.normalise(images)), rtol=0, atol=1e-5)


class Recorded(CoOp):
    """CoOp that keeps the loss of each step."""

    losses: ClassVar[list[float]] = []

    def gradient(self, *arguments: Any) -> Any:
        loss, gradients = super().gradient(*arguments)
        self.losses.append(float(loss.detach()))
        return loss, gradients


@pytest.mark.parametrize("name", METHODS)
def test_gradients_are_torch_s(ask: Ask, clip: Backbone, given: Given, name: str) -> None:
    settings, low_rank = METHODS[name]
    runs = prepared(given, clip, low_rank, seed=5)
    source = torch.Generator().manual_seed(3)
    trained = runs.state.trained[1:] if low_rank else runs.state.trained[:1]
    with torch.no_grad():
        for tensor in trained:  # not at the start, where B = 0 has no gradient for A
            tensor += 0.1 * torch.randn(tensor.shape, generator=source)
    rows = torch.randperm(len(given.train_labels), generator=source)[:50]
    batch = Batch(given.train[None, 0, rows], given.train_labels[None, rows])
    step = torch.zeros((), dtype=torch.int64)
    loss, gradients = runs.method.gradient(runs.state.learned(step), runs.frozen, batch, trained)
    found = ask(
        "gradients",
        name=FAMILY,
        settings=settings | {"lr": 0.03, "epochs": 1, "seed": 5},
        trained=[tensor.detach().flatten().tolist() for tensor in trained],
        rows=rows.tolist(),
    )
    assert found["loss"] == pytest.approx(loss.item(), abs=1e-5)
    for slope, gradient in zip(found["slopes"], gradients, strict=True):
        expected = gradient.flatten()
        assert (torch.tensor(slope) - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.parametrize("name", ["coop", "rank 3"])
def test_losses_along_a_training_and_its_end_are_the_library_s(
    ask: Ask, clip: Backbone, given: Given, name: str
) -> None:
    settings, low_rank = METHODS[name]
    Recorded.losses.clear()
    epochs = 4  # all views; fifty steps are taken in tests/slow
    runs = prepared(given, clip, low_rank, Schedule(epochs=epochs), Recorded(), seed=2)
    before = evaluated(runs, given)
    for _ in train_epochs(runs):
        pass
    after = evaluated(runs, given)
    found = ask(
        "run",
        name=FAMILY,
        settings=settings | {"lr": 0.03, "epochs": epochs, "seed": 2},
        epochs=epochs,
    )
    assert len(found["losses"]) == len(Recorded.losses) == 12
    assert found["losses"] == pytest.approx(Recorded.losses, abs=1e-3)
    image = 100 / 1400  # one of the test images of a half may lie between two names
    for shown, row in ((found["first"], before), (found["last"], after)):
        assert shown["base"] == pytest.approx(row["base"], abs=2 * image)
        assert shown["new"] == pytest.approx(row["new"], abs=2 * image)
        assert shown["id"] == pytest.approx(row["id"][0], abs=1e-4)
        assert shown["idRead"] == pytest.approx(row["id_read"][0], abs=1e-4)
        assert shown["singular"] == pytest.approx(row["singular"], abs=1e-3)
        assert shown["update"] == pytest.approx(row["update_singular"], abs=1e-3)


def test_a_learning_rate_that_is_far_too_high_ends_the_run(ask: Ask) -> None:
    settings = {"method": "dip", "rank": 1, "dropout": 0.5, "lr": 1e200, "epochs": 4, "seed": 1}
    found = ask("run", name=FAMILY, settings=settings, epochs=4)
    assert found["diverged"] or found["last"] is None
