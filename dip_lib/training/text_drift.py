"""How far learned prompts have moved the embeddings of class names: no images are needed.

Symbols: R runs, C classes, e embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.clip.arbitrary_words import arbitrary_words
from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.prompts import FrozenClip, Learned


def class_texts(
    method: PromptMethod, learned: Learned, frozen: FrozenClip, names: Sequence[str]
) -> Tensor:
    """Class embeddings under learned prompts, (R, C, e), of any method with one text a class."""
    every = torch.eye(frozen.template_text.shape[1], device=frozen.clip.device)  # (e, e)
    logits = method.classifier(learned, frozen, names)(every)  # (R, e, C)
    return logits.transpose(1, 2) / frozen.clip.logit_scale


def centred_drift(after: Tensor, before: Tensor) -> Tensor:
    """1 - cosine between embeddings (R, C, e) before and after, averaged over the classes: (R,).

    The mean over the classes is taken away on either side first: what all classes have in common
    tells none from another, and moving it changes few predictions.
    """
    now, then = (each - each.mean(1, keepdim=True) for each in (after, before))
    return 1 - F.cosine_similarity(now, then, dim=-1).mean(1)


@dataclass(frozen=True, eq=False)
class TextDrift:
    """The embeddings of several sets of names before training, to compare with.

    Attributes:
        names: "base" and "new", a dataset's classes, and "words", names of neither.
        before: set -> (R, C, e) embeddings.
    """

    names: Mapping[str, tuple[str, ...]]
    before: Mapping[str, Tensor]

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        method: PromptMethod,
        learned: Learned,
        frozen: FrozenClip,
        base: Sequence[str],
        new: Sequence[str],
    ) -> TextDrift:
        """The embeddings under what runs have ``learned``, which is their start."""
        if method.text_per_image:  # no class has one embedding
            return cls({}, {})
        sets = {"base": tuple(base)}
        if not method.own_classes_only:
            words = arbitrary_words(frozen.clip, (*base, *new))
            sets |= {"new": tuple(new), "words": words}
        names = {kind: each for kind, each in sets.items() if len(each) > 1}
        before = {kind: class_texts(method, learned, frozen, each) for kind, each in names.items()}
        return cls(names, before)

    @torch.no_grad()
    def rows(
        self, method: PromptMethod, learned: Learned, frozen: FrozenClip, runs: int
    ) -> list[dict[str, float]]:
        """For each of R runs "drift_base", "drift_new" and "drift_words", of those there are."""
        rows: list[dict[str, float]] = [{} for _ in range(runs)]
        for kind, names in self.names.items():
            moved = centred_drift(class_texts(method, learned, frozen, names), self.before[kind])
            for row, value in zip(rows, moved.tolist(), strict=True):
                row[f"drift_{kind}"] = value
        return rows
