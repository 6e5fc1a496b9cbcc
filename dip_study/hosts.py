"""The runs of the page on methods: every method plain and with DIP in place of its prompts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from dip_lib.methods import METHODS, CoOp
from dip_lib.training.run import Run
from dip_study.loaded import backbone_of
from dip_study.profiles import Profile
from dip_study.runs import DIP, coop, costly, dip, once, seeds, zero_shots

SHORT = 1 / 4
"""Part of the epochs of a CoOp that is stopped early: the schedule alone moves new classes."""
CLIP_SCALE, OPENAI = 100.0, "openai"
"""The logit scale at which methods' weights were published, and the weights that have it."""


def methods_of(profile: Profile, side: str) -> list[str]:
    """The methods of a side that the profile has settings for, but CoOp, in the pages' order."""
    return [
        name
        for name, method in METHODS.items()
        if method.side == side and method is not CoOp and profile.has(name)
    ]


def text_hosts(profile: Profile) -> list[str]:
    """Methods on stored features whose prompts can be DIPs."""
    return [n for n in methods_of(profile, "text") if not METHODS[n].alternative_to_dip]


def dense_variants(profile: Profile) -> list[str]:
    """Methods on stored features that make the full matrix dense in another way."""
    return [n for n in methods_of(profile, "text") if METHODS[n].alternative_to_dip]


def rescaled(run: Run, part: float = 1.0) -> Run:
    """The run with its method's weight for the logit scale of its backbone, or a part of that.

    The gradient of the cross-entropy grows with the logit scale, and that of KgCoOp's distance does
    not; so weights are multiplied by the scale over :data:`CLIP_SCALE`. ProGrad's is a share of a
    gradient, where this only makes the method milder; it is treated alike. The weight has three
    digits, as it is in the run's key and the last of the scale differ between processors.
    OpenAI's own backbones have CLIP's scale, and are not loaded for it.
    """
    tower, method = run.tower, cast(Any, run.method)
    scale = CLIP_SCALE
    if tower.weights != OPENAI:
        scale = backbone_of(tower.backbone, tower.weights, "fp32", "cpu").logit_scale
    weight = float(f"{part * method.weight * scale / CLIP_SCALE:.3g}")
    return replace(run, method=replace(method, weight=weight))


def hosts(profile: Profile, **changes: Any) -> list[Run]:
    """Every method that trains on stored features, plain and with DIP; CoOp on a short schedule.

    In a profile with :attr:`Profile.rescaled` those with a weight are there twice: see
    :func:`rescaled`.
    """
    runs = [*zero_shots(profile, **changes), *zero_shots(profile, "ensemble", **changes)]
    short = max(1, round(SHORT * profile.epochs))
    runs += [*coop(profile, **changes), *coop(profile, epochs=short, **changes)]
    runs += dip(profile, **changes)
    for method in dense_variants(profile):
        runs += seeds(profile, method, **changes)
    for method in text_hosts(profile):
        both = [*seeds(profile, method, **changes), *seeds(profile, method, DIP, **changes)]
        runs += both
        if profile.rescaled and "weight" in METHODS[method].settings():
            runs += [rescaled(run) for run in both]
    return once(runs)


def image_hosts(profile: Profile, **changes: Any) -> list[Run]:
    """Methods that encode images in each step, plain and with DIP; beside them CoOp and DIP."""
    few = costly(profile, profile.costly["seeds"])
    runs: list[Run] = []
    for method in methods_of(profile, "image"):
        plain = seeds(few, method, **changes)
        beside = {"backbone": plain[0].tower.backbone} if plain else {}
        runs += [*plain, *seeds(few, method, DIP, **changes)]
        runs += [*coop(few, **beside | changes), *dip(few, **beside | changes)]
        runs += zero_shots(replace(few, towers=tuple(beside.values())), **changes)
    return once(runs)
