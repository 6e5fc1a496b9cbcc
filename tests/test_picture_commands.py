"""``dip fit`` and ``dip predict``: what they find, tell, write, and refuse in one line."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from glyph_pictures import write_pictures
from huggingface_hub import constants
from photo_archives import picture
from PIL import Image

from dip_lib import PromptedClassifier, load_backbone, load_dataset
from dip_lib.clip import at_hand
from dip_lib.clip.weights import open_clip_model
from dip_lib.data.folders import picture_folder
from dip_lib.errors import NoWeightsError
from dip_lib.training.confusion import HeldOut, confusion
from dip_study import told
from dip_study.cli import main
from dip_study.picture_commands import next_lines

OWN = load_dataset("shapes").class_names[:4]
SETTINGS = ["--epochs", "8", "--shots", "6", "--views", "0", "--backbone", "glyph-vit"]
NOWHERE = "http://127.0.0.1:9"
"""Where nothing answers, at once."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures") / "own", "shapes", OWN)


@pytest.fixture(scope="module")
def trained(
    folder: Path, features: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A prompt file that ``dip fit`` wrote, and the picture of its confusions."""
    where = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIP_HOME", str(features.parent / "commands"))
        files = where / "my prompt.safetensors", where / "confusion.png"
        main(["fit", str(folder), "--out", str(files[0]), "--confusion", str(files[1]), *SETTINGS])
    return files


@pytest.fixture(autouse=True)
def _shared(features: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of the same pictures are encoded once."""
    monkeypatch.setenv("DIP_HOME", str(features.parent / "commands"))


def refused(*words: str | Path) -> str:
    """The one line that a command ends with."""
    with pytest.raises(SystemExit) as exit:
        main([str(word) for word in words])
    said = str(exit.value.code)
    assert said.startswith("dip: ") and "\n" not in said
    return said


# ---- dip fit ------------------------------------------------------------------------------------


def test_a_fit_says_what_it_found_and_how_well_the_prompt_does(
    folder: Path, trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "prompt.safetensors"
    fit = ["fit", str(folder), "--out", str(out), *SETTINGS]
    assert main(fit) == 0
    found, *said = capsys.readouterr().out.splitlines()
    dealt = picture_folder(folder)
    sizes = [len(dealt.files[split]) for split in ("train", "val", "test")]
    assert [int(n) for n in re.findall(r"\d+", found)] == [len(OWN), sum(sizes), *sizes]
    held_out = [dealt.root / path for path, _ in dealt.files["test"]]
    truth = [dealt.class_names[label] for _, label in dealt.files["test"]]
    expected = []
    words = PromptedClassifier("glyph-vit", epochs=0).fit(folder)
    for classifier in (PromptedClassifier.load(out), words):
        best = [names[0][0] for names in classifier.predict(held_out, OWN, top=1)]
        expected.append(sum(map(str.__eq__, best, truth)))
    (line,) = (line for line in said if "zero-shot" in line)
    assert [int(n) for n in re.findall(r"(\d+) of", line)] == expected
    assert main([*fit, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)  # nothing else is on stdout
    assert [answer["right"], answer["zero_shot_right"]] == expected
    assert answer["held_out"] == len(held_out)


@pytest.mark.usefixtures("trained")
def test_prompts_of_their_own_class_are_evaluated_and_used_as_any(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "own.safetensors")
    place = ["--class-specific", "--class-position", "front", "--json"]
    assert main(["fit", str(folder), "--out", out, *SETTINGS, *place]) == 0
    answer = json.loads(capsys.readouterr().out)
    loaded, dealt = PromptedClassifier.load(out), picture_folder(folder)
    held_out = [dealt.root / path for path, _ in dealt.files["test"]]
    best = [names[0][0] for names in loaded.predict(held_out, top=1)]
    truth = [dealt.class_names[label] for _, label in dealt.files["test"]]
    assert answer["right"] == sum(map(str.__eq__, best, truth))
    words = PromptedClassifier("glyph-vit", epochs=0).fit(dealt)  # with the name at the end
    assert answer["zero_shot_right"] == words.evaluate(dealt).right


def test_the_two_lines_at_its_end_use_the_prompt(
    folder: Path, trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, _ = trained
    shell, python = next_lines(str(file), OWN)
    program, *words = shlex.split(shell)
    assert program == "dip"
    assert main([str(folder) if word == "PICTURES" else word for word in words]) == 0
    assert capsys.readouterr().out.count(".png: ") == 48
    scope: dict[str, Any] = {}
    exec(
        f"found = {python.split('; ')[1]}".replace("PICTURES", str(folder)), vars_of(python, scope)
    )
    assert len(scope["found"]) == 48


def vars_of(line: str, scope: dict[str, Any]) -> dict[str, Any]:
    """The scope after the first statement of a line."""
    exec(line.split("; ")[0], scope)
    return scope


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("cat", "dog"), ["--classes", "cat,dog"]),
        (("7 up, can", "dog"), ["--class=7 up, can", "--class=dog"]),
        (("-x", "it's"), ["--class=-x", "--class=it's"]),
        ([f"class {i}" for i in range(31)], ["--classes-file", "NAMES.txt"]),
    ],
)
def test_names_in_the_line_that_is_shown_are_read_back(names: list[str], words: list[str]) -> None:
    shell, python = next_lines("a b.safetensors", names)
    assert shlex.split(shell) == ["dip", "predict", "a b.safetensors", "PICTURES", *words]
    compile(python, "shown", "exec")


def test_the_picture_of_confusions_shows_the_held_out_pictures(trained: tuple[Path, Path]) -> None:
    with Image.open(trained[1]) as drawn:
        assert drawn.format == "PNG" and min(drawn.size) > 200
        assert len(drawn.convert("RGB").getcolors(10**6) or ()) > 20


def test_a_confusion_counts_every_picture_once() -> None:
    labels = torch.tensor([0, 0, 1, 2, 2, 2])
    counts = confusion(torch.tensor([0, 1, 1, 2, 0, 2]), labels, 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    held_out = HeldOut(("a", "b", "c"), counts, confusion(labels, labels, 3))
    assert (held_out.pictures, held_out.right, held_out.zero_shot_right) == (6, 4, 6)
    nothing = confusion(labels[:0], labels[:0], 3)
    assert "no held-out" in told.accuracy(HeldOut(("a", "b", "c"), nothing, nothing))[0]


def test_what_the_walker_left_out_is_said(folder: Path, tmp_path: Path) -> None:
    dealt = picture_folder(folder)
    assert len(told.found(dealt)) == 1
    (own := shutil.copytree(folder, tmp_path / "own")).joinpath("notes.txt").write_text("")
    (own / OWN[0].replace(" ", "_") / "Thumbs.db").write_text("")
    (left,) = told.found(picture_folder(own))[1:]
    assert "1 *.txt" in left and "1 Thumbs.db" in left


@pytest.mark.usefixtures("trained")
def test_damaged_files_are_left_out_when_asked_and_warnings_show_no_source(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write_pictures(tmp_path / "own", "shapes", OWN[:2], count=6)
    (own / OWN[0].replace(" ", "_") / "notes.jpg").write_text("no picture")
    fit = ["fit", own, "--out", tmp_path / "p", *SETTINGS]
    assert "notes.jpg" in refused(*fit)
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.showwarning", shown_as_python_does)
        assert main([*map(str, fit), "--skip-unreadable"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert any("notes.jpg" in line for line in said) and any(
        "fewer than 6" in line for line in said
    )
    assert all(line.startswith("dip: ") for line in said)


def shown_as_python_does(message: Any, category: Any, file: str, number: int, *_: Any) -> None:
    """As outside of pytest, which keeps warnings for itself."""
    import sys
    import warnings

    sys.stderr.write(warnings.formatwarning(message, category, file, number))


# ---- which backbone -----------------------------------------------------------------------------


def test_an_unknown_backbone_names_the_nearest_alone(folder: Path, tmp_path: Path) -> None:
    for name in ("ViT-B/16", "vit-b-16", "ViT-B16"):
        said = refused("fit", folder, "--out", tmp_path / "p", "--backbone", name)
        assert "'ViT-B-16'" in said and len(said) < 200
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("backbone", "tag"),
    [("ViT-B-16", "openai"), ("RN50", "cc12m"), ("hf-hub:nobody/nothing", "")],
)
def test_without_weights_at_hand_one_line_names_the_option_and_the_tag(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    backbone: str,
    tag: str,
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    fit = ("fit", folder, "--out", tmp_path / "p", "--backbone", backbone, "--pretrained", tag)
    said = refused(*fit)
    assert "--pretrained FILE" in said and (tag or backbone) in said and NOWHERE in said
    assert capsys.readouterr().err == ""
    assert not caplog.records


def test_a_backbone_without_weights_names_the_option(folder: Path, tmp_path: Path) -> None:
    said = refused("fit", folder, "--out", tmp_path / "p", "--backbone", "ViT-B-32")
    assert "--pretrained FILE" in said and "openai" in said and "ViT-B-32" in said


def test_weights_are_at_hand_in_a_cache_or_where_the_host_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = open_clip.get_pretrained_cfg("ViT-B-16", "openai")
    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert NOWHERE in at_hand.out_of_reach(config)
    kept = tmp_path / "models--timm--vit_base_patch16_clip_224.openai"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("abc")
    (kept / "snapshots" / "abc").mkdir(parents=True)
    (kept / "snapshots" / "abc" / "open_clip_model.safetensors").write_text("")
    assert at_hand.out_of_reach(config) == ""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in at_hand.out_of_reach(config)
    monkeypatch.setenv("HOME", str(tmp_path))
    alone = {"url": f"{NOWHERE}/weights.pt"}
    assert NOWHERE in at_hand.out_of_reach(alone)
    (tmp_path / ".cache" / "clip").mkdir(parents=True)
    (tmp_path / ".cache" / "clip" / "weights.pt").write_text("")
    assert at_hand.out_of_reach(alone) == ""


def test_open_clip_says_nothing_untrue_of_weights_that_are_loaded_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    about = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "width": 64, "layers": 1, "patch_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2},
    }
    about["text_cfg"]["layers"] = 1
    (tmp_path / "tiny-of-this-test.json").write_text(json.dumps(about))
    open_clip.add_model_config(tmp_path)
    with caplog.at_level(logging.WARNING):
        model, _ = open_clip_model("tiny-of-this-test", None)
        assert "initialized randomly" in caplog.text  # true here
        caplog.clear()
        torch.save(model.state_dict(), tmp_path / "weights.pt")
        loaded, _ = open_clip_model("tiny-of-this-test", str(tmp_path / "weights.pt"))
        assert not caplog.records
        logging.warning("another model initialized randomly")
        assert len(caplog.records) == 1
    assert all(map(torch.equal, model.state_dict().values(), loaded.state_dict().values()))


@pytest.mark.usefixtures("trained")
def test_photographs_in_a_small_tower_are_told_which_tower_they_want(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in OWN[:2]:
        for i in range(4):
            path = picture(tmp_path / "photos" / name / f"{i}.jpg", seed=i)
            Image.open(path).resize((640, 480)).save(path)
    fit = ["fit", str(tmp_path / "photos"), "--out", str(tmp_path / "p"), *SETTINGS]
    assert main(fit) == 0
    assert "--backbone ViT-B-16 --pretrained openai" in capsys.readouterr().out
    clip = load_backbone("glyph-vit")
    assert told.tower_for_photographs(clip, picture_folder(folder)) == []
    (tmp_path / "photos" / OWN[0]).rename(tmp_path / "photos" / "golden retriever")
    assert "--backbone ViT-B-16 --pretrained openai" in refused(*fit)


# ---- dip predict --------------------------------------------------------------------------------


def asked(trained: tuple[Path, Path], folder: Path, *more: str) -> list[str]:
    return ["predict", str(trained[0]), str(folder), "--classes", ",".join(OWN), *more]


def test_csv_holds_what_json_does(
    trained: tuple[Path, Path], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(trained, folder, "--top", "2", "--json")) == 0
    expected = json.loads(capsys.readouterr().out)
    assert main(asked(trained, folder, "--top", "2", "--csv", str(tmp_path / "a" / "n.csv"))) == 0
    capsys.readouterr()
    assert main(asked(trained, folder, "--top", "2", "--csv", "-")) == 0
    text = capsys.readouterr().out
    assert (tmp_path / "a" / "n.csv").read_text("utf-8") == text  # nothing else is on stdout
    rows = [*csv.DictReader(io.StringIO(text))]
    assert [row["picture"] for row in rows] == [*expected]
    for row, shares in zip(rows, expected.values(), strict=True):
        assert len(row) == 5
        found = {row[f"name_{i}"]: float(row[f"probability_{i}"]) for i in (1, 2)}
        assert found == pytest.approx(shares, abs=1e-5)
    assert "stdout" in refused(*asked(trained, folder, "--csv", "-", "--json"))


def test_odd_names_survive_a_csv(tmp_path: Path) -> None:
    best = {"a,b.png": [('the "7 up", can', 0.75)], "caf\udce9.png": [("crème\nbrûlée", 0.5)]}
    data = told.csv_of(best).encode("utf-8", "surrogateescape")
    assert b"caf\xe9.png" in data
    text = io.StringIO(data.decode("utf-8", "surrogateescape"))
    _, *rows = csv.reader(text)
    assert [(row[0], row[1]) for row in rows] == [(p, b[0][0]) for p, b in best.items()]


def test_a_picture_that_cannot_be_read_is_a_row_without_names(
    trained: tuple[Path, Path],
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "page.png").write_text("<html>")
    (tmp_path / "list.csv").write_text("")
    one = str(next(folder.rglob("*.png")))
    asked_for = ["predict", str(trained[0]), one, str(tmp_path), "--classes", ",".join(OWN)]
    assert main([*asked_for, "--csv", "-", "--top", "2"]) == 1
    said = capsys.readouterr()
    named, bare = csv.DictReader(io.StringIO(said.out))
    assert named["picture"] == one and named["name_1"] in OWN
    assert set(bare.values()) == {str(tmp_path / "page.png"), ""}
    assert f"dip: {tmp_path / 'page.png'}: " in said.err and "1 *.csv" in said.err


def test_a_prediction_sums_up_and_says_how_sure_it_is(
    trained: tuple[Path, Path], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(trained, folder)) == 0
    said = capsys.readouterr().out.splitlines()
    pictures, (head, *rows) = said[:48], said[48:]
    unsure = sum(line.endswith("(unsure)") for line in pictures)
    assert head.startswith(f"48 pictures, {48 - unsure} with")
    best = [line.split(".png: ")[1].rsplit(" ", 2)[0] for line in pictures]
    counts = {name: sum(each.startswith(name) for each in best) for name in OWN}
    for name, count in counts.items():
        assert not count or any(
            re.match(rf"  {re.escape(name)} +{count}, on average", row) for row in rows
        )


def test_sureness_is_the_lead_of_the_best_name() -> None:
    assert told.sure([("a", 0.6), ("b", 0.3)]) and told.sure([("a", 1.0)])
    assert not told.sure([("a", 0.5), ("b", 0.45)])
    assert told.line("p.png", [("a", 0.5), ("b", 0.45)], 1) == "p.png: a 50.0 % (unsure)"
    assert told.line("p.png", [("a", 0.9), ("b", 0.1)], 2) == "p.png: a 90.0 %, b 10.0 %"
    assert told.summary(["a", "b"], {"p.png": [("a", 0.9), ("b", 0.1)]}) == []


def test_a_name_that_no_picture_comes_near_is_pointed_at(
    trained: tuple[Path, Path], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = load_dataset("shapes").class_names
    alone = str(folder / OWN[0].replace(" ", "_"))
    words = ["--classes", ",".join(names), "--top", str(len(names)), "--json"]
    assert main(["predict", str(trained[0]), alone, *words]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out).values()
    far = [name for name in names if all(each[name] < 1 / len(names) for each in found)]
    assert 0 < len(far) < len(names)
    assert re.findall(r"'([^']+)' \(", said.err) == far[: told.MANY]
    near = {"p": [("a", 0.6), ("b", 0.4)], "q": [("b", 0.7), ("a", 0.3)]}
    assert told.far_names(["a", "b"], near) == []
    assert told.far_names(["a", "b"], {}) == []


def test_one_name_leaves_nothing_to_choose(trained: tuple[Path, Path], folder: Path) -> None:
    assert "'zebra'" in refused("predict", trained[0], folder, "--class", "zebra")


def test_a_misspelt_word_is_pointed_at_and_a_rare_one_is_not() -> None:
    clip = load_backbone("glyph-vit")  # its tokenizer is every CLIP's
    (hint,) = told.spelling(clip, ["golden retreiver", "wolf", "dogs", "Samoyeds", "2012 Audi S5"])
    assert "'retreiver'" in hint and "'retriever'" in hint
    (hint,) = told.spelling(clip, ["skatebaord"])
    assert "'skateboard'" in hint
    assert told.spelling(clip, ["zyzzyva", "toucan", "crème brûlée"]) == []


def test_no_weights_say_the_remedy_of_their_door() -> None:
    fault = NoWeightsError("ViT-B-16", "openai", "no network")
    assert "load_backbone" in str(fault) and "--pretrained" not in str(fault)
    assert "load_backbone" not in told.error(fault) and "--pretrained FILE" in told.error(fault)
    assert "\n" not in told.error(RuntimeError("two\nlines"))


def test_photo_arrays_are_no_concern_of_numpy_scalars(trained: tuple[Path, Path]) -> None:
    loaded = PromptedClassifier.load(trained[0])
    picture = np.zeros((48, 48, 3), np.uint8)
    assert len(loaded.predict(picture, np.array(OWN), np.int64(2))[0]) == 2
