"""Exact class embeddings: equal to open_clip's own full-length forward, in value and gradient."""

from __future__ import annotations

import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor

from dip_lib import load_backbone
from dip_lib.backbone import Backbone
from dip_lib.text import layout

NAMES = ("small alpha", "small beta", "capital alpha", "digit one", "black star", "arrow")


@pytest.fixture(scope="module")
def glyph() -> Backbone:
    return load_backbone("glyph-vit")


@pytest.fixture(scope="module")
def vit_b_16() -> Backbone:
    torch.manual_seed(0)
    return load_backbone("ViT-B-16")


def reference(model: CLIP, tokens: Tensor, context: Tensor) -> Tensor:
    """open_clip's text tower on all positions, the context rows replaced (as CoOp does)."""
    x = model.token_embedding(tokens)
    x = torch.cat([x[:, :1], context.expand(len(x), -1, -1), x[:, 1 + len(context) :]], 1)
    x = x + model.positional_embedding
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask))
    x = x[torch.arange(len(x)), tokens.argmax(-1)] @ model.text_projection
    return torch.nn.functional.normalize(x, dim=-1)


@pytest.mark.parametrize("name", ["glyph", "vit_b_16"])
def test_words_as_context_equal_encode_text(name: str, request: pytest.FixtureRequest) -> None:
    clip: Backbone = request.getfixturevalue(name)
    ours = clip.class_embeddings(clip.context("a photo of a"), NAMES)
    theirs = clip.encode_text([f"a photo of a {n}." for n in NAMES])
    assert (ours - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("n", [1, 4, 7])
def test_any_context_and_its_gradient_equal_the_full_forward(glyph: Backbone, n: int) -> None:
    torch.manual_seed(n)
    words = " ".join(["a"] * n)
    tokens = glyph.tokenizer([f"{words} {name}." for name in NAMES])
    context = (0.05 * torch.randn(n, 128)).requires_grad_()
    weight = torch.randn(len(NAMES), 128)
    ours, theirs = glyph.class_embeddings(context, NAMES), reference(glyph.model, tokens, context)
    assert (ours - theirs).abs().max() < 1e-5
    (a,) = torch.autograd.grad((ours * weight).sum(), context)
    (b,) = torch.autograd.grad((theirs * weight).sum(), context)
    assert (a - b).abs().max() < 1e-4 * b.abs().max()


def test_many_contexts_at_once_equal_one_at_a_time(glyph: Backbone) -> None:
    contexts = 0.05 * torch.randn(5, 4, 128)
    together = glyph.class_embeddings(contexts, NAMES)
    assert together.shape == (5, len(NAMES), 128)
    for r in range(5):
        alone = glyph.class_embeddings(contexts[r], NAMES)
        assert (together[r] - alone).abs().max() < 1e-5


def test_embeddings_do_not_depend_on_the_other_classes(glyph: Backbone) -> None:
    context = glyph.context("a photo of a")
    every = glyph.class_embeddings(context, NAMES)
    some = glyph.class_embeddings(context, NAMES[::-2])
    assert (every[[5, 3, 1]] - some).abs().max() < 1e-5


def test_the_trie_shares_exactly_the_common_beginnings() -> None:
    found = layout([[5, 6, 9], [5, 6, 7, 9], [5, 9], [8, 9]])
    assert len(found.tokens) == 8  # 5, 5-6, 5-6-9, 5-6-7, 5-6-7-9, 5-9, 8, 8-9
    assert found.tokens[found.end].tolist() == [9, 9, 9, 9]
    assert found.length.tolist() == [3, 4, 2, 2]


def test_bad_names_and_contexts_are_refused(glyph: Backbone) -> None:
    context = glyph.context("a photo of a")
    with pytest.raises(ValueError, match="duplicate|repeated|twice"):
        glyph.class_embeddings(context, ["small alpha", "small alpha"])
    with pytest.raises(ValueError, match="never seen 'zeppelin'"):
        glyph.class_embeddings(context, ["small zeppelin"])
    with pytest.raises(ValueError, match="never seen 'zeppelin'"):
        glyph.encode_text(["a zeppelin"])
    with pytest.raises(ValueError, match=r"\(n, 128\).*\(4, 64\)"):
        glyph.class_embeddings(torch.zeros(4, 64), NAMES)
    with pytest.raises(ValueError, match="32 text positions.*30 context vectors"):
        glyph.class_embeddings(torch.zeros(30, 128), NAMES)
