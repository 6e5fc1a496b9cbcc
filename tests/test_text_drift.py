"""How far prompts move class embeddings: zero at the start, the same in any company, no images."""

from __future__ import annotations

import pytest
import torch
from few_glyphs import Bench, few, run

from dip_lib.clip import load_backbone
from dip_lib.clip.arbitrary_words import arbitrary_words
from dip_lib.methods.prompts import Learned
from dip_lib.training.evaluate import evaluate
from dip_lib.training.text_drift import TextDrift, centred_drift, class_texts


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


def test_a_shift_of_all_classes_and_a_scale_are_no_drift() -> None:
    torch.manual_seed(0)
    before, other = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    assert centred_drift(before, before).abs().max() < 1e-6
    assert centred_drift(3 * before + torch.randn(2, 1, 8), before).abs().max() < 1e-6
    assert (centred_drift(other, before) > 0.1).all()
    centred = before - before.mean(1, keepdim=True)
    assert centred_drift(-centred, before) == pytest.approx([2.0, 2.0])


def test_class_texts_are_the_embeddings_of_the_classes(bench: Bench) -> None:
    runs = bench.prepare(run("coop"), run("coop", seed=2))
    prompt = runs.learned().prompts[0] + 0.1 * torch.randn(2, 4, 1)
    names = ("greek letter", "small arrow")
    classify = runs.method.classifier(Learned((prompt,)), runs.frozen, names)
    texts = class_texts(classify, runs.frozen)
    with torch.no_grad():
        expected = bench.clip.class_embeddings(prompt, names)
    torch.testing.assert_close(texts, expected, rtol=0, atol=1e-5)


def test_checkpoints_hold_the_drift_of_trained_new_and_foreign_names(bench: Bench) -> None:
    runs = bench.prepare(run("coop"), run("coop", seed=2))
    data, start = bench.evaluation(*runs.runs), runs.learned().prompts[0].detach()
    drift = TextDrift.of(runs.method, runs.learned(), runs.frozen, data.base.names, data.new.names)
    kinds = {"drift_base", "drift_new", "drift_words"}
    (first, _) = evaluate(runs.method, Learned((start,)), start, runs.frozen, data, drift)
    assert {kind: round(first[kind], 6) for kind in kinds} == dict.fromkeys(kinds, 0.0)
    moved = torch.cat([start[:1], start[1:] + 0.3 * torch.randn_like(start[1:])])
    still, other = evaluate(runs.method, Learned((moved,)), start, runs.frozen, data, drift)
    assert all(still[kind] < 1e-5 < other[kind] for kind in kinds)


def test_a_text_for_every_image_has_no_drift(bench: Bench) -> None:
    runs = bench.prepare(run("cocoop"))
    names = bench.dataset.class_names
    nothing = TextDrift.of(runs.method, runs.learned(), runs.frozen, names[:3], names[3:])
    classify = runs.method.classifier(runs.learned(), runs.frozen, names)
    assert nothing.rows(runs.method, runs.learned(), runs.frozen, classify) == [{}]


def test_arbitrary_words_are_known_and_of_no_class() -> None:
    clip = load_backbone("glyph-vit")
    every = arbitrary_words(clip, ())
    assert len(set(every)) == len(every) == 64
    assert set(every) <= set(clip.known_words)
    without = arbitrary_words(clip, [f"{every[0].upper()}_{every[1]}"])
    assert not {every[0], every[1]} & set(without)
    assert arbitrary_words(clip, (), 5) == tuple(sorted(arbitrary_words(clip, (), 5)))
    assert len(arbitrary_words(clip, (), 10**6)) < 10**5
