"""From masks to images in a given look. Symbols: B images of S x S pixels.

Every random choice is drawn for each image separately, never once for a batch.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from glyph_world.styles import Look

IMAGE_SIZE = 48


def _between(count: int, low: float, high: float, random: torch.Generator) -> Tensor:
    return torch.rand(count, generator=random) * (high - low) + low


def _chosen(count: int, probability: float, random: torch.Generator) -> Tensor:
    return torch.rand(count, generator=random) < probability


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image by its own ``sigma`` (B,), pixels; (B, 3, S, S) -> (B, 3, S, S)."""
    radius = math.ceil(2 * float(sigma.max()))
    offset = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-(offset**2) / (2 * sigma[:, None] ** 2))  # (B, k)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)  # (3B, k)
    flat = F.pad(images, (radius,) * 4, mode="reflect").flatten(0, 1)[None]  # (1, 3B, S+, S+)
    flat = F.conv2d(flat, kernel[:, None, None], groups=len(kernel))
    return F.conv2d(flat, kernel[:, None, :, None], groups=len(kernel)).view_as(images)


def _shape(masks: Tensor, look: Look, random: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """What the ink covers before it is placed: (B, 1, 64, 64) in 0..1."""
    ink, count = masks.float()[:, None] / 255, len(masks)
    if look.mirror:
        ink = ink.flip(-1)
    if look.dilate:
        ink = F.max_pool2d(ink, look.dilate, 1, look.dilate // 2)
    thick, outline = _chosen(count, look.p_thick, random), _chosen(count, look.p_outline, random)
    grown = F.max_pool2d(ink, 3, 1, 1)
    ink = torch.where(thick.view(-1, 1, 1, 1), grown, ink)
    rim = (F.max_pool2d(ink, 3, 1, 1) - 0.9 * ink).clamp(0, 1)
    return torch.where(outline.view(-1, 1, 1, 1), rim, ink), {"bold": thick, "outline": outline}


def _place(ink: Tensor, look: Look, random: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Rotate, scale, shear and shift onto S x S pixels: (B, 1, S, S)."""
    count = len(ink)
    angle = _between(count, look.turn - look.rotation, look.turn + look.rotation, random)
    angle = angle * math.pi / 180
    zoom = _between(count, *look.zoom, random)
    shear = _between(count, -look.shear, look.shear, random)
    dx, dy = (_between(count, -look.shift, look.shift, random) for _ in "xy")
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    rows = [torch.stack([cos, shear - sin, dx], 1), torch.stack([sin, cos, dy], 1)]
    size = [count, 1, IMAGE_SIZE, IMAGE_SIZE]
    grid = F.affine_grid(torch.stack(rows, 1), size, align_corners=False)
    tags = {"large": zoom > 1.1, "small": zoom < 0.85, "tilted": angle.abs() > 0.17}
    return F.grid_sample(ink, grid, align_corners=False), tags


def _damage(ink: Tensor, look: Look, random: torch.Generator) -> Tensor:
    """Cuts, half-tone dots and fading, which act on the placed ink."""
    count = len(ink)
    row = torch.arange(IMAGE_SIZE, dtype=torch.float32).view(1, 1, -1, 1)
    column = row.transpose(2, 3)

    def each(low: float, high: float) -> Tensor:
        return _between(count, low, high, random).view(-1, 1, 1, 1)

    cut = _chosen(count, look.p_cut, random).view(-1, 1, 1, 1)
    top, left, side = each(0, 0.8 * IMAGE_SIZE), each(0, 0.8 * IMAGE_SIZE), 0.2 * IMAGE_SIZE
    hole = (row >= top) & (row < top + side) & (column >= left) & (column < left + side)
    ink = ink * ~(cut & hole)
    if look.dots:
        angle, px, py = each(0, math.pi / 2), each(0, 2 * math.pi), each(0, 2 * math.pi)
        pitch = 2 * math.pi / look.dots
        u = pitch * (angle.cos() * column + angle.sin() * row) + px
        v = pitch * (angle.cos() * row - angle.sin() * column) + py
        screen = (1 + u.sin() * v.sin()) / 2  # printed tone: a quarter of the ground, three of ink
        ink = (0.5 + 4 * (0.25 + 0.5 * ink - screen)).clamp(0, 1)
    if look.fade:
        angle = each(0, 2 * math.pi)
        along = angle.cos() * (column / IMAGE_SIZE - 0.5) + angle.sin() * (row / IMAGE_SIZE - 0.5)
        ink = ink * (1 - look.fade * (along + 0.5).clamp(0, 1))
    return ink


def _ground(
    look: Look, count: int, random: torch.Generator
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Colours: ground (B, 3, S, S), ink (B, 3, 1, 1)."""
    dark = _chosen(count, look.p_dark, random)
    low = _between(count, 0, 0.45, random)
    room = (1 - look.contrast - low).clamp(min=0)
    high = (low + look.contrast + torch.rand(count, generator=random) * room).clamp(max=1)

    def colour(lightness: Tensor) -> Tensor:
        hue = torch.rand(count, 3, generator=random) - 0.5
        hue = hue - hue.mean(1, keepdim=True)
        hue = hue * ~_chosen(count, look.p_grey, random)[:, None]
        return (lightness[:, None] + 0.7 * hue).clamp(0, 1).view(count, 3, 1, 1)

    # "dark" names the ground, as the captions do: light ink on it
    ink = colour(torch.where(dark, high, low))
    ground = colour(torch.where(dark, low, high)).expand(count, 3, IMAGE_SIZE, IMAGE_SIZE)
    textured = _chosen(count, look.p_texture, random)
    fine = torch.rand(count, 3, 13, 13, generator=random) - 0.5
    plain = _chosen(count, 0.5, random).view(-1, 1, 1, 1)  # colourless texture
    fine = torch.where(plain & (look.p_grey > 0), fine[:, :1], fine)
    scale = _between(count, 3 / 13, 1, random)  # 3 to 13 patches across
    zero = torch.zeros_like(scale)
    warp = torch.stack(
        [torch.stack([scale, zero, zero], 1), torch.stack([zero, scale, zero], 1)], 1
    )
    grid = F.affine_grid(warp, [count, 3, IMAGE_SIZE, IMAGE_SIZE], align_corners=False)
    texture = F.grid_sample(fine, grid, padding_mode="border", align_corners=False)
    ground = (ground + look.texture * textured.view(-1, 1, 1, 1) * texture).clamp(0, 1)
    return ground, ink, {"light": dark, "textured": textured}


def _stripes(images: Tensor, strength: float, random: torch.Generator) -> Tensor:
    row = torch.arange(IMAGE_SIZE, dtype=torch.float32).view(1, 1, -1, 1)
    angle = _between(len(images), 0, math.pi, random).view(-1, 1, 1, 1)
    pitch = _between(len(images), 0.5, 1.2, random).view(-1, 1, 1, 1)
    phase = pitch * (angle.cos() * row.transpose(2, 3) + angle.sin() * row)
    return (images + strength * phase.sin()).clamp(0, 1)


def render(masks: Tensor, look: Look, random: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Draw masks in a look.

    Args:
        masks: (B, 64, 64) uint8, 255 = ink.
        look: the distribution to draw from.
        random: source of every choice; the same state gives the same images.

    Returns:
        Images (B, 3, 48, 48) in 0..1, and for each caption word the images it describes (B,).
    """
    count = len(masks)
    ink, strokes = _shape(masks, look, random)
    ink, pose = _place(ink, look, random)
    ink = _damage(ink, look, random)
    ground, colour, tone = _ground(look, count, random)
    if look.white:
        ground, colour = torch.ones_like(ground), colour * 0.3
    if look.stripes:
        ground = _stripes(ground, look.stripes, random)
    images = ground * (1 - ink) + colour * ink
    blurry = _chosen(count, look.p_blur, random)
    sigma = _between(count, *look.blur, random)
    if blurry.any():
        images[blurry] = gaussian_blur(images[blurry], sigma[blurry])
    pixelated = _chosen(count, look.p_low, random)
    if pixelated.any():
        small = F.interpolate(images[pixelated], size=int(IMAGE_SIZE * look.low), mode="area")
        images[pixelated] = F.interpolate(small, size=IMAGE_SIZE, mode="nearest")
    noisy = _chosen(count, look.p_noise, random)
    amount = _between(count, *look.noise, random) * noisy
    noise = torch.randn(images.shape, generator=random)
    images = (images + amount.view(-1, 1, 1, 1) * noise).clamp(0, 1)
    tags = {"blurry": blurry, "pixelated": pixelated, "noisy": amount > 0.06}
    return images, strokes | tags | tone | pose
