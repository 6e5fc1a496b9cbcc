"""Weights: from every kind of file, never half, never with the wrong activation."""

from __future__ import annotations

import json
import logging
import warnings
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from huggingface_hub import constants
from open_clip.model import CLIP
from safetensors.torch import save_file
from torch import nn

from dip_lib.clip.weights import open_clip_model
from dip_lib.clip.weights_file import LFS, load_file
from dip_lib.errors import NoWeightsError

VISION = {"image_size": 32, "width": 64, "layers": 1, "patch_size": 32, "head_width": 32}
TEXT = {"context_length": 16, "vocab_size": 100, "width": 64, "heads": 2, "layers": 1}


class Branch(nn.Module):
    """A module that only holds parameters, as OpenAI's archives do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def archive(model: nn.Module) -> torch.jit.ScriptModule:
    """OpenAI's format: a TorchScript archive in half precision, with three numbers beside."""
    root = Branch()
    for name, value in model.state_dict().items():
        *path, last = name.split(".")
        at: nn.Module = root
        for part in path:
            if not hasattr(at, part):
                at.add_module(part, Branch())
            at = getattr(at, part)
        at.register_buffer(last, value.half())
    for name in ("input_resolution", "context_length", "vocab_size"):
        root.register_buffer(name, torch.tensor(7))
    return torch.jit.script(root)


def clip(seed: int, width: int = 64) -> CLIP:
    torch.manual_seed(seed)
    return CLIP(width, VISION, TEXT)


@pytest.fixture(params=["state dict", "checkpoint", "safetensors", "openai"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The weights of ``clip(1)`` in one of the formats that are met in the field."""
    model, path = clip(1), tmp_path / "weights.pt"
    if request.param == "state dict":
        torch.save(model.state_dict(), path)
    elif request.param == "checkpoint":
        torch.save(
            {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}},
            path,
        )
    elif request.param == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file(model.state_dict(), path)
    else:
        archive(model).save(str(path))
    return path


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_every_format_gives_the_same_weights(stored: Path) -> None:
    model = clip(2)
    load_file(model, "tiny", stored)
    for name, value in clip(1).state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_damaged_file_is_named_and_changes_nothing(stored: Path) -> None:
    data = stored.read_bytes()
    stored.write_bytes(data[: len(data) // 2])
    model, before = clip(2), clip(2).state_dict()
    with pytest.raises(ValueError, match=rf"{stored.name}"):
        load_file(model, "tiny", stored)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    path, model = tmp_path / "other.pt", clip(2)
    torch.save(clip(1, width=32).state_dict(), path)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match="other.pt"):
        load_file(model, "tiny", path)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    torch.save({"something": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="something"):
        load_file(model, "tiny", path)


@pytest.mark.parametrize(
    ("name", "tag", "remedy"),
    [
        ("ViT-B-16", "laion2b_s34b_b88k", "'hf-hub:laion/CLIP-ViT-B-16-laion2B-s34B-b88K'"),
        ("ViT-B-16-quickgelu", "openia", "'openai'"),
        ("ViT-B-16", "./nowhere.pt", "nowhere.pt"),
        ("ViT-B-61", None, "'ViT-B-16'"),
    ],
)
def test_what_cannot_be_right_is_refused_before_anything_is_loaded(
    name: str, tag: str | None, remedy: str
) -> None:
    with pytest.raises(ValueError, match=remedy):
        open_clip_model(name, tag)


def test_without_a_network_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(NoWeightsError, match="HF_HOME") as caught:
        open_clip_model("RN50", "openai")
    assert (caught.value.backbone, caught.value.tag) == ("RN50", "openai")


# ---- wrappings ----------------------------------------------------------------------------------


def prefixed(prefix: str, seed: int = 1) -> dict[str, torch.Tensor]:
    return {f"{prefix}{key}": value for key, value in clip(seed).state_dict().items()}


@pytest.mark.parametrize(
    "checkpoint",
    [
        prefixed("model."),
        prefixed("_orig_mod."),
        prefixed("module._orig_mod."),
        {"epoch": 3, "model": prefixed("_orig_mod.module.")},
        {"model_state_dict": prefixed(""), "optimizer": {"state": {}, "param_groups": []}},
        {"state_dict": {"model": prefixed("model.clip_model.")}},
        {"state_dict": prefixed("module."), "best": np.float64(81.2), "at": np.int64(3)},
        {"state_dict": prefixed(""), "curve": np.array([1.0, 2.0]), "of": np.float32(0.5)},
    ],
    ids=["model", "compiled", "ddp", "dict", "optimiser", "twice", "scalar", "array"],
)
def test_weights_are_found_in_whatever_wraps_them(
    checkpoint: dict[str, Any], tmp_path: Path
) -> None:
    path, model = tmp_path / "wrapped.pt", clip(2)
    torch.save(checkpoint, path)
    load_file(model, "tiny", path)
    for name, value in clip(1).state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_what_lies_beside_wrapped_weights_is_named(tmp_path: Path) -> None:
    path = tmp_path / "more.pt"
    torch.save(prefixed("model.") | {"head.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(ValueError, match="head.weight"):
        load_file(clip(2), "tiny", path)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_git_lfs_pointer_says_what_it_is(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(LFS + b"v1\noid sha256:0123\nsize 598516979\n")
    with pytest.raises(ValueError, match="git lfs pull"):
        load_file(clip(2), "tiny", path)


def test_other_objects_are_named_with_a_remedy_that_works(tmp_path: Path) -> None:
    path, model = tmp_path / "run.pt", clip(2)
    torch.save({"state_dict": prefixed(""), "args": Namespace(lr=0.1)}, path)
    with pytest.raises(ValueError, match="argparse.Namespace") as caught:
        load_file(model, "tiny", path)
    remedy = str(caught.value).partition("weights alone: ")[2]
    assert remedy.startswith("torch.save(torch.load(")
    whole = torch.load(path, weights_only=False)["state_dict"]
    torch.save(whole, path)
    load_file(model, "tiny", path)


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"<html>", b"a", b"Gr", b"X\2\0\0\0\xff\xff", b"hg"]
)
def test_what_is_no_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="broken.pt"):
        load_file(clip(2), "tiny", path)


@pytest.mark.parametrize("held", [torch.zeros(3), [1, 2], {"epoch": 3}])
def test_a_file_without_named_weights_is_named(held: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save(held, path)
    with pytest.raises(ValueError, match="other.pt"):
        load_file(clip(2), "tiny", path)


# ---- the activation of a file -------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _tiny_models(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two tiny models that open_clip knows by name, with either activation."""
    folder = tmp_path_factory.mktemp("configs")
    config = {"embed_dim": 64, "vision_cfg": VISION, "text_cfg": TEXT}
    (folder / "tiny.json").write_text(json.dumps(config))
    (folder / "tiny-quickgelu.json").write_text(json.dumps(config | {"quick_gelu": True}))
    open_clip.add_model_config(folder)


def is_quick(model: CLIP) -> bool:
    kinds = {type(m).__name__ for m in model.modules() if "GELU" in type(m).__name__}
    (kind,) = kinds
    return kind == "QuickGELU"


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_openais_archive_sets_its_activation(tmp_path: Path) -> None:
    archive(clip(1)).save(str(tmp_path / "RN101.pt"))
    for name in ("tiny", "tiny-quickgelu"):
        model, _ = open_clip_model(name, str(tmp_path / "RN101.pt"))
        assert is_quick(model)


@pytest.mark.parametrize("quick", [True, False])
def test_a_configuration_beside_the_file_tells_the_activation(tmp_path: Path, quick: bool) -> None:
    path = tmp_path / "open_clip_pytorch_model.bin"
    torch.save(clip(1).state_dict(), path)
    about = {"model_cfg": {"quick_gelu": True} if quick else {}, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(about))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, _ = open_clip_model("tiny", str(path))
        assert is_quick(model) == quick
        if quick:
            assert is_quick(open_clip_model("tiny-quickgelu", str(path))[0])
        else:
            with pytest.raises(ValueError, match="GELU"):
                open_clip_model("tiny-quickgelu", str(path))


@pytest.mark.parametrize(
    ("name", "other"), [("tiny", "tiny-quickgelu"), ("tiny-quickgelu", "tiny")]
)
def test_of_any_other_file_the_activation_is_said(name: str, other: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(clip(1).state_dict(), path)
    with pytest.warns(UserWarning, match=f"'{other}'"):
        model, _ = open_clip_model(name, str(path))
    assert is_quick(model) == (name == "tiny-quickgelu")


@pytest.mark.filterwarnings("ignore:.*does not say:UserWarning")
def test_random_weights_are_logged_only_where_they_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(clip(1).state_dict(), path)
    with caplog.at_level(logging.WARNING):
        open_clip_model("tiny", str(path))
        assert "randomly" not in caplog.text
        open_clip_model("tiny", None)
    assert "randomly" in caplog.text
