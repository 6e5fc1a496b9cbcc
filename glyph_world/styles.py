"""Styles: the generic look of pre-training, and the looks that shift away from it.

A *style* is a :class:`Look`, a distribution over ways of drawing a mask. Style is a factor: any
family can be drawn in any style. The default pairing was fixed before any result of DIP on it was
known (the page on the world says what had been seen).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dip_lib.errors import one_of


@dataclass(frozen=True, kw_only=True)
class Look:
    """A distribution over drawings. ``p_*`` are probabilities; the rest are strengths.

    Attributes:
        turn, rotation: mean and half-range of the rotation, degrees.
        zoom: range of the scale. shear, shift: half-ranges (shift in half image widths).
        contrast: least difference of lightness between ink and ground, in [0, 1].
        p_dark: probability of dark ink on light ground. p_grey: of a colourless ink or ground.
        p_thick, p_outline, p_cut: thicker strokes, outline only, a square cut away.
        texture, blur, low, noise: amplitude of the ground's texture, largest blur (pixels),
            resolution kept when pixelated, largest standard deviation of additive noise.
        mirror, dilate, dots, stripes, fade: the shifts of the styles below; 0 or False = absent.
    """

    turn: float = 0.0
    rotation: float = 15.0
    zoom: tuple[float, float] = (0.75, 1.2)
    shear: float = 0.15
    shift: float = 0.10
    contrast: float = 0.35
    p_dark: float = 0.5
    p_grey: float = 0.3
    p_thick: float = 0.2
    p_outline: float = 0.08
    p_cut: float = 0.1
    p_texture: float = 0.5
    texture: float = 0.35
    p_blur: float = 0.3
    blur: tuple[float, float] = (0.36, 1.2)
    p_low: float = 0.15
    low: float = 0.5
    p_noise: float = 0.5
    noise: tuple[float, float] = (0.03, 0.15)
    mirror: bool = False
    dilate: int = 0
    dots: float = 0.0
    stripes: float = 0.0
    fade: float = 0.0
    white: bool = False


GENERIC = Look()
"""The look of pre-training."""

# Systematic styles isolate their shift: no noise, blur or cuts beside it.
CRISP = replace(
    GENERIC,
    contrast=0.5,
    p_outline=0.0,
    p_cut=0.0,
    p_texture=0.2,
    p_blur=0.0,
    p_low=0.0,
    p_noise=0.0,
)
OUTLINE = replace(CRISP, p_outline=1.0, p_thick=0.0, dilate=3, zoom=(1.0, 1.3))

STYLES = {
    "plain": GENERIC,
    # systematic: the character is changed in a way that can be learned
    "mirror": replace(CRISP, mirror=True),
    "outline": OUTLINE,
    "dilation": replace(CRISP, dilate=5),
    "half-tone": replace(CRISP, dots=3.37, zoom=(1.0, 1.3), rotation=8.0),
    "rotation": replace(CRISP, turn=20.0, rotation=10.0, zoom=(0.9, 1.2), shear=0.05, p_thick=0.0),
    # destructive: information is lost
    "low resolution": replace(GENERIC, p_low=1.0, low=0.34, p_blur=0.0),
    "noise": replace(GENERIC, p_noise=1.0, noise=(0.18, 0.26)),
    "stripes": replace(GENERIC, stripes=0.1),
    "blur": replace(GENERIC, p_blur=1.0, blur=(1.8, 2.4)),
    "colour texture": replace(GENERIC, p_texture=1.0, texture=1.4, p_grey=0.0, contrast=0.25),
    "fading": replace(GENERIC, fade=1.0, contrast=0.2),
    # a shift of the source set
    "sketch": replace(OUTLINE, white=True, p_texture=0.0),
}

PAIRING = {
    "greek": "mirror",
    "latin": "outline",
    "boxes": "dilation",
    "dingbats": "half-tone",
    "dominoes": "rotation",
    "cyrillic": "low resolution",
    "arrows": "noise",
    "operators": "stripes",
    "shapes": "blur",
    "symbols": "colour texture",
    "syllabics": "fading",
    "source": "plain",
}
"""The style each family is drawn in by default."""

SYSTEMATIC = ("greek", "latin", "boxes", "dingbats", "dominoes")
DESTRUCTIVE = ("cyrillic", "arrows", "operators", "shapes", "symbols", "syllabics")


def style_of(family: str, style: str = "default") -> str:
    """The style's own name; "default" is the family's. Raises ValueError for an unknown one."""
    return PAIRING[family] if style == "default" else one_of("style", style, STYLES)
