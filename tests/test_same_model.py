"""A model written down otherwise is the same model; the one that was given stays as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.same_model import moved_gauge, without_eps

WORDS, NAMES = "a photo of a", ("greek letter", "small arrow", "capital xi")


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return load_backbone("glyph-vit")


@pytest.fixture(scope="module")
def vector(clip: Backbone) -> torch.Tensor:
    return torch.randn(128, generator=torch.Generator().manual_seed(1))


def test_a_vector_moved_between_the_tables_is_the_same_model(
    clip: Backbone, vector: torch.Tensor
) -> None:
    before = clip.context(WORDS)
    moved = moved_gauge(clip, vector)
    assert (moved.context(WORDS) - (before - vector)).abs().max() < 1e-6
    torch.testing.assert_close(clip.context(WORDS), before, rtol=0, atol=0)
    texts = [f"{WORDS} {name}." for name in NAMES]
    torch.testing.assert_close(moved.encode_text(texts), clip.encode_text(texts), rtol=0, atol=1e-5)
    for each in (before, before + 0.1 * torch.randn_like(before)):
        found = moved.class_embeddings(each - vector, NAMES)
        expected = clip.class_embeddings(each, NAMES)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        read = moved.as_read(each - vector)
        torch.testing.assert_close(read, clip.as_read(each), rtol=0, atol=1e-5)


def test_what_does_not_change_is_shared(clip: Backbone, vector: torch.Tensor) -> None:
    moved = moved_gauge(clip, vector)
    own, theirs = (dict(each.model.named_parameters()) for each in (moved, clip))
    different = {name for name in own if own[name] is not theirs[name]}
    assert different == {"token_embedding.weight", "positional_embedding"}
    assert not any(weight.requires_grad for weight in own.values())


def test_without_eps_every_norm_divides_by_the_deviation_alone(clip: Backbone) -> None:
    exact = without_eps(clip)
    norms = [m for m in exact.model.modules() if isinstance(m, nn.LayerNorm)]
    assert norms and all(norm.eps == 0 for norm in norms)
    assert all(m.eps > 0 for m in clip.model.modules() if isinstance(m, nn.LayerNorm))
    token = torch.randn(2, 128)
    norm = exact.model.ln_final
    torch.testing.assert_close(norm(1e-3 * token), norm(token), rtol=0, atol=1e-4)


def test_a_vector_of_another_width_is_refused(clip: Backbone) -> None:
    with pytest.raises(ValueError, match=r"\(64,\)"):
        moved_gauge(clip, torch.zeros(64))
