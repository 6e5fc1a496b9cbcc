"""Few-shot draws and base/new halves are CoOp's."""

import random
import warnings

import numpy as np
import pytest
import torch

from dip_lib.data.names import check_class_names
from dip_lib.data.splits import base_new, few_shot, harmonic_mean

LABELS = [int(x) for x in np.random.default_rng(0).integers(0, 7, 400)]
VAL_LABELS = [int(x) for x in np.random.default_rng(1).integers(0, 7, 90)]


def dassl(data: list[list[tuple[int, int]]], shots: int, seed: int) -> list[list[int]]:
    """Dassl's recipe in the words of its source: one seeded stream, train first, then val.

    Source: Dassl.pytorch c61a1b5, dassl/data/datasets/base_dataset.py, and CoOp's datasets.
    """
    random.seed(seed)
    output = []
    for data_source, num_shots in zip(data, (shots, min(shots, 4)), strict=True):
        tracker: dict[int, list[tuple[int, int]]] = {}
        for item in data_source:
            tracker.setdefault(item[1], []).append(item)
        dataset: list[tuple[int, int]] = []
        for items in tracker.values():
            if len(items) >= num_shots:
                dataset.extend(random.sample(items, num_shots))
            else:
                dataset.extend(items)
        output.append([index for index, _ in dataset])
    return output


@pytest.mark.parametrize("shots", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_draws_equal_the_stdlib_recipe(shots: int, seed: int) -> None:
    train, val = dassl([list(enumerate(LABELS)), list(enumerate(VAL_LABELS))], shots, seed)
    assert few_shot(LABELS, shots, seed, VAL_LABELS) == (train, val)
    assert few_shot(LABELS, shots, seed) == train
    names = [f"class {label}" for label in LABELS]
    assert few_shot(names, shots, seed) == train  # the values of labels do not matter


def test_arrays_and_tensors_are_labels_too() -> None:
    expected = few_shot(LABELS, 4, 1)
    assert few_shot(np.array(LABELS), 4, 1) == expected
    assert few_shot(torch.tensor(LABELS), 4, 1) == expected
    assert base_new(torch.tensor(LABELS)) == base_new(LABELS)


def test_every_class_has_its_shots_once_and_pythons_own_generator_is_left_alone() -> None:
    random.seed(5)
    before = random.getstate()
    drawn = few_shot(LABELS, 16, 2)
    assert random.getstate() == before
    assert len(set(drawn)) == len(drawn) == 7 * 16
    assert list(dict.fromkeys(LABELS[i] for i in drawn)) == list(dict.fromkeys(LABELS))


def test_a_class_with_too_few_gives_all_and_says_so_once() -> None:
    labels = [0] * 20 + [1] * 3 + [2] * 2
    with pytest.warns(UserWarning, match="16") as caught:
        drawn = few_shot(labels, 16, 1)
    assert len(caught) == 1
    assert len(drawn) == 16 + 3 + 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        few_shot(labels, 2, 1)


@pytest.mark.parametrize("shots", [0, -1])
def test_shots_below_one_are_refused(shots: int) -> None:
    with pytest.raises(ValueError, match=f"{shots}"):
        few_shot(LABELS, shots, 1)


@pytest.mark.parametrize(("n", "base"), [(2, 1), (37, 19), (100, 50), (397, 199), (47, 24)])
def test_base_is_the_first_half_rounded_up_of_the_sorted_labels(n: int, base: int) -> None:
    labels = list(range(n))
    random.Random(0).shuffle(labels)
    assert base_new(labels * 3) == (list(range(base)), list(range(base, n)))


def test_one_class_has_no_new_half() -> None:
    with pytest.raises(ValueError, match=r"\[3\]"):
        base_new([3, 3])


def test_harmonic_mean() -> None:
    assert harmonic_mean(82.69, 63.22) == pytest.approx(71.66, abs=0.005)  # CoOp's published H
    assert harmonic_mean(0.0, 0.0) == harmonic_mean(0.0, 50.0) == 0
    assert isinstance(harmonic_mean(1.0, 2.0), float)
    base, new = np.array([0.0, 50.0, 82.69]), np.array([0.0, 50.0, 63.22])
    np.testing.assert_allclose(harmonic_mean(base, new), [0, 50, 71.66], atol=0.005)


def test_names_that_give_the_same_prompt_are_refused() -> None:
    check_class_names(["small alpha", "capital alpha"])
    with pytest.raises(ValueError, match="sunglasses"):
        check_class_names(["missile", "sunglasses", "sunglasses"])
    with pytest.raises(ValueError, match="Annual_Crop"):
        check_class_names(["Annual_Crop", "River", "annual  crop"])
