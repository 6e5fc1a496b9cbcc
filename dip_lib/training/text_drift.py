"""How far learned prompts have moved the embeddings of class names: no images are needed.

Symbols: R runs, C classes, e embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.clip.arbitrary_words import arbitrary_words
from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.prompts import Classifier, FrozenClip, Learned


def class_texts(classify: Classifier, frozen: FrozenClip) -> Tensor:
    """The class embeddings (R, C, e) of a classifier of any method with one text a class."""
    every = torch.eye(frozen.template_text.shape[1], device=frozen.clip.device)  # (e, e)
    logits = classify(every)  # (R, e, C)
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
        base: how many of a dataset's classes are base classes; the others are new.
        words: names of neither.
        before: "base", "new" and "words", where there are two or more -> (R, C, e) embeddings.
    """

    base: int
    words: tuple[str, ...]
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
            return cls(len(base), (), {})
        own = method.own_classes_only
        words = () if own else arbitrary_words(frozen.clip, (*base, *new))
        nothing = cls(len(base), words, {})
        classify = method.classifier(learned, frozen, (*base, *new))
        texts = nothing._texts(method, learned, frozen, classify)
        return replace(nothing, before={k: t for k, t in texts.items() if t.shape[1] > 1})

    def _texts(
        self, method: PromptMethod, learned: Learned, frozen: FrozenClip, classify: Classifier
    ) -> dict[str, Tensor]:
        """Set -> its embeddings (R, C, e)."""
        of_classes = class_texts(classify, frozen)
        texts = {"base": of_classes[:, : self.base], "new": of_classes[:, self.base :]}
        if self.words:
            texts["words"] = class_texts(method.classifier(learned, frozen, self.words), frozen)
        return texts

    @torch.no_grad()
    def rows(
        self, method: PromptMethod, learned: Learned, frozen: FrozenClip, classify: Classifier
    ) -> list[dict[str, float]]:
        """For each of R runs "drift_base", "drift_new" and "drift_words", of those there are.

        Args:
            classify: the learned classifier of base classes and new ones.
        """
        rows: list[dict[str, float]] = [{} for _ in learned.prompts[0]]
        if not self.before:
            return rows
        texts = self._texts(method, learned, frozen, classify)
        for kind, before in self.before.items():
            moved = centred_drift(texts[kind], before)
            for row, value in zip(rows, moved.tolist(), strict=True):
                row[f"drift_{kind}"] = value
        return rows
