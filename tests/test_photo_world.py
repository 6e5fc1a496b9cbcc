"""Photo World: its image encoder, its committed weights, and the pre-training of its text side."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from dip_book.pages.photo_world import recipes_table
from dip_lib.clip import Backbone
from dip_lib.errors import DamagedFileError, UnknownNameError
from photo_world import models, plugin, trunk
from photo_world.models import CARD, NAMES

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "pretraining" / "photo_world"))  # as when one of its programs is run

import fitting  # noqa: E402
from concepts import Concept  # noqa: E402
from space import make_space  # noqa: E402

HAS_PACKAGE = find_spec(trunk.PACKAGE) is not None
needs_package = pytest.mark.skipif(not HAS_PACKAGE, reason=f"{trunk.PACKAGE} is not installed")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return plugin.load("photo-lite0")


def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trunk, "find_spec", lambda name: None)


# ---- the image encoder --------------------------------------------------------------------------


def random_statistics(model: nn.Module) -> nn.Module:
    """``model`` in eval mode with BatchNorms that do something."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 2)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.1)
    return model.eval()


def test_folding_leaves_the_function_as_it_is() -> None:
    torch.manual_seed(0)
    model = random_statistics(timm.create_model(trunk.TIMM_NAME, num_classes=0))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(images)
        folded = trunk.fold(model)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        assert (folded(images) - expected).norm() < 1e-4 * expected.norm()


def test_another_models_tensors_are_refused() -> None:
    source = {"a.weight": torch.zeros(2, 2)}
    with pytest.raises(ValueError, match=r"b\.weight"):
        trunk.renamed(source, {"b.weight": torch.zeros(3, 2)})
    with pytest.raises(ValueError):
        trunk.renamed(source, {})


@pytest.fixture
def changed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package whose weights file holds something else."""
    package = tmp_path / trunk.PACKAGE
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('no code of it may run')")
    (package / trunk.FILE).write_bytes(b"not the weights")
    monkeypatch.syspath_prepend(tmp_path)
    return package / trunk.FILE


def test_changed_weights_of_the_package_are_refused_with_its_version(changed_package: Path) -> None:
    with pytest.raises(DamagedFileError, match=f"{trunk.PACKAGE} {trunk.VERSION}") as caught:
        plugin.load("photo-lite0")
    assert caught.value.path == str(changed_package)


def test_without_the_package_text_works_and_pixels_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_package(monkeypatch)
    backbone = plugin.load("photo-lite0")
    assert backbone.encode_text(["a photo of a dog."]).shape == (1, models.EMBEDDING)
    assert backbone.image_size == 224
    with pytest.raises(trunk.MissingTrunkError, match=r"dip-lib\[photos\]") as caught:
        backbone.encode_image(torch.zeros(1, 3, 224, 224))
    assert f"{trunk.PACKAGE} {trunk.VERSION}" in str(caught.value)


@needs_package
def test_image_embeddings_are_the_classifiers_features_projected(backbone: Backbone) -> None:
    whole = trunk.classifier()
    images = backbone.normalise(torch.rand(2, 3, 224, 224))
    stored = models.read(models.PROJECTION)
    with torch.no_grad():
        features = whole.forward_head(whole.forward_features(images), pre_logits=True)
    expected = features @ stored["weight"].float().T + stored["bias"].float()
    similarity = F.cosine_similarity(backbone.encode_image(images), expected)
    assert similarity.min() > 0.9999


# ---- the committed weights ----------------------------------------------------------------------


@pytest.mark.parametrize("name", json.loads(CARD.read_text()))
def test_committed_weights_are_the_cards(name: str) -> None:
    data = models.weights_path(name).read_bytes()
    entry = json.loads(models.CARD.read_text())[name]
    assert hashlib.sha256(data).hexdigest() == entry["sha256"]
    assert len(data) == entry["bytes"] <= (1.3e6 if name == models.PROJECTION else 6e6)


def test_damaged_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photo-lite0.safetensors").write_bytes(b"x")
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    with pytest.raises(DamagedFileError, match=r"photo-lite0\.safetensors"):
        models.read("photo-lite0")
    with pytest.raises(DamagedFileError, match=r"projection\.safetensors"):
        models.read(models.PROJECTION)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="photo-lite9"):
        plugin.load("photo-lite9")


def test_towers_share_the_image_side_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    without_package(monkeypatch)
    towers = [plugin.load(name) for name in models.NAMES]
    assert len({tower.image_fingerprint for tower in towers}) == 1
    assert len({tower.fingerprint for tower in towers}) == len(towers)
    assert [tower.fingerprint for tower in towers] == [*map(models.fingerprint, models.NAMES)]


def test_class_embeddings_are_open_clips_own(backbone: Backbone) -> None:
    names = ["dog", "golden retriever", "Annual Crop Land"]
    context = backbone.context("a photo of a")
    expected = backbone.encode_text([f"a photo of a {name}." for name in names])
    torch.testing.assert_close(
        backbone.class_embeddings(context, names), expected, rtol=0, atol=1e-5
    )


def test_a_word_outside_the_vocabulary_is_named(backbone: Backbone) -> None:
    with pytest.raises(ValueError, match="'zyzzyva'"):
        backbone.encode_text(["a photo of a zyzzyva."])


def test_ordinary_words_and_every_datasets_templates_are_known(backbone: Backbone) -> None:
    from dip_lib.methods.prompts import TEMPLATES

    for words in ("mug", "rusty screw", "kitten", "healthy leaf", "coffee cup", "broken glass"):
        assert backbone.tokens(words)
    for template in (each for group in TEMPLATES.values() for each in group):
        assert backbone.tokens(template.format("dog"))


# ---- pre-training -------------------------------------------------------------------------------


def test_the_space_is_white_and_ranks_as_the_classifier_does() -> None:
    torch.manual_seed(0)
    features = torch.randn(500, 24) @ torch.randn(24, 24)
    space = make_space(features, torch.randn(40, 24), 16)
    assert space(features).shape == (500, 16)
    torch.testing.assert_close(space(features).norm(dim=1), torch.ones(500))
    torch.testing.assert_close(space.classes.norm(dim=1), torch.ones(40))


def toy_material() -> fitting.Material:
    """Three classes and a few texts with random places in image space."""
    torch.manual_seed(0)
    names = ["cat", "dog", "tree"]
    places = F.normalize(torch.randn(3, models.EMBEDDING), dim=1)
    concepts = [
        Concept(name, ("a {}.", "{}"), places[[row]], places[row], 0.1)
        for row, name in enumerate(names)
    ]
    encode = models.tokenizer().encode
    ids = {token for name in names for token in encode(f"a {name}.")}
    ids |= {models.tokenizer().sot_token_id, models.tokenizer().eot_token_id}
    texts = (names, places)
    return fitting.Material(concepts[:2], concepts[2:], texts, texts, np.array(sorted(ids)))


TINY = fitting.Recipe(web_photos=1, steps=4, pairs=6, sentences=3, words=2)


def state(model: Any) -> dict[str, torch.Tensor]:
    return {k: v for k, v in model.state_dict().items() if not k.startswith("visual.")}


def test_a_stopped_pretraining_resumes_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    material = toy_material()
    whole, _ = fitting.fit("whole", TINY, material, "x", tmp_path / "whole.pt", every=1)

    stopped = tmp_path / "stopped.pt"
    save = fitting.Training.save

    def save_twice(run: fitting.Training, path: Path) -> None:
        save(run, path)
        if run.step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fitting.Training, "save", save_twice)
        fitting.fit("stopped", TINY, material, "x", stopped, every=1)
    resumed, _ = fitting.fit("stopped", TINY, material, "x", stopped, every=1)
    for key, value in state(whole).items():
        assert torch.equal(value, state(resumed)[key]), key

    other = fitting.build_text(len(material.token_ids), 0)
    run = fitting.Training(other, fitting._optimiser(other, TINY), {"recipe": "another"})
    run.resume(stopped)
    assert run.step == 0


def test_another_seed_trains_another_encoder(tmp_path: Path) -> None:
    material = toy_material()
    one, _ = fitting.fit("one", TINY, material, "x", tmp_path / "one.pt")
    other, _ = fitting.fit("other", replace(TINY, seed=1), material, "x", tmp_path / "other.pt")
    assert not torch.equal(one.text_projection, other.text_projection)


def test_the_page_shows_every_encoder_by_one_template_and_their_averages() -> None:
    table = recipes_table()
    assert [*table] == [f"{name} {half}" for name in NAMES for half in ("base", "new")]
    assert len(table) == len(json.loads(CARD.read_text("utf-8"))[NAMES[0]]["zero_shot"]) + 1
    whole, average = table.drop(index="average"), table.loc["average"]
    assert average.to_dict() == pytest.approx(whole.mean().to_dict())
    assert (whole.min() >= 0).all() and (whole.max() <= 100).all()
