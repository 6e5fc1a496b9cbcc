"""Weights: from every kind of file, never half, never with the wrong activation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from open_clip.model import CLIP
from safetensors.torch import save_file
from torch import nn

from dip_lib.clip.weights import _load_file, open_clip_model
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
    _load_file(model, "tiny", stored)
    for name, value in clip(1).state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_damaged_file_is_named_and_changes_nothing(stored: Path) -> None:
    data = stored.read_bytes()
    stored.write_bytes(data[: len(data) // 2])
    model, before = clip(2), clip(2).state_dict()
    with pytest.raises(ValueError, match=rf"{stored.name}"):
        _load_file(model, "tiny", stored)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    path, model = tmp_path / "other.pt", clip(2)
    torch.save(clip(1, width=32).state_dict(), path)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match="other.pt"):
        _load_file(model, "tiny", path)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    torch.save({"something": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="something"):
        _load_file(model, "tiny", path)


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
