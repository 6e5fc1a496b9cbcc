"""Exact class embeddings: equal to open_clip's own full-length forward, in value and gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from torch import Tensor

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.encoder import Encoder
from dip_lib.clip.text import misfit

NAMES = ("small alpha", "small beta", "capital alpha", "digit one", "black star", "arrow")
PHOTOS = (
    *("cat", "tabby cat", "dog", "hot dog", "great white shark", "hammerhead shark"),
    *("2012 Audi S5 Coupe", "2012 Audi S5 Convertible", "2007 Audi S4 Sedan"),
)
TINY = {"image_size": 32, "width": 64, "layers": 1, "patch_size": 32, "head_width": 32}


@pytest.fixture(scope="module")
def glyph() -> Backbone:
    return load_backbone("glyph-vit")


@pytest.fixture(scope="module")
def vit_b_16() -> Backbone:
    torch.manual_seed(0)
    return load_backbone("ViT-B-16")


def reference(model: CLIP, tokens: Tensor, context: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
    """open_clip's text tower on all positions, context rows replaced (as CoOp and MaPLe do).

    ``context`` and each of ``deep``: (n, d), or (C, n, d) with a context for each class.
    """

    def put(x: Tensor, rows: Tensor) -> Tensor:
        rows = rows.expand(len(x), *rows.shape[-2:])
        return torch.cat([x[:, :1], rows, x[:, 1 + rows.shape[1] :]], 1)

    x = put(model.token_embedding(tokens), context) + model.positional_embedding
    for i, block in enumerate(model.transformer.resblocks):
        if 0 < i <= len(deep):
            x = put(x, deep[i - 1])
        x = block(x, attn_mask=model.attn_mask)
    x = model.ln_final(x)
    x = x[torch.arange(len(x)), tokens.argmax(-1)] @ model.text_projection
    return F.normalize(x, dim=-1)


def padded(clip: Backbone, names: Sequence[str], n: int) -> Tensor:
    """Token ids of "[n words] name." for every class."""
    word = "a" if clip.seen else "x"
    return clip.tokenizer([f"{' '.join([word] * n)} {name}." for name in names])


def compare(
    clip: Backbone,
    names: Sequence[str],
    context: Tensor,
    deep: Sequence[Tensor] = (),
    per_class: bool = False,
    tolerance: float = 1e-5,
) -> None:
    """Values and gradients of both ways agree, gradients relative to their largest entry."""
    leaves = [t.requires_grad_() for t in (context, *deep)]
    ours = clip.class_embeddings(context, names, deep, per_class)
    theirs = reference(clip.model, padded(clip, names, context.shape[-2]), context, deep)
    assert ours.dtype == torch.float32
    assert (ours - theirs).abs().max() < tolerance
    weight = torch.randn(theirs.shape)
    mine = torch.autograd.grad((ours * weight).sum(), leaves)
    wanted = torch.autograd.grad((theirs * weight).sum(), leaves)
    for a, b in zip(mine, wanted, strict=True):
        assert (a - b).abs().max() < tolerance * b.abs().max()


def random_contexts(clip: Backbone, *shape: int, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    width = clip.model.positional_embedding.shape[1]
    return 0.05 * torch.randn(*shape, width, generator=source)


@pytest.mark.parametrize(("name", "names"), [("glyph", NAMES), ("vit_b_16", PHOTOS)])
def test_words_as_context_equal_encode_text(
    name: str, names: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    clip: Backbone = request.getfixturevalue(name)
    ours = clip.class_embeddings(clip.context("a photo of a"), names)
    theirs = clip.encode_text([f"a photo of a {n}." for n in names])
    assert (ours - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("n", [1, 4, 7])
def test_any_context_and_its_gradient_equal_the_full_forward(glyph: Backbone, n: int) -> None:
    compare(glyph, NAMES, random_contexts(glyph, n))


def test_clips_own_tower_agrees_to_1e_5_in_logits_and_gradient(vit_b_16: Backbone) -> None:
    context = vit_b_16.context("a photo of a").requires_grad_()
    images = F.normalize(torch.randn(32, 512), dim=-1)
    labels = torch.arange(32) % len(PHOTOS)
    found = []
    for text in (
        vit_b_16.class_embeddings(context, PHOTOS),
        reference(vit_b_16.model, padded(vit_b_16, PHOTOS, 4), context),
    ):
        logits = vit_b_16.logit_scale * images @ text.T
        (slope,) = torch.autograd.grad(F.cross_entropy(logits, labels), context)
        found.append((logits, slope))
    (logits, slope), (their_logits, their_slope) = found
    assert (logits - their_logits).abs().max() < 1e-5
    assert (slope - their_slope).abs().max() < 1e-5 * their_slope.abs().max()


@pytest.mark.parametrize("name", ["ViT-B-32", "RN50", "ViT-L-14", "ViT-B-16-quickgelu"])
def test_every_text_tower_of_clips_layout_agrees(name: str) -> None:
    # the text tower of the real configuration; a tiny image tower, which plays no part
    config: dict[str, Any] = open_clip.get_model_config(name)
    torch.manual_seed(1)
    model = CLIP(config["embed_dim"], TINY, config["text_cfg"], quick_gelu="quick" in name)
    model = model.eval().requires_grad_(False)
    tokenizer = open_clip.get_tokenizer(name)
    clip = Backbone(name, model, tokenizer, open_clip.image_transform, (0,) * 3, (1,) * 3, None, "")
    compare(clip, PHOTOS[:4], random_contexts(clip, 3))


@pytest.mark.parametrize("name", ["glyph", "vit_b_16"])
def test_a_context_for_each_class_equals_the_full_forward(
    name: str, request: pytest.FixtureRequest
) -> None:
    clip: Backbone = request.getfixturevalue(name)
    compare(clip, NAMES, random_contexts(clip, len(NAMES), 3), per_class=True)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("per_class", [False, True])
def test_deep_prompts_replace_the_context_rows(
    glyph: Backbone, depth: int, per_class: bool
) -> None:
    shape = (len(NAMES), 3) if per_class else (3,)
    context, *deep = (random_contexts(glyph, *shape, seed=i) for i in range(depth + 1))
    compare(glyph, NAMES, context, deep, per_class)


def test_deep_prompts_of_maple_agree_in_clips_tower(vit_b_16: Backbone) -> None:
    context, *deep = (random_contexts(vit_b_16, 2, seed=i) for i in range(9))
    compare(vit_b_16, PHOTOS[:3], context, deep)


def test_many_contexts_at_once_equal_one_at_a_time(glyph: Backbone) -> None:
    contexts, deep = random_contexts(glyph, 5, 4), random_contexts(glyph, 5, 4, seed=1)
    together = glyph.class_embeddings(contexts, NAMES, [deep])
    assert together.shape == (5, len(NAMES), 128)
    for r in range(5):
        alone = glyph.class_embeddings(contexts[r], NAMES, [deep[r]])
        assert (together[r] - alone).abs().max() < 1e-5
    own = random_contexts(glyph, 3, len(NAMES), 4)
    together = glyph.class_embeddings(own, NAMES, per_class=True)
    for r in range(3):
        alone = glyph.class_embeddings(own[r], NAMES, per_class=True)
        assert (together[r] - alone).abs().max() < 1e-5


def test_embeddings_do_not_depend_on_the_other_classes(glyph: Backbone) -> None:
    context = glyph.context("a photo of a")
    every = glyph.class_embeddings(context, NAMES)
    some = glyph.class_embeddings(context, NAMES[::-2])
    assert (every[[5, 3, 1]] - some).abs().max() < 1e-5
    one = glyph.class_embeddings(context, NAMES[:1])
    assert (every[:1] - one).abs().max() < 1e-5


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_half_precision_tower_trains_an_fp32_prompt(glyph: Backbone, precision: str) -> None:
    half = load_backbone("glyph-vit", precision=precision)
    context = glyph.context("a photo of a").requires_grad_()
    exact, rough = (c.class_embeddings(context, NAMES) for c in (glyph, half))
    assert rough.dtype == torch.float32
    assert (exact - rough).abs().max() < 0.02
    weight = torch.randn(exact.shape)
    a, b = (torch.autograd.grad((x * weight).sum(), context)[0] for x in (exact, rough))
    assert b.dtype == torch.float32
    assert F.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.99


def test_encoders_are_kept_by_names(glyph: Backbone) -> None:
    assert glyph.encoder(NAMES, 4) is glyph.encoder(list(NAMES), 4)
    assert glyph.encoder(NAMES, 4) is not glyph.encoder(NAMES[::-1], 4)
    assert isinstance(glyph.encoder(NAMES, 5), Encoder)


# ---- refusals -----------------------------------------------------------------------------------


def test_bad_names_and_contexts_are_refused(glyph: Backbone) -> None:
    context = glyph.context("a photo of a")
    with pytest.raises(ValueError, match="duplicate|repeated|twice"):
        glyph.class_embeddings(context, ["small alpha", "small alpha"])
    with pytest.raises(ValueError, match="zeppelin"):
        glyph.class_embeddings(context, ["small zeppelin"])
    with pytest.raises(ValueError, match="zeppelin"):
        glyph.encode_text(["a zeppelin"])
    with pytest.raises(ValueError, match=r"\(4, 64\)"):
        glyph.class_embeddings(torch.zeros(4, 64), NAMES)
    with pytest.raises(ValueError, match=r"\(5, 4, 128\)"):
        glyph.class_embeddings(torch.zeros(5, 4, 128), NAMES, per_class=True)


def test_too_many_positions_are_refused_with_the_numbers(glyph: Backbone) -> None:
    with pytest.raises(ValueError, match="30"):
        glyph.class_embeddings(torch.zeros(30, 128), NAMES)
    endless = "small alpha " * 20
    with pytest.raises(ValueError, match="27"):
        glyph.class_embeddings(glyph.context("a photo of a"), [*NAMES, endless.strip()])
    with pytest.raises(ValueError, match="42"):
        glyph.encode_text([endless.strip()])


def test_deep_prompts_that_do_not_fit_are_refused(glyph: Backbone) -> None:
    context = glyph.context("a photo of a")
    with pytest.raises(ValueError, match="3"):
        glyph.class_embeddings(context, NAMES, [context] * 3)
    with pytest.raises(ValueError, match=r"\(3, 128\)"):
        glyph.class_embeddings(context, NAMES, [context[:3]])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"no_causal_mask": True}, "not causal"),
        ({"pool_type": "last"}, "pools 'last'"),
        ({"ls_init_value": 0.1}, "blocks of another kind"),
        ({"proj_bias": True}, "projection is not one matrix"),
    ],
)
def test_a_tower_of_another_layout_says_why(changes: dict[str, Any], reason: str) -> None:
    small = {"context_length": 16, "width": 64, "heads": 2, "layers": 1}
    assert misfit(CLIP(64, TINY, small)) == ""
    assert reason in misfit(CLIP(64, TINY, small | changes))


def test_a_model_without_clips_text_tower_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="ViT-B-16-SigLIP"):
        load_backbone("ViT-B-16-SigLIP")
