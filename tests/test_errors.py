"""Errors say what happened in fields, are the built-in errors they always were, and travel."""

from __future__ import annotations

import pickle

import pytest

from dip_lib.errors import (
    BadValueError,
    DamagedFileError,
    InsecureAddressError,
    MissingDownloadError,
    NotMeasuredError,
    NotPackedError,
    NoWeightsError,
    OutOfDiskError,
    PackError,
    ShareError,
    UnknownNameError,
    UnknownWordsError,
    UnreadablePictureError,
    one_of,
)

EACH = [
    (UnknownNameError("profile", "smok", ["smoke", "paper"]), ValueError),
    (BadValueError("epochs", "-3", "a whole number of at least 0"), ValueError),
    (NoWeightsError("ViT-B-16", "openai", "no network"), ValueError),
    (UnknownWordsError("photo-lite0", ["zyzzyva"], "a zyzzyva", ["zebra"]), ValueError),
    (DamagedFileError("photos.zip", "cut"), ValueError),
    (UnreadablePictureError("cannot read the picture a.jpg: it is empty"), ValueError),
    (PackError("eurosat.safetensors", "it is cut", "Fetch it again"), ValueError),
    (InsecureAddressError("http://example.org/a"), ValueError),
    (ShareError("out/manifest.json", "it is cut", "Fetch it again"), ValueError),
    (NotPackedError("view 7", "the pack holds 4 views", "Pack it"), ValueError),
    (OutOfDiskError("pictures", "2GB", "1GB"), OSError),
    (MissingDownloadError(["a.tar", "b.tar"], "Ask."), LookupError),
    (NotMeasuredError(2, 3, "Measure them."), LookupError),
]


@pytest.mark.parametrize(("error", "built_in"), EACH, ids=lambda each: type(each).__name__)
def test_an_error_keeps_its_fields_and_words_from_a_worker_to_its_parent(
    error: Exception, built_in: type[Exception]
) -> None:
    assert isinstance(error, built_in)
    here = pickle.loads(pickle.dumps(error))
    assert type(here) is type(error)
    assert vars(here) == vars(error) and str(here) == str(error)
    for value in vars(error).values():
        for each in value if isinstance(value, list) else [value]:
            assert str(each) in str(error)


def test_an_unknown_name_is_refused_with_the_nearest_and_all_valid_ones() -> None:
    assert one_of("profile", "smoke", {"smoke", "paper"}) == "smoke"
    with pytest.raises(UnknownNameError) as caught:
        one_of("profile", "smok", {"smoke", "paper"})
    assert (caught.value.value, caught.value.choices) == ("smok", ["paper", "smoke"])
    before, after = str(caught.value).split("?")
    assert "'smoke'" in before and "'paper'" not in before
    assert "paper, smoke" in after


def test_of_many_valid_names_the_nearest_are_named_in_whatever_case() -> None:
    many = [f"ViT-{size}-{patch}" for size in "SBLHg" for patch in range(8, 20)]
    with pytest.raises(UnknownNameError) as caught:
        one_of("backbone", "vit-b/16", many)
    assert "'ViT-B-16'" in str(caught.value) and len(str(caught.value)) < 120
    assert caught.value.choices == sorted(many)
    with pytest.raises(UnknownNameError) as caught:
        one_of("backbone", "zzz", many)
    assert f"{len(many)}" in str(caught.value)
