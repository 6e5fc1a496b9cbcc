"""Images with a question: two tasks of Glyph World, encoded once by its frozen vision transformer.

Training and validation images are those of a task's tuning part, 800 and 200; test images are the
task's. Symbols: N images, t patches, w width of the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.clip.frozen_vision import frozen_vision_encoder
from dip_lib.errors import one_of
from glyph_world.language.texts import HOW_MANY, WHICH, answer_tokens, padded, question_tokens
from glyph_world.models import load_glyph_clip, normalise
from glyph_world.tasks import TASKS, TUNING, task_dataset

TOWER = "glyph-vit"
QUESTIONS = {
    "natural-greek": WHICH[0][0].format(family=TASKS["natural-greek"]["family"]),
    "how-many": HOW_MANY[0][0],
}
"""Task -> what is asked about each of its images."""


@dataclass(frozen=True)
class Questions:
    """Images of one task, all with its question.

    Attributes:
        task, question: "how-many", "how many letters are here?"
        answers: every possible answer.
        labels: (N,) which of them is right.
        images: (N, t, w) the patch tokens behind the encoder's last block, each of mean 0 and
            variance 1.
    """

    task: str
    question: str
    answers: tuple[str, ...]
    labels: Tensor
    images: Tensor

    def texts(self) -> list[list[int]]:
        """The tokens of question and right answer of every image."""
        ends = [answer_tokens(answer) for answer in self.answers]
        begin = question_tokens(self.question)
        return [begin + ends[label] for label in self.labels.tolist()]


@torch.no_grad()
def visual_questions(
    task: str, split: str, count: int | None = None, tower: str = TOWER
) -> Questions:
    """The first images of a split with the task's question.

    Args:
        task: one of :data:`QUESTIONS`.
        split: "train" (800 images), "val" (200) or "test" (2,000).
        count: N; default the whole split.
        tower: a vision transformer of Glyph World.

    Raises:
        UnknownNameError: another task or split.
    """
    question = QUESTIONS[one_of("task with a question", task, QUESTIONS)]
    dataset = task_dataset(task if split == "test" else task + TUNING)
    encoder = frozen_vision_encoder(load_glyph_clip(tower)[0], tower)
    labels = dataset.labels(split)[:count]
    parts = [
        encoder.states(normalise(images[0]))[-1][:, -encoder.patches :]
        for images in dataset.batches(split, rows=range(len(labels)))
    ]
    tokens = torch.cat(parts)
    images = F.layer_norm(tokens, tokens.shape[-1:])
    return Questions(task, question, dataset.class_names, labels, images)


@dataclass(frozen=True)
class Examples:
    """Texts that a picture goes with, of several tasks together.

    Attributes:
        texts: (N, T) tokens of question and answer, padded behind with 0.
        begins: (N,) where the answer begins.
        images: (N, t, w).
    """

    texts: Tensor
    begins: Tensor
    images: Tensor

    @classmethod
    def of(cls, parts: Sequence[Questions]) -> Examples:
        """All images of the parts, one part after the other."""
        rows = [row for part in parts for row in part.texts()]
        begins = [len(question_tokens(part.question)) for part in parts for _ in part.labels]
        images = torch.cat([part.images for part in parts])
        return cls(padded(rows), torch.tensor(begins), images)

    def __len__(self) -> int:
        return len(self.texts)

    def at(self, rows: Tensor) -> Examples:
        """The examples at these rows."""
        return Examples(self.texts[rows], self.begins[rows], self.images[rows])
