"""photo-vit: its weights file, prompts in it, and its pre-training from committed features."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load as load_tensors

from dip_lib import load_backbone
from dip_lib.clip.frozen_vision import frozen_vision_encoder
from dip_lib.data.packs import Header, pack
from dip_lib.data.pictures import Pictures
from dip_lib.errors import DamagedFileError
from photo_world import models, vit
from photo_world.tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "pretraining" / "photo_world"))  # as when one of its programs is run

import pretrain_vit  # noqa: E402
import vit_photos  # noqa: E402
from vit_photos import Photos  # noqa: E402

RECIPE, DATASETS = pretrain_vit.read_settings()
SHORT = replace(RECIPE, steps=6, batch=8, warmup_steps=2, whole_steps=2)


def made_photos(count: int = 12) -> Photos:
    torch.manual_seed(0)
    thumbs = torch.randint(256, (count, 3, RECIPE.side, RECIPE.side), dtype=torch.uint8)
    return Photos(thumbs, F.normalize(torch.randn(count, models.EMBEDDING), dim=-1))


NAMES = F.normalize(torch.randn(5, models.EMBEDDING, generator=torch.manual_seed(1)), dim=-1)


def test_a_file_of_weights_is_small_and_gives_the_encoder_back() -> None:
    torch.manual_seed(0)
    made = vit.build()
    data = vit.pack(made.visual)
    assert len(data) <= 6e6
    model, known_tokens = vit.assemble(load_tensors(data))
    assert known_tokens
    assert not any(parameter.requires_grad for parameter in model.parameters())
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = (F.normalize(each.visual(pixels), dim=-1) for each in (made, model))
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)  # half precision
    with pytest.raises(ValueError, match="conv1"):
        vit.assemble({})


def test_it_takes_prompts_as_any_vision_transformer() -> None:
    torch.manual_seed(0)
    visual = vit.build().visual
    tower = frozen_vision_encoder(visual, models.VIT)
    assert (tower.width, tower.patches, len(tower.blocks)) == (192, 64, 6)
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        plain = tower.features(pixels)
        torch.testing.assert_close(plain @ visual.proj, visual(pixels))
        prompted = tower.features(pixels, [torch.randn(4, 192)] * 6)
    assert prompted.shape == plain.shape
    assert not torch.allclose(prompted, plain)


def test_a_resumed_pre_training_is_the_whole_one_to_the_bit(tmp_path: Path) -> None:
    photos = made_photos()

    def weights(folder: str, *stops: int) -> bytes:
        saved = tmp_path / folder / "vit.pt"
        saved.parent.mkdir()
        for until in (*stops, SHORT.steps):
            run = pretrain_vit.begin(SHORT, "cpu")
            pretrain_vit.train(run, SHORT, photos, NAMES, saved, until)
        assert run.step == SHORT.steps
        return vit.pack(run.model)

    whole = weights("whole")
    assert weights("stopped", 2, 5) == whole
    assert vit.pack(pretrain_vit.begin(SHORT, "cpu").model) != whole


def test_the_loss_is_least_where_student_and_teacher_agree() -> None:
    target = made_photos().targets
    least = pretrain_vit.loss_of(target, target, NAMES, RECIPE)
    assert least < pretrain_vit.loss_of(target.flip(0), target, NAMES, RECIPE)
    near = F.normalize(target + 0.3 * torch.randn_like(target), dim=-1)
    assert least < pretrain_vit.loss_of(near, target, NAMES, RECIPE)


def test_a_crop_is_a_part_of_its_thumbnail_or_its_mirror_image() -> None:
    thumbs = made_photos(4).thumbs
    for image, thumb in zip(
        pretrain_vit.crops(thumbs, 64, torch.Generator().manual_seed(3)), thumbs, strict=True
    ):
        whole = models.normalise(thumb.float() / 255)
        parts = whole.unfold(1, 64, 1).unfold(2, 64, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
        assert any(torch.equal(each, image) or torch.equal(each.flip(-1), image) for each in parts)


def test_views_are_those_of_the_pack_without_what_is_kept_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three made photographs a crop of each and the plain view; one photograph is a task's."""
    random, paths = np.random.default_rng(0), ["a.png", "b.png", "c.png"]
    for path in paths:
        pixels = random.integers(256, size=(80, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / path)
    listed = [(path, 0) for path in paths]
    files = {"train": listed, "val": listed[:1], "test": listed[2:]}
    pictures = Pictures("made", ("thing",), tmp_path, files, workers=0)
    labels = {split: torch.zeros(len(each)) for split, each in files.items()}
    rows = {"train": [0, 2], "val": [0]}
    features = {
        split: F.normalize(torch.randn(*shape, models.EMBEDDING), dim=-1)
        for split, shape in {"train": (2, 2), "val": (1,), "test": (1,)}.items()
    }
    header = Header(
        dataset="made",
        class_names=("thing",),
        template="{}",
        fingerprint=pictures.fingerprint,
        image_fingerprint="x",
        encoder="x",
        views=2,
        encoding="fp16",
    )
    made = pack(header, labels, rows, features)
    monkeypatch.setattr(vit_photos, "pack_of", lambda name: made)
    monkeypatch.setattr(vit_photos, "kept_back", lambda name: {"c.png"})
    monkeypatch.setattr(vit_photos.datasets, "pictures", lambda name, data: pictures)
    photos, counts = vit_photos.collect(["made"], tmp_path, tmp_path / "work", 72)
    assert counts == {"made": 3}  # two crops of a.png, and its plain view
    crops = next(pictures.batches("train", (0, 1), [0], 72))
    assert torch.equal(photos.thumbs[:2].float() / 255, crops[:, 0])
    torch.testing.assert_close(photos.targets[:2], features["train"][:, 0], rtol=0, atol=1e-3)
    again, _ = vit_photos.collect(["made"], tmp_path, tmp_path / "work", 72)
    assert torch.equal(again.thumbs, photos.thumbs)
    other = replace(made, header=replace(header, fingerprint="other"))
    with pytest.raises(ValueError, match="other"):
        vit_photos.chosen_rows("made", pictures, other)


def test_no_photograph_of_a_task_and_no_test_photograph_is_learned_from() -> None:
    for name in ("photo-caltech101", "photo-eurosat"):
        back = vit_photos.kept_back(name)
        tasks = [task for task in vit_photos.TASKS.values() if task.dataset == name]
        assert tasks
        for task in tasks:
            assert {*task.listed()["train"], *task.listed()["test"]} <= back
    assert {*DATASETS} <= {*vit_photos.datasets.DECLARED}
    assert not any(vit_photos.datasets.declared(name).sealed for name in DATASETS)


# ---- the committed weights ----------------------------------------------------------------------


def test_the_committed_model_loads_with_the_text_encoder_whose_space_it_learned() -> None:
    clip, teacher = load_backbone(models.VIT), load_backbone(vit.TEXT_OF)
    assert clip.name == models.VIT
    assert (clip.image_size, clip.model.visual.proj.shape) == (64, (192, models.EMBEDDING))
    assert clip.known_tokens == teacher.known_tokens
    names = ["a photo of a dog.", "a centered satellite photo of a forest."]
    assert torch.equal(clip.encode_text(names), teacher.encode_text(names))
    embeddings = clip.encode_image(torch.rand(2, 3, 64, 64))
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))


def test_its_weights_are_what_its_recipe_made_of_other_photographs_than_its_tasks() -> None:
    card = json.loads(models.CARD.read_text())[models.VIT]
    assert card["recipe"] == asdict(RECIPE)
    assert set(card["views"]) == set(DATASETS)
    trained = load_tensors(models.weights_path(models.VIT).read_bytes())
    untrained = load_tensors(vit.pack(pretrain_vit.begin(RECIPE, "cpu").model))
    assert all(
        trained[key].shape == value.shape and not torch.equal(trained[key], value)
        for key, value in untrained.items()
    )
    for name, views in card["views"].items():
        packed = vit_photos.pack_of(name)
        crops = len(packed.rows("train")) * packed.header.views
        assert 0 < views <= crops + len(packed.rows("val"))


def test_the_heads_that_tasks_declare_are_those_measured_on_the_committed_weights() -> None:
    heads = json.loads(models.CARD.read_text())[models.VIT]["heads"]
    assert heads["trained"] == {name: task.head for name, task in TASKS.items()}
    for name, task in TASKS.items():
        chance = 100 / task.classes
        assert chance < heads["untrained"][name] < heads["trained"][name], name


@pytest.mark.parametrize("lost", ["file", "entry"])
def test_weights_that_are_not_there_are_refused_with_what_trains_them(
    lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = tmp_path / "weights.json"
    entries = json.loads(models.CARD.read_text())
    if lost == "entry":
        del entries[models.VIT]
        monkeypatch.setattr(models, "CARD", card)
    card.write_text(json.dumps(entries))
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    with pytest.raises(DamagedFileError, match=r"photo-vit.*pretrain_vit\.py"):
        models.read(models.VIT)
    if lost == "entry":
        with pytest.raises(DamagedFileError, match=r"photo-vit.*pretrain_vit\.py"):
            vit.fingerprint()
