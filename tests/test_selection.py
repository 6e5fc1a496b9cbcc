"""Choosing a prompt without new classes: the rules on numbers, and on prompts of a real tower."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from few_glyphs import NAMES, few

from dip_lib import select_prompt
from dip_lib.errors import UnknownNameError
from dip_lib.selection import RULES, choose

NAN = math.nan


def test_each_rule_on_numbers_whose_answer_is_seen() -> None:
    accuracy, drift = [70.0, 80.0, 79.0, 60.0], [0.2, 0.5, 0.3, 0.0]
    assert choose(accuracy, drift, 100, "validation") == 1
    assert choose(accuracy, drift, 100, "drift") == 3
    assert choose(accuracy, drift, 100, "one standard error") == 2  # 80 - 4.0
    assert choose(accuracy, drift, 10, "one standard error") == 0  # 80 - 12.6
    assert choose(accuracy, drift, 10**6, "one standard error") == 1
    assert choose([1.0, 2.0, 3.0], [0.1, 0.15, 0.3], 100, "mean rank") == 0


@pytest.mark.parametrize("rule", RULES)
def test_a_candidate_that_is_best_in_both_is_chosen_by_every_rule(rule: str) -> None:
    rng = np.random.default_rng(0)
    accuracy, drift = rng.uniform(50, 90, 9), rng.uniform(0.1, 1, 9)
    accuracy[4], drift[4] = 95, 0.01
    assert choose(accuracy, drift, 40, rule) == 4
    order = rng.permutation(9)  # whatever the order
    assert order[choose(accuracy[order], drift[order], 40, rule) or 0] == 4


@pytest.mark.parametrize("rule", RULES)
def test_what_is_not_finite_is_not_chosen_and_the_first_of_equals_is(rule: str) -> None:
    assert choose([NAN, 50.0, 50.0], [0.0, 0.2, 0.2], 40, rule) == 1
    assert choose([99.0, 50.0], [NAN, 0.2], 40, rule) == 1
    assert choose([NAN, NAN], [0.1, 0.1], 40, rule) is None


def test_other_rules_and_numbers_of_others_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="'best'"):
        choose([1.0], [1.0], 1, "best")
    with pytest.raises(ValueError, match="2"):
        choose([1.0], [1.0, 2.0], 1)


def test_a_prompt_is_chosen_by_its_accuracy_and_by_how_far_words_have_moved() -> None:
    bench = few()
    clip, images = bench.clip, bench.features.val
    labels = bench.dataset.labels("val")
    start = clip.context("a photo of a")
    torch.manual_seed(0)
    away = torch.randn_like(start)
    prompts = [start + size * away for size in (0.0, 0.05, 1.0)]
    found = select_prompt(clip, prompts, images, labels, NAMES, rule="drift")
    assert found.index == 0
    assert found.drift[0] == pytest.approx(0, abs=1e-6)
    assert found.drift[0] < found.drift[1] < found.drift[2]
    for prompt, accuracy in zip(prompts, found.accuracy, strict=True):
        best = (images @ clip.class_embeddings(prompt, NAMES).T).argmax(1)
        assert accuracy == pytest.approx(100 * float((best == labels).double().mean()))
    best = select_prompt(clip, prompts, images, labels, NAMES, rule="validation")
    assert best.accuracy[best.index] == best.accuracy.max()
    # a number added to all entries of a prompt changes no output, so it is no drift
    shifted = [start + 3.0, prompts[2]]
    moved = select_prompt(clip, shifted, images, labels, NAMES, rule="drift")
    assert moved.index == 0 and moved.drift[0] == pytest.approx(0, abs=1e-4)
    named = select_prompt(clip, prompts, images, labels, NAMES, ("small arrow", "large box"))
    assert named.drift[2] != found.drift[2]


def test_no_prompt_no_image_and_prompts_that_are_not_finite_are_refused() -> None:
    bench = few()
    clip, images, labels = bench.clip, bench.features.val, bench.dataset.labels("val")
    start = clip.context("a photo of a")
    for prompts, of in (([], images), ([start], images[:0])):
        with pytest.raises(ValueError, match="0 "):
            select_prompt(clip, prompts, of, labels, NAMES)
    with pytest.raises(ValueError, match="finite"):
        select_prompt(clip, [start * NAN], images, labels, NAMES)
