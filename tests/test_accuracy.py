"""What is counted as right, and how sure a classifier is of it: plain loops say the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from few_glyphs import Bench, few, run
from torch import Tensor

from dip_lib.data.protocols import Split
from dip_lib.methods import CoOp
from dip_lib.methods.prompts import Classifier, FrozenClip, Learned
from dip_lib.training import evaluate
from dip_lib.training.evaluate import accuracies, calibration_error

R, BASE, NEW = 3, 4, 5
IMAGES = {"base": 37, "new": 53}


def split_of(names: int, images: int, seed: int) -> Split:
    """Images that are their own logits: (M, classes of both halves)."""
    torch.manual_seed(seed)
    logits = 2 * torch.randn(images, BASE + NEW)
    return Split(tuple(map(str, range(names))), logits, torch.randint(names, (images,)))


@pytest.fixture(scope="module")
def halves() -> tuple[Split, Split]:
    return split_of(BASE, IMAGES["base"], 0), split_of(NEW, IMAGES["new"], 1)


def classify(images: Tensor) -> Tensor:
    """Run r turns the images' logits by r classes."""
    return torch.stack([images.roll(r, -1) for r in range(R)])


def softmax(logits: np.ndarray) -> np.ndarray:
    exp = np.exp(logits - logits.max())
    return exp / exp.sum()


def looped(base: Split, new: Split, r: int) -> dict[str, float]:
    """The four numbers of one run, image by image."""
    right: dict[str, list[bool]] = {"base": [], "new": [], "joint": []}
    bins: list[list[tuple[bool, float]]] = [[] for _ in range(15)]
    for part, half, first in (("base", base, 0), ("new", new, BASE)):
        for logits, label in zip(half.images.double().numpy(), half.labels.tolist(), strict=True):
            turned = np.roll(logits, r)
            own = turned[first : first + len(half.names)]
            right[part].append(int(own.argmax()) == label)
            right["joint"].append(int(turned.argmax()) == first + label)
            if part == "new":
                sure = float(softmax(own).max())
                bins[min(14, int(15 * sure))].append((right[part][-1], sure))
    ece = 0.0
    for each in filter(None, bins):
        hits, confidence = np.array(each, dtype=float).T
        ece += len(each) / len(right["new"]) * abs(hits.mean() - confidence.mean())
    return {k: 100 * float(np.mean(v)) for k, v in right.items()} | {"ece": 100 * ece}


def test_accuracies_are_those_of_a_plain_loop(halves: tuple[Split, Split]) -> None:
    rows = accuracies(classify, *halves, R)
    assert len({row["base"] for row in rows}) > 1
    for r, row in enumerate(rows):
        assert row == pytest.approx(looped(*halves, r), abs=1e-4)


@pytest.mark.parametrize("most", [1, R * (BASE + NEW), 100, 10**6])
def test_images_may_be_classified_in_parts(
    halves: tuple[Split, Split], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    whole, seen = accuracies(classify, *halves, R), list[int]()

    def counted(images: Tensor) -> Tensor:
        seen.append(images.shape[-2])
        return classify(images)

    monkeypatch.setattr(evaluate, "LOGITS", most)
    assert accuracies(counted, *halves, R) == whole
    assert max(seen) == min(53, max(1, most // (R * (BASE + NEW))))
    assert sum(seen) == sum(IMAGES.values())


def test_images_of_each_run_are_classified_by_it(
    halves: tuple[Split, Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    # features under prompts differ from run to run: (R, M, e)
    own = [Split(half.names, classify(half.images), half.labels) for half in halves]
    monkeypatch.setattr(evaluate, "LOGITS", 200)
    found = accuracies(lambda images: images, own[0], own[1], R)
    for row, expected in zip(found, accuracies(classify, *halves, R), strict=True):
        assert row == pytest.approx(expected)


def test_without_new_classes_only_the_base_has_a_number(halves: tuple[Split, Split]) -> None:
    base, _ = halves
    nobody = Split((), torch.empty(0, BASE + NEW), torch.empty(0, dtype=torch.int64))
    rows = accuracies(lambda x: classify(x)[..., :BASE], base, nobody, R)
    for row in rows:
        assert row["base"] is not None
        assert {row[part] for part in ("new", "joint", "ece")} == {None}


# ---- calibration -----------------------------------------------------------------------------


def test_a_calibrated_classifier_has_no_error() -> None:
    # of the images with confidence k / 20, exactly k in 20 are right
    right, sure = list[bool](), list[float]()
    for k in (7, 11, 14, 18, 20):
        right += [i < k for i in range(20)]
        sure += [k / 20] * 20
    found = calibration_error(torch.tensor([right]), torch.tensor([sure]))
    assert float(found) == pytest.approx(0, abs=1e-5)


def test_a_sure_classifier_that_is_always_wrong_has_the_whole_error() -> None:
    right = torch.tensor([[False] * 10, [True] * 10, [False] * 5 + [True] * 5])
    assert calibration_error(right, torch.ones(3, 10)).tolist() == pytest.approx([100, 0, 50])
    assert calibration_error(right[:1], torch.full((1, 10), 0.3)).item() == pytest.approx(30)


def test_errors_of_one_bin_cancel_and_those_of_two_do_not() -> None:
    right = torch.tensor([[True, False]])
    assert calibration_error(right, torch.tensor([[0.5, 0.5]])).item() == pytest.approx(0)
    assert calibration_error(right, torch.tensor([[0.4, 0.6]])).item() == pytest.approx(60)
    assert calibration_error(right, torch.tensor([[0.9, 0.99]])).item() == pytest.approx(54.5)


# ---- prompts made smaller after training -----------------------------------------------------


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


def wandered(bench: Bench) -> tuple[Tensor, Tensor]:
    """Two starts and two prompts far from them."""
    start = bench.clip.context("a photo of a").repeat(2, 1, 1)
    torch.manual_seed(0)
    return start, start + 0.1 * torch.randn_like(start)


def both(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{half: row[half] for half in ("base", "new", "val")} for row in rows]


def test_no_part_of_an_update_is_the_start_and_all_of_it_the_prompt(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, prompt = wandered(bench)
    runs = bench.prepare(run("coop"), run("coop", seed=2))
    data = bench.evaluation(*runs.runs)
    monkeypatch.setattr(evaluate, "SHRUNK", (0.0, 1.0))
    rows = evaluate.shrunk(runs.method, prompt, start, runs.frozen, data)
    for way, each in (("x 0.0", start), ("x 1.0", prompt)):
        whole = evaluate.evaluate(runs.method, Learned((each,)), start, runs.frozen, data)
        assert [row[way] for row in rows] == both(whole)
    assert [row["x 0.0"] for row in rows] != [row["x 1.0"] for row in rows]


def test_rank_one_keeps_the_updates_first_direction(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, prompt = wandered(bench)
    runs, evaluated = bench.prepare(run("coop"), run("coop", seed=2)), list[Tensor]()
    classifier = CoOp.classifier

    def noting(
        self: CoOp, learned: Learned, frozen: FrozenClip, names: Sequence[str]
    ) -> Classifier:
        evaluated.append(learned.prompts[0])
        return classifier(self, learned, frozen, names)

    monkeypatch.setattr(CoOp, "classifier", noting)
    data = bench.evaluation(*runs.runs)
    rows = evaluate.shrunk(runs.method, prompt, start, runs.frozen, data)
    assert list(rows[0]) == ["rank 1", "x 0.25", "x 0.5", "x 0.75"]
    dense, quarter, *_ = (each - start for each in evaluated)
    update = prompt - start
    torch.testing.assert_close(quarter, update / 4, rtol=0, atol=1e-6)
    for r in range(2):
        u, s, v = (torch.from_numpy(x) for x in np.linalg.svd(update[r].numpy(), False))
        torch.testing.assert_close(dense[r], s[0] * u[:, :1] @ v[:1], rtol=0, atol=1e-5)
        values = torch.linalg.svdvals(dense[r])
        assert float(values[1]) < 1e-5 * float(values[0])


def test_a_spectrum_is_of_the_prompt_and_of_its_change() -> None:
    torch.manual_seed(0)
    start, change = torch.randn(4, 16), torch.randn(4, 2) @ torch.randn(2, 16)
    found = evaluate.spectrum(start + change, start)
    values = np.linalg.svd((start + change).double().numpy(), compute_uv=False)
    assert found["singular"] == pytest.approx(values.tolist())
    assert found["id"] == pytest.approx((values.cumsum() / values.sum()).tolist())
    assert found["update_singular"][2:] == pytest.approx([0, 0], abs=1e-5)
    assert found["update_norm"] == pytest.approx(float(change.norm()), rel=1e-5)
    assert "id_read" not in found
    shifted = 5 + start + change  # a constant in every entry, which no LayerNorm passes on
    read = evaluate.spectrum(start + change, start, shifted)
    centred = (start + change) - (start + change).mean(1, keepdim=True)
    assert read["singular_read"] == pytest.approx(torch.linalg.svdvals(centred).tolist(), rel=1e-4)
    assert read["id_read"][-1] == 1
    assert {name: read[name] for name in found} == found
    start[0, 0] = torch.nan
    assert evaluate.spectrum(start, start, start) == {}
