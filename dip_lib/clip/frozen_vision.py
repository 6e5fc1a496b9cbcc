"""Vision transformers of open_clip and timm, frozen, as a :class:`VisionEncoder`."""

from __future__ import annotations

from typing import Any

from open_clip.timm_model import TimmModel
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from timm.models import vision_transformer as timm_vit
from torch import nn

from dip_lib.clip.vision_encoder import Block, VisionEncoder


def frozen_vision_encoder(model: nn.Module, name: str = "") -> VisionEncoder:
    """Freeze an image encoder and give access to its blocks.

    Args:
        model: an open_clip CLIP or its image encoder, or a timm vision transformer.
        name: what errors call it; default its class.

    Raises:
        ValueError: an encoder without blocks, such as a ResNet, or with blocks of another layout.
    """
    visual: Any = getattr(model, "visual", model)
    visual = visual.trunk if isinstance(visual, TimmModel) else visual
    name = name or type(visual).__name__
    if not isinstance(visual, VisionTransformer | timm_vit.VisionTransformer):
        raise ValueError(
            f"the image encoder of {name} is a {type(visual).__name__}: prompts need the blocks of "
            "a vision transformer, such as open_clip's ViT-B-16, timm's or glyph-vit"
        )
    visual.eval().requires_grad_(False)
    if isinstance(visual, VisionTransformer):
        tokens = len(visual.positional_embedding)
        return VisionEncoder(
            name,
            lambda pixels: visual._embeds(pixels.to(visual.conv1.weight)),
            tuple(_open_clip_block(each, name) for each in visual.transformer.resblocks),
            lambda x: visual._pool(x)[0],
            int(visual.positional_embedding.shape[1]),
            tokens,
            tokens - 1,
            1 if visual.pool_type == "tok" and visual.attn_pool is None else tokens,
            visual.conv1.weight[0].numel(),
            visual.conv1.weight.device,
        )
    patch = visual.patch_embed
    tokens = patch.num_patches + visual.num_prefix_tokens
    return VisionEncoder(
        name,
        lambda pixels: visual.norm_pre(
            visual._pos_embed(visual.patch_embed(pixels.to(patch.proj.weight)))
        ),
        tuple(_timm_block(each, name) for each in visual.blocks),
        lambda x: visual.forward_head(visual.norm(x), pre_logits=True),
        visual.embed_dim,
        tokens,
        patch.num_patches,
        1 if visual.global_pool == "token" else tokens,
        patch.proj.weight[0].numel(),
        patch.proj.weight.device,
    )


def _open_clip_block(block: Any, name: str) -> Block:
    if not (
        isinstance(block, ResidualAttentionBlock) and isinstance(block.attn, nn.MultiheadAttention)
    ):
        raise ValueError(f"{name} has blocks of another layout: {type(block).__name__}")
    attn = block.attn
    return Block(
        block,
        (block.ln_1, block.ln_2),
        block.attention,
        block.mlp,
        (block.ls_1, block.ls_2),
        (attn.in_proj_weight, attn.in_proj_bias),
        attn.out_proj.weight,
        attn.out_proj.bias,
        attn.num_heads,
        block.mlp.c_fc.out_features,
    )


def _timm_block(block: Any, name: str) -> Block:
    attn: Any = getattr(block, "attn", None)
    plain = isinstance(block, timm_vit.Block) and isinstance(attn, timm_vit.Attention)
    if not plain or not all(isinstance(each, nn.Identity) for each in (attn.q_norm, attn.norm)):
        raise ValueError(f"{name} has blocks of another layout: {type(block).__name__}")
    return Block(
        block,
        (block.norm1, block.norm2),
        attn,
        block.mlp,
        (block.ls1, block.ls2),
        (attn.qkv.weight, attn.qkv.bias),
        attn.proj.weight,
        attn.proj.bias,
        attn.num_heads,
        block.mlp.fc1.out_features,
    )
