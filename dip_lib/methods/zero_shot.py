"""Zero-shot CLIP: the dataset's hand-written template, or an ensemble; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.methods.method import Method
from dip_lib.methods.prompts import TEMPLATES, text_of_templates


@dataclass(frozen=True, kw_only=True)
class ZeroShot(Method):
    """Zero-shot classification by the dataset's hand-written template (Radford et al., 2021)."""

    name = "zero-shot"
    label = "zero-shot"
    has_seed = False

    def templates(self, clip: Backbone, template: str) -> Sequence[str]:
        """The templates whose class embeddings are averaged; ``template`` is the dataset's."""
        return [template]

    def text(self, clip: Backbone, template: str, names: Sequence[str]) -> Tensor:
        """Unit class embeddings of ``names``, (C, e)."""
        return text_of_templates(clip, self.templates(clip, template), names)


@dataclass(frozen=True, kw_only=True)
class Ensemble(ZeroShot):
    """Zero-shot classification by an average of templates.

    Args:
        own_template: whether the dataset's own is among them; CoOp's ``ZeroshotCLIP2`` leaves that
            of ImageNet out.
    """

    name = "ensemble"
    label = "zero-shot, ensemble"

    own_template: bool = True

    def templates(self, clip: Backbone, template: str) -> Sequence[str]:
        """The dataset's, and CoOp's selection for photographs or the backbone's own."""
        return [*[template] * self.own_template, *(clip.templates or TEMPLATES["photos"])]
