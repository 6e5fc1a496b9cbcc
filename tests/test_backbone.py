"""Backbones: frozen, in eval mode, faithful to open_clip, and refusing what they cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image

from dip_lib import load_backbone
from dip_lib.errors import UnknownNameError
from glyph_world import models


@pytest.mark.parametrize("name", ["glyph-vit", "glyph-resnet"])
def test_a_glyph_tower_is_frozen_small_and_unit_length(name: str) -> None:
    clip = load_backbone(name)
    assert not clip.model.training
    assert not any(p.requires_grad for p in clip.model.parameters())
    features = clip.encode_image(clip.normalise(torch.rand(3, 3, 48, 48)))
    assert features.norm(dim=-1) == pytest.approx(1, abs=1e-5)
    assert clip.context("a photo of a").shape == (4, 128)
    assert models.weights_path(name).stat().st_size <= 5e6
    picture = Image.new("RGB", (60, 50), (255, 0, 0))
    assert clip.preprocess(picture).shape == (3, 48, 48)


def test_batchnorm_stays_in_eval_mode() -> None:
    clip = load_backbone("glyph-resnet")
    x = clip.normalise(torch.rand(8, 3, 48, 48))
    assert torch.allclose(clip.encode_image(x)[:1], clip.encode_image(x[:1]), atol=1e-5)


def test_openai_names_mean_quickgelu() -> None:
    clip = load_backbone("ViT-B-32")
    kinds = {type(m).__name__ for m in clip.model.modules()}
    assert "QuickGELU" in kinds
    assert "GELU" not in kinds


def test_preprocessing_is_open_clips_own() -> None:
    clip = load_backbone("ViT-B-32")
    _, _, theirs = open_clip.create_model_and_transforms("ViT-B-32", force_quick_gelu=True)
    picture = Image.effect_noise((300, 200), 60).convert("RGB")
    assert torch.equal(clip.preprocess(picture), theirs(picture))


def test_unknown_names_devices_and_precisions_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="glyph-vti"):
        load_backbone("glyph-vti")
    with pytest.raises(UnknownNameError, match="ViT-B16"):
        load_backbone("ViT-B16")
    with pytest.raises(ValueError, match="gpu"):
        load_backbone("glyph-vit", device="gpu")
    with pytest.raises(UnknownNameError, match="fp61"):
        load_backbone("glyph-vit", precision="fp61")
    with pytest.raises(ValueError, match="glyph-vit"):
        load_backbone("glyph-vit", pretrained="openai")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_an_absent_gpu_is_said() -> None:
    with pytest.raises(ValueError, match="cuda"):
        load_backbone("glyph-vit", device="cuda")


def test_damaged_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(models.WEIGHTS, folder)
    monkeypatch.setattr(models, "WEIGHTS", folder)
    file = folder / "glyph-vit.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match="glyph-vit.safetensors"):
        load_backbone("glyph-vit")
    file.unlink()
    with pytest.raises(ValueError, match="glyph-vit.safetensors"):
        load_backbone("glyph-vit")


def test_the_model_card_tells_the_truth() -> None:
    card = json.loads(models.CARD.read_text())
    text = (models.WEIGHTS / "MODEL_CARD.md").read_text()
    for name in models.committed():
        assert card[name]["bytes"] == models.weights_path(name).stat().st_size
        assert card[name]["sha256"][:12] in text
        assert str(card[name]["top1_of_981"]["pretraining fonts"]) in text


def test_half_precision_towers_keep_prompts_in_fp32() -> None:
    clip = load_backbone("glyph-vit", precision="bf16")
    assert clip.context("a photo of a").dtype == torch.float32
    assert clip.fingerprint != load_backbone("glyph-vit").fingerprint  # features differ
    exact = load_backbone("glyph-vit")
    x = exact.normalise(torch.rand(4, 3, 48, 48))
    assert (clip.encode_image(x) * exact.encode_image(x)).sum(-1).min() > 0.99
