"""A method that learns the prompt of the text encoder alone, as CoOp's ``PromptLearner`` holds it.

The class name may stand behind the vectors, between them or before them, and every class may have
vectors of its own. Source: ``CLASS_TOKEN_POSITION`` and ``CSC`` in ``trainers/coop.py`` of
KaiyangZhou/CoOp; KgCoOp, ProGrad and DePT have the same two settings, and the same defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from dip_lib.clip.layout import POSITIONS
from dip_lib.errors import one_of
from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.prompts import Classifier, FrozenClip, Learned, Start, first_contexts, scores


def check_position(position: str) -> None:
    """Raise UnknownNameError for a place of the class name that there is not."""
    one_of("class_position", position, POSITIONS)


def check_template(template: str) -> None:
    """Raise ValueError for a teacher's template without a place for the class name."""
    if template and "{}" not in template:
        raise ValueError(f"template = {template!r} has no {{}} for the class name")


@dataclass(frozen=True, kw_only=True)
class TextPromptMethod(PromptMethod):
    """A method that learns the prompt of the text encoder alone.

    Args:
        context, vectors: as :class:`PromptMethod`'s.
        class_position: where the class name stands: behind the context ("end"), between its first
            n // 2 vectors and the others ("middle"), or before it ("front").
        class_specific: whether every trained class has vectors (n, d) of its own. They all start
            from the words; CoOp's own class-specific vectors start at random (``context=""``). Such
            a prompt knows no other classes.

    Raises:
        ValueError: what :class:`PromptMethod` does, or an unknown position.
    """

    class_position: str = "end"
    class_specific: bool = False

    def check(self) -> None:
        super().check()
        check_position(self.class_position)

    @property
    def own_classes_only(self) -> bool:
        return self.class_specific

    def start(self, frozen: FrozenClip, seed: int) -> Start:
        """One prompt (n, d), or (C, n, d) with vectors for each class."""
        if not self.class_specific:
            return super().start(frozen, seed)
        classes = len(frozen.names)
        return Start((first_contexts(frozen.clip, self.context, self.vectors, seed, classes),))

    def text(self, learned: Learned, frozen: FrozenClip, names: Sequence[str]) -> Tensor:
        """Class embeddings (R, C, e) of any names; of class-specific prompts the trained ones."""
        prompt, own = learned.prompts[0], self.class_specific
        return frozen.clip.class_embeddings(prompt, names, (), own, self.class_position)

    def classifier(self, learned: Learned, frozen: FrozenClip, names: Sequence[str]) -> Classifier:
        """The classifier of any class names; of class-specific prompts the trained ones."""
        text = self.text(learned, frozen, names)
        return lambda images: scores(frozen, images, text)
