"""What the language model reads: questions, answers and statements about names and counts.

The texts know the names of all families and the eight counts, and no picture. A word is a token.
Symbols: B texts, T tokens of the longest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from dip_lib.errors import UnknownWordsError
from glyph_world.families import glyph_dataset
from glyph_world.scenes import COUNTS
from glyph_world.world import FAMILIES

PADDING, START, END = "<padding>", "<start>", "<end>"
MARKS = (PADDING, START, END)
WHICH = (
    ("which character of {family} is this?", "{name}"),
    ("what is this character of {family} called?", "{name}"),
    ("", "this is {name}, a character of {family}."),
)
"""(question, answer) about one character; a statement has no question."""
HOW_MANY = (
    ("how many letters are here?", "{count}"),
    ("what is the number of letters?", "{count}"),
    ("", "there are {count} letters here."),
)
"""(question, answer) about many letters."""
ABOUT_CHARACTERS = 0.75
"""Share of the texts about one character."""
TOKEN = re.compile(r"[\w-]+|[?.,]")
LONGEST = 24
"""Tokens of the longest text that the model can read."""


@cache
def names_of(family: str) -> tuple[str, ...]:
    """The class names of a family."""
    return glyph_dataset(family).class_names


@cache
def vocabulary() -> tuple[str, ...]:
    """Every token: the three marks, then all words of the texts in alphabetical order."""
    texts = [text for pair in (*WHICH, *HOW_MANY) for text in pair] + [*FAMILIES, *COUNTS]
    texts += [name for family in FAMILIES for name in names_of(family)]
    plain = [re.sub(r"\{\w+\}", "", text) for text in texts]
    return (*MARKS, *sorted({word for text in plain for word in TOKEN.findall(text)}))


@cache
def _numbers() -> dict[str, int]:
    return {word: number for number, word in enumerate(vocabulary())}


def tokens(text: str) -> list[int]:
    """The numbers of a text's words.

    Raises:
        UnknownWordsError: words that no text of the pre-training has.
    """
    words, known = TOKEN.findall(text.lower()), _numbers()
    if unknown := [word for word in words if word not in known]:
        raise UnknownWordsError("the language model of Glyph World", unknown, text, ())
    return [known[word] for word in words]


def question_tokens(question: str) -> list[int]:
    """What stands before an answer: the start mark and the question."""
    return [_numbers()[START], *tokens(question)]


def answer_tokens(answer: str) -> list[int]:
    """An answer and the end mark."""
    return [*tokens(answer), _numbers()[END]]


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows of tokens as (B, T), shorter ones padded behind with 0."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])


def words_of(row: Sequence[int]) -> str:
    """The words of a row of tokens up to its end mark."""
    found = [vocabulary()[token] for token in row]
    found = found[: found.index(END)] if END in found else found
    return " ".join(word for word in found if word not in MARKS)


def drawn_text(random: np.random.Generator) -> list[int]:
    """One text of the pre-training, from start to end mark."""
    about_one = random.random() < ABOUT_CHARACTERS
    forms = WHICH if about_one else HOW_MANY
    question, answer = forms[random.integers(len(forms))]
    family = FAMILIES[random.integers(len(FAMILIES))]
    names = names_of(family)
    filled = {
        "family": family,
        "name": names[random.integers(len(names))],
        "count": COUNTS[random.integers(len(COUNTS))],
    }
    return question_tokens(question.format(**filled)) + answer_tokens(answer.format(**filled))


def batch(size: int, seed: int, step: int) -> Tensor:
    """The texts of a step of pre-training, (B, T)."""
    random = np.random.default_rng([seed, step])
    return padded([drawn_text(random) for _ in range(size)])
