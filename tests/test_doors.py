"""What callers give is checked at the door: types, blanks and ranges, before any work or loss."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from glyph_pictures import write_pictures
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor

from dip_lib import PromptedClassifier, base_new, few_shot, load_backbone, load_dataset
from dip_lib.checks import plain_names
from dip_lib.clip.backbone import Backbone
from dip_lib.data.names import check_class_names
from dip_lib.data.pictures import Pictures
from dip_lib.data.splits import read_draw, write_draw
from dip_lib.errors import BadValueError
from dip_lib.training.run import Data, Schedule
from dip_study import picture_commands
from dip_study.cli import main
from dip_study.commands import parse

OWN = load_dataset("shapes").class_names[:3]
SETTINGS: dict[str, Any] = {"epochs": 2, "views": 0, "shots": 3}


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return load_backbone("glyph-vit")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures") / "own", "shapes", OWN, count=6)


@pytest.fixture(scope="module")
def fitted(clip: Backbone, folder: Path, features: Path) -> PromptedClassifier:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIP_HOME", str(features.parent / "doors"))
        return PromptedClassifier(clip, **SETTINGS).fit(folder)


# ---- names --------------------------------------------------------------------------------------

BAD_NAMES = {
    "one string": "dog",
    "none": [],
    "empty": ["wolf", ""],
    "a blank": ["wolf", " "],
    "an underscore": ["_", "wolf"],
    "a tab": ["\t", "wolf"],
    "numbers": [0, 1],
    "nothing in it": ["wolf", None],
    "lists": [["wolf"], ["lynx"]],
    "an array of two dimensions": np.array([["wolf", "lynx"]]),
    "a table": pd.DataFrame({"wolf": [1]}),
    "a missing value": pd.Series(["wolf", None]),
    "a number": 7,
    "no UTF-8": ["wolf", "caf\udce9"],
}


@pytest.mark.parametrize("names", BAD_NAMES.values(), ids=BAD_NAMES)
def test_names_that_cannot_be_are_refused_at_every_door(
    clip: Backbone, fitted: PromptedClassifier, folder: Path, names: Any
) -> None:
    context = clip.context("a photo of a")
    doors: list[Callable[[], object]] = [
        lambda: clip.class_embeddings(context, names),
        lambda: clip.encoder(names, 4),
        lambda: check_class_names(names),
    ]
    if not isinstance(names, list) or names:  # an empty list asks for the names it was trained on
        doors.append(lambda: fitted.predict(folder, names))
    for door in doors:
        with pytest.raises(BadValueError):
            door()


def test_names_may_be_of_any_library(clip: Backbone) -> None:
    context, names = clip.context("a photo of a"), list(OWN)
    expected = clip.class_embeddings(context, names)
    for given in (tuple(names), np.array(names), pd.Series(names), pd.Index(names), iter(names)):
        assert torch.equal(clip.class_embeddings(context, given), expected)
    assert plain_names(pd.Categorical(names)) == OWN


def test_one_text_is_no_list_of_texts(clip: Backbone) -> None:
    with pytest.raises(BadValueError, match="texts"):
        clip.encode_text("a photo of a lozenge.")


@pytest.mark.parametrize("words", ["", "  ", "a photo of a {}.", "{} again", "a {name}", None, 7])
def test_a_context_is_words_and_no_template(clip: Backbone, words: Any) -> None:
    with pytest.raises(BadValueError, match="context"):
        clip.context(words)
    with pytest.raises(BadValueError, match="context"):
        PromptedClassifier(clip, context=words)


# ---- numbers ------------------------------------------------------------------------------------

OUT_OF_RANGE = [
    *(("epochs", -3), ("epochs", 2.5), ("epochs", True), ("epochs", "3"), ("epochs", math.nan)),
    *(("views", -2), ("shots", 0), ("batch", 0), ("rank", 0), ("seed", 1.5), ("seed", None)),
    *(("lr", 0.0), ("lr", -0.1), ("lr", math.nan), ("lr", math.inf), ("lr", "fast")),
    *(("dropout", math.nan), ("dropout", 1.0), ("dropout", -0.1)),
]


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_a_setting_out_of_range_is_refused_when_made_and_when_fitted(
    clip: Backbone, folder: Path, name: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=name):
        PromptedClassifier(clip, **SETTINGS | {name: value})
    changed = PromptedClassifier(clip, **SETTINGS)
    setattr(changed, name, value)
    with pytest.raises(ValueError, match=name):
        changed.fit(folder)


def test_numbers_may_be_numpys(clip: Backbone, fitted: PromptedClassifier, folder: Path) -> None:
    given = {name: np.int64(value) for name, value in SETTINGS.items()}
    again = PromptedClassifier(clip, **given, seed=np.int32(1)).fit(folder)
    assert torch.equal(again.prompt, fitted.prompt)


@pytest.mark.parametrize("top", [0, -1, 1.0, None])
def test_at_least_one_name_is_asked_for(fitted: PromptedClassifier, folder: Path, top: Any) -> None:
    with pytest.raises(BadValueError, match="top"):
        fitted.predict(folder, top=top)


@pytest.mark.parametrize("data", [None, 7, ["own"], {"train": []}])
def test_only_a_folder_or_a_dataset_is_fitted(clip: Backbone, data: Any) -> None:
    with pytest.raises(BadValueError, match="data"):
        PromptedClassifier(clip).fit(data)


def test_parts_of_a_run_refuse_rates_that_are_no_numbers() -> None:
    for name in ("lr", "momentum", "weight_decay", "warmup"):
        for value in (math.nan, -0.1, math.inf):
            with pytest.raises(ValueError, match=name):
                Schedule(**{name: value})
    for name in ("shots", "views"):
        with pytest.raises(ValueError, match=name):
            Data(dataset="shapes", **{name: -1})


# ---- labels -------------------------------------------------------------------------------------

LABELS = [2, 0, 1, 1, 0, 2, 2, 1, 0, 0]
KINDS: dict[str, Callable[[], Any]] = {
    "array": lambda: np.array(LABELS),
    "small array": lambda: np.array(LABELS, dtype=np.uint8),
    "column": lambda: pd.Series(LABELS, index=range(50, 60)),
    "nullable column": lambda: pd.Series(LABELS, dtype="Int64"),
    "categories": lambda: pd.Categorical(LABELS),
    "tensor": lambda: torch.tensor(LABELS),
    "scalars": lambda: [np.int64(label) for label in LABELS],
    "tensors": lambda: [torch.tensor(label) for label in LABELS],
    "generator": lambda: (label for label in LABELS),
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_may_be_of_any_library(kind: str, tmp_path: Path) -> None:
    expected = few_shot(LABELS, 2, 1, LABELS)
    assert few_shot(KINDS[kind](), 2, np.int64(1), KINDS[kind]()) == expected
    base, new = base_new(KINDS[kind]())
    assert (base, new) == base_new(LABELS) and {type(each) for each in base + new} == {int}
    paths = [tmp_path / f"{i}.jpg" for i in range(10)]
    plain = {split: [(str(p), n) for p, n in zip(paths, LABELS, strict=True)] for split in SPLITS}
    theirs = {split: zip(paths, KINDS[kind](), strict=True) for split in SPLITS}
    pictures = Pictures("own", ("a", "b", "c"), tmp_path, theirs)
    assert pictures.files == plain and pictures.labels("val").tolist() == LABELS
    if kind not in ("column", "nullable column", "categories"):  # a split is read twice
        split = {split: [*zip(paths, KINDS[kind](), strict=True)] for split in SPLITS}
        write_draw(tmp_path / "theirs.json", split, np.int64(2), np.int64(1))
        write_draw(tmp_path / "plain.json", plain, 2, 1)
        assert (tmp_path / "theirs.json").read_bytes() == (tmp_path / "plain.json").read_bytes()
        assert read_draw(tmp_path / "theirs.json", split) == expected


SPLITS = ("train", "val", "test")
MISSING = {
    "none": ["a", None, "b"],
    "not a number": [0.0, math.nan, 1.0],
    "pandas": pd.Series([1, None, 2], dtype="Int64"),
    "times": pd.Series(["2026-01-01", None], dtype="datetime64[ns]"),
    "a string": "abba",
    "rows": np.zeros((3, 2)),
    "a table": pd.DataFrame({"label": [0, 1]}),
    "lists": [[0], [1]],
    "a dict": {"a": 0, "b": 1},
    "a number": 3,
}


@pytest.mark.parametrize("labels", MISSING.values(), ids=MISSING)
def test_missing_labels_and_tables_are_refused(labels: Any) -> None:
    with pytest.raises(BadValueError, match="labels"):
        few_shot(labels, 1, 1)
    with pytest.raises(BadValueError, match="labels"):
        base_new(labels)


@pytest.mark.parametrize(("shots", "seed"), [(0, 1), (1.5, 1), (True, 1), (1, 1.5), (1, "one")])
def test_a_draw_takes_whole_numbers(shots: Any, seed: Any) -> None:
    with pytest.raises(BadValueError, match="shots" if seed == 1 else "seed"):
        few_shot(LABELS, shots, seed)


def test_a_label_that_is_no_whole_number_is_refused(tmp_path: Path) -> None:
    for label in (0.5, None, "0"):
        with pytest.raises(BadValueError, match=r"a\.jpg"):
            Pictures("own", ("x",), tmp_path, {"train": [("a.jpg", label)]})


# ---- pictures to predict ------------------------------------------------------------------------


def shares(classifier: PromptedClassifier, pictures: Any) -> list[dict[str, float]]:
    return [dict(best) for best in classifier.predict(pictures, OWN)]


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three pictures of one size with all their colours, as a photograph has them."""
    root, paths = tmp_path_factory.mktemp("colours"), list[Path]()
    for seed in range(3):
        noise = np.random.default_rng(seed).integers(0, 256, (90, 70, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / f"{seed}.png")
        paths.append(root / f"{seed}.png")
    return paths


def test_a_picture_gives_the_same_answer_whichever_way_it_comes(
    fitted: PromptedClassifier, colours: list[Path]
) -> None:
    expected = [pytest.approx(each, rel=1e-4) for each in shares(fitted, colours)]
    pil = [Image.open(path) for path in colours]
    arrays = [np.asarray(picture) for picture in pil]
    tensors = [pil_to_tensor(picture) for picture in pil]
    for several in (
        *(pil, arrays, tensors, np.stack(arrays), torch.stack(tensors)),
        *([colours[0], pil[1], tensors[2]], iter(pil), pd.Series([*map(str, colours)])),
        *([a / 255 for a in arrays], torch.stack(tensors).float() / 255),
        [np.dstack([a, np.full(a.shape[:2], 255, np.uint8)]) for a in arrays],  # with alpha
    ):
        assert shares(fitted, several) == expected
    for one in (
        colours[0],
        str(colours[0]),
        pil[0],
        arrays[0],
        tensors[0],
        tensors[0].double() / 255,
    ):
        assert shares(fitted, one) == expected[:1]
    grey = pil[0].convert("L")
    for one in (np.asarray(grey), np.asarray(grey)[..., None], pil_to_tensor(grey)):
        assert shares(fitted, [one]) == [pytest.approx(shares(fitted, grey)[0], rel=1e-4)]


NO_PICTURES = {
    "nothing": None,
    "a number": 7,
    "bytes": b"\x89PNG",
    "a dict": {"a.jpg": 0},
    "numbers": [1, 2],
    "channels first": np.zeros((3, 40, 40), np.uint8),
    "channels last": torch.zeros(40, 40, 3, dtype=torch.uint8),
    "five dimensions": np.zeros((1, 1, 40, 40, 3), np.uint8),
    "no pixels": np.zeros((0, 40, 3), np.uint8),
    "normalised": torch.randn(3, 40, 40),
    "floats up to 255": np.full((40, 40, 3), 200.0),
    "not a number": np.full((40, 40, 3), np.nan),
    "whole numbers": np.zeros((40, 40, 3), np.int64),
    "truth": np.ones((40, 40), bool),
}


@pytest.mark.parametrize("images", NO_PICTURES.values(), ids=NO_PICTURES)
def test_what_is_no_picture_is_refused(fitted: PromptedClassifier, images: Any) -> None:
    with pytest.raises(BadValueError, match="images"):
        fitted.predict(images)


def test_a_damaged_file_among_pictures_in_memory_is_named(
    fitted: PromptedClassifier, colours: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "page.jpg").write_text("<html>")
    mixed = [tmp_path / "page.jpg", Image.open(colours[0])]
    with pytest.raises(ValueError, match=r"page\.jpg"):
        fitted.predict(mixed)
    with pytest.warns(UserWarning, match=r"page\.jpg.*web page"):
        damaged, sound = fitted.predict(mixed, skip_unreadable=True)
    assert damaged == [] and len(sound) == len(OWN)


# ---- the command line ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        *(["--epochs", "-3"], ["--views", "-2"], ["--batch", "0"], ["--shots", "0"]),
        *(["--epochs", "1.5"], ["--seed", "one"], ["--lr", "fast"]),
    ],
    ids=" ".join,
)
def test_a_number_out_of_range_is_a_wrong_usage_and_the_prompt_stays(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    (tmp_path / "prompt").write_text("trained for days")
    with pytest.raises(SystemExit) as exit:
        main(["fit", str(folder), "--out", str(tmp_path / "prompt"), *wrong])
    assert exit.value.code == 2
    assert wrong[0] in capsys.readouterr().err
    assert (tmp_path / "prompt").read_text() == "trained for days"


def test_a_rate_of_zero_and_no_names_at_all_are_refused_too(tmp_path: Path, folder: Path) -> None:
    for wrong in (["--lr", "0"], ["--lr", "nan"]):
        with pytest.raises(SystemExit, match="lr"):
            main(["fit", str(folder), "--out", str(tmp_path / "prompt"), *wrong])
    with pytest.raises(SystemExit) as exit:
        main(["predict", "prompt", "a.jpg", "--classes", "a", "--top", "-1"])
    assert exit.value.code == 2


def test_what_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, folder: Path, fitted: PromptedClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: Any, **__: Any) -> None:
        pytest.fail("it began to work")

    monkeypatch.setattr(PromptedClassifier, "fit", work)
    monkeypatch.setattr(PromptedClassifier, "predict", work)
    (tmp_path / "file").write_text("")
    prompt = tmp_path / "prompt.safetensors"
    fitted.save(prompt)
    fit = ["fit", str(folder), "--backbone", "glyph-vit", "--out"]
    predict = ["predict", str(prompt), str(folder), "--classes", "lozenge", "--csv"]
    nowhere = [tmp_path, tmp_path / "file" / "below", Path("/proc/none"), tmp_path / ("n" * 300)]
    for command in (fit, predict, [*fit, str(tmp_path / "new"), "--confusion"]):
        for bad in nowhere if command[-1] != "--confusion" else [p / "x.png" for p in nowhere[1:]]:
            with pytest.raises(SystemExit, match="cannot write"):
                main([*command, str(bad)])
    with pytest.raises(SystemExit, match="png"):  # the formats that there are
        main([*fit, str(tmp_path / "new"), "--confusion", "picture.docx"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "prompt.safetensors"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["--classes", "red fox, wolf,lynx,"], ["red fox", "wolf", "lynx"]),
        (["--class", "7 up, can", "--class", "lynx"], ["7 up, can", "lynx"]),
        (["--class", "Salmon, Lox"], ["Salmon, Lox"]),
        (["--classes-file", "names.txt"], ["7 up, can", "crème brûlée", "Washington, D.C."]),
    ],
)
def test_names_with_commas_can_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], names: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "﻿7 up, can\r\n\r\n crème brûlée\r\nWashington, D.C.\r\n"
    Path("names.txt").write_bytes(text.encode())
    options = parse(["predict", "prompt", "a.jpg", *given])
    assert picture_commands.class_names(options) == names


def test_a_file_of_names_that_is_not_utf_8_is_named(
    tmp_path: Path, fitted: PromptedClassifier, folder: Path
) -> None:
    fitted.save(tmp_path / "prompt")
    (tmp_path / "names.txt").write_bytes("café".encode("latin-1"))
    asked = ["--classes-file", str(tmp_path / "names.txt")]
    with pytest.raises(SystemExit, match=r"names\.txt"):
        main(["predict", str(tmp_path / "prompt"), str(folder), *asked])
    with pytest.raises(SystemExit, match="class_names"):
        main(["predict", str(tmp_path / "prompt"), str(folder), "--class", "_", "--class", "b"])


def test_a_draw_says_what_it_draws(tmp_path: Path) -> None:
    files = {s: [(f"{s}/{i}.jpg", np.int32(i % 2)) for i in range(6)] for s in SPLITS}
    write_draw(tmp_path / "draw.json", files, 2, 1)
    drawn = json.loads((tmp_path / "draw.json").read_text())
    assert [label for _, label in drawn["train"]] == [0, 0, 1, 1]
