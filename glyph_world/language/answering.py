"""What the language model answers: words one after the other, or the likeliest of given answers.

Question and image are read once; words that follow read what was kept of them.

Symbols: B images, A answers, L words of the longest answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from glyph_world.language.model import LanguageModel, Past
from glyph_world.language.questions import Questions
from glyph_world.language.sights import Nothing, Shown
from glyph_world.language.texts import answer_tokens, padded, question_tokens

CHUNK = 100
"""Images that are answered at once."""


def _asked(
    model: LanguageModel, shown: Shown, question: Sequence[int], images: int
) -> tuple[Tensor, Past]:
    """Logits (B, V) of an answer's first word, and what the model keeps of image and question."""
    x = model.embed(torch.tensor([question])).expand(images, -1, -1)
    if shown.before is not None:
        x = torch.cat([shown.before, x], 1)
    states, past = model(x, feed_forwards=shown.feed_forwards)
    return model.logits(states[:, -1]), past


@torch.no_grad()
def generated(
    model: LanguageModel, sight: nn.Module, question: str, images: Tensor, longest: int
) -> Tensor:
    """The likeliest word after each word, (B, L): L = ``longest``, the end mark among them."""
    shown, begin = sight(images), question_tokens(question)
    logits, past = _asked(model, shown, begin, len(images))
    words = [logits.argmax(-1)]
    for place in range(longest - 1):
        x = model.embed(words[-1][:, None], len(begin) + place)
        states, past = model(x, past, shown.feed_forwards)
        words.append(model.logits(states[:, 0]).argmax(-1))
    return torch.stack(words, 1)


@torch.no_grad()
def ranked(
    model: LanguageModel,
    question: str,
    answers: Sequence[str],
    images: Tensor | None = None,
    sight: nn.Module | None = None,
) -> Tensor:
    """Log-probability of each answer with its end mark, (B, A); of one text without images."""
    sight = sight or Nothing()
    images = torch.empty(1, 0, 0) if images is None else images
    shown, begin = sight(images), question_tokens(question)
    first, past = _asked(model, shown, begin, len(images))
    rows = padded([answer_tokens(answer) for answer in answers])  # (A, L)
    count = len(rows)
    wide = [
        (key.repeat_interleave(count, 0), value.repeat_interleave(count, 0)) for key, value in past
    ]
    x = model.embed(rows[:, :-1], len(begin)).repeat(len(images), 1, 1)  # (B A, L - 1, d)
    states, _ = model(x, wide, shown.feed_forwards)
    likely = first.log_softmax(-1)[:, rows[:, 0]]  # (B, A)
    asked = (rows[:, 1:] > 0).repeat(len(images), 1)  # (B A, L - 1): not the padding
    words = rows[:, 1:].repeat(len(images), 1)[asked]
    later = model.logits(states[asked]).log_softmax(-1).gather(-1, words[:, None])[:, 0]
    sums = torch.zeros(len(asked)).index_add(0, asked.nonzero()[:, 0], later)
    return likely + sums.view(len(images), count)


def exact(words: Tensor, answers: Sequence[str], labels: Tensor) -> Tensor:
    """Whether words (B, L) are the right answer up to its end mark, (B,)."""
    right = padded([answer_tokens(answer) for answer in answers])[labels]  # (B, up to L)
    same = (words[:, : right.shape[1]] == right) | (right == 0)
    return same.all(1)


def longest_answer(answers: Sequence[str]) -> int:
    """Words of the longest answer, its end mark among them."""
    return max(len(answer_tokens(answer)) for answer in answers)


def accuracies(model: LanguageModel, sight: nn.Module, asked: Questions) -> dict[str, float]:
    """Accuracy, %: of the generated answer word for word ("exact"), of the likeliest ("ranked")."""
    longest, right = longest_answer(asked.answers), dict[str, list[Tensor]](exact=[], ranked=[])
    for images, labels in zip(asked.images.split(CHUNK), asked.labels.split(CHUNK), strict=True):
        words = generated(model, sight, asked.question, images, longest)
        right["exact"].append(exact(words, asked.answers, labels))
        likely = ranked(model, asked.question, asked.answers, images, sight)
        right["ranked"].append(likely.argmax(1) == labels)
    return {how: 100 * float(torch.cat(each).double().mean()) for how, each in right.items()}
