"""Worlds and datasets of one's own: a package's entry points, or a profile, and no edited file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from glyph_pictures import write_pictures

from dip_lib.data import load_dataset
from dip_lib.data.folders import picture_folder
from dip_study import study
from dip_study.loaded import dataset_of
from dip_study.plan import plan
from dip_study.profiles import FOLDER, load_profile
from dip_study.provenance import settings_fingerprint
from dip_study.runs import coop, dip, zero_shots

ROOT = Path(__file__).resolve().parents[1]
TOY = ROOT / "tests" / "toy_world"
LETTERS = load_dataset("greek").class_names[:5]


def profile_file(path: Path, changes: Mapping[str, str], more: str = "") -> Path:
    """The profile ``smoke`` with other values."""
    text = (FOLDER / "smoke.toml").read_text("utf-8")
    for name, value in changes.items():
        text, count = re.subn(rf"^{name} = .*", f"{name} = {value}", text, flags=re.MULTILINE)
        assert count, name
    path.write_text(f"{text}\n{more}", "utf-8")
    return path


# ---- a package ----------------------------------------------------------------------------------

SCRIPT = """
import json, sys
from dip_book.notebook import begin
from dip_lib import load_backbone
from dip_lib.data import load_dataset
from dip_study import study
from dip_study.profiles import load_profile
from dip_study.runs import coop, dip

PARAMETERS = {"profile": sys.argv[1], "datasets": "toy-colours", "seeds": "1", "epochs": None}

def main():
    clip, colours = load_backbone("toy-clip"), load_dataset("toy-colours")
    text = clip.encode_text(["a photo of a red."])
    profile = load_profile(sys.argv[1])
    records = study.collect([*coop(profile), *dip(profile)], profile, results="fresh")
    page = begin("03_base_to_new", PARAMETERS | {"device": "cpu", "results": "fresh"})
    runs = page.collect(coop(page.profile))
    page.protocol()
    page.cost(runs)
    page.numbers({"runs": len(runs)})
    number = json.loads((page.folder / "numbers.json").read_text())["runs"]
    print(json.dumps([
        list(text.shape), list(colours.class_names), profile.world, number["world"],
        [(r["label"], r["run"]["data"]["dataset"], r["run"]["tower"]["backbone"]) for r in records],
        [(r["status"], r["classes"], r["test_images"]) for r in records],
    ]))

if __name__ == "__main__":
    main()
"""


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A script in a process of its own, with the toy world installed beside the library."""
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=script.parent,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{TOY}", "DIP_WORKERS": "2"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    own = {"world": '"Toy World"', "towers": '["toy-clip"]', "datasets": '["toy-colours"]'}
    return profile_file(tmp_path / "toy.toml", own | {"shots": "2"})


def test_a_package_brings_a_world_and_nothing_of_the_library_is_edited(toy: Path) -> None:
    script = toy.with_name("toy.py")
    script.write_text(SCRIPT)
    done = run(script, toy.name)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    text, names, *worlds, runs, records = json.loads(last)
    assert text == [1, 16]
    assert names == ["blue", "green", "red", "yellow"]
    assert worlds == ["Toy World", "Toy World"]  # of the profile, and of a page's number
    assert "Glyph World" not in done.stdout
    assert runs == [[each, "toy-colours", "toy-clip"] for each in ("CoOp", "CoOp", "DIP", "DIP")]
    assert records == [["finished", [2, 2], [10, 10]]] * 4


def test_without_the_package_its_names_are_unknown() -> None:
    with pytest.raises(ValueError, match="'toy-colours'"):
        load_dataset("toy-colours")


# ---- folders of a profile -----------------------------------------------------------------------


def letters(tmp_path: Path, classes: int = 4) -> Path:
    """A profile that brings a dataset of Greek letters, as files beside it."""
    write_pictures(tmp_path / "pictures" / "letters", "greek", LETTERS[:classes])
    own = {"world": '"Letters"', "towers": '["glyph-resnet"]', "datasets": '["own-letters"]'}
    folders = '[folders]\nown-letters = "pictures/letters"\n'
    return profile_file(tmp_path / "letters.toml", own | {"shots": "2", "seeds": "[1]"}, folders)


def test_a_folder_of_a_profile_is_a_dataset_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = letters(tmp_path)
    monkeypatch.chdir(tmp_path)
    profile = load_profile(path.name)
    monkeypatch.chdir("/")  # the folder is relative to the profile
    monkeypatch.setenv("DIP_WORKERS", "2")  # which are told of the folder
    own = picture_folder(tmp_path / "pictures" / "letters")
    runs = [*zero_shots(profile), *coop(profile), *dip(profile)]
    assert {run.data.fingerprint for run in runs} == {own.fingerprint}
    for record in study.collect(runs, profile, results="fresh"):
        assert record["run"]["data"]["dataset"] == "own-letters"
        assert (record["status"], record["classes"]) == ("finished", [2, 2])
    assert dataset_of("own-letters", "default", profile.folders).class_names == LETTERS[:4]
    cost = plan(profile, "base_to_new").loc["glyph-resnet", "fp32", "own-letters", "default"]
    # test pictures, and of the two base classes 2 to train on in one view and 2 for validation
    assert cost["images"] == len(own.labels("test")) + 2 * (2 + 2)


def test_dip_measure_takes_the_profile_and_reads_its_folders(tmp_path: Path) -> None:
    path = letters(tmp_path)
    arguments = ["measure", "--profile", str(path), "--study", "precision", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "dip_study.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "DIP_WORKERS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"precision": {"runs": 2, "measured": 2}}


def test_a_half_of_one_class_stops_with_the_name_of_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIP_WORKERS", "1")
    profile = load_profile(str(letters(tmp_path, classes=3)))
    for make in (zero_shots, coop):
        with pytest.raises(ValueError, match=f"new half of own-letters.*{LETTERS[2]}"):
            study.collect(make(profile), profile, results="fresh")
    assert study.open_store(profile, "fresh").records() == []


def test_what_is_wrong_with_a_folder_of_a_profile_is_said(tmp_path: Path) -> None:
    path = letters(tmp_path)
    text = path.read_text()
    path.write_text(text.replace("pictures/letters", "pictures/nowhere"))
    with pytest.raises(ValueError, match="nowhere"):
        zero_shots(load_profile(str(path)))
    path.write_text(text)
    with pytest.raises(ValueError, match="'mirror'"):
        coop(load_profile(str(path)), style="mirror")
    for taken in ("greek", "eurosat"):
        path.write_text(text.replace("own-letters", taken))
        with pytest.raises(ValueError, match=repr(taken)):
            load_profile(str(path))


def test_folders_are_no_setting() -> None:
    # where pictures lie may differ between machines; their fingerprint is what counts
    assert "folders" not in repr(load_profile("smoke"))
    assert len(settings_fingerprint("smoke")) == 12


# ---- a profile like another ---------------------------------------------------------------------


def test_a_profile_is_like_another_but_for_what_it_says_itself(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine.toml", tmp_path / "other.toml"
    mine.write_text('like = "smoke"\nshots = 2\n[costly]\nseeds = 2\n[settings.kgcoop]\nlr = 0.5\n')
    found, smoke = load_profile(str(mine)), load_profile("smoke")
    assert found.costly == {**smoke.costly, "seeds": 2}
    assert found.settings["kgcoop"] == {**smoke.settings["kgcoop"], "lr": 0.5}
    assert found.settings.keys() == smoke.settings.keys()
    same = {"name": "smoke", "shots": 16, "costly": smoke.costly, "settings": smoke.settings}
    assert replace(found, **same) == smoke
    other.write_text('like = "mine.toml"\nshots = 4\n')  # beside it, wherever one works
    assert (load_profile(str(other)).shots, load_profile(str(other)).costly) == (4, found.costly)


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ('like = "smok"', "'smoke'"),
        ('like = "nowhere.toml"', "nowhere.toml"),
        ('like = "mine.toml"', "mine.toml"),
        ('like = "smoke"\nshot = 2', "'shot'"),
        ('like = "smoke"\n[settings.kgcop]', "'kgcoop'"),
        ('like = "smoke"\ntowers = ["glyph-vitt"]', "'glyph-vit'"),
        ('like = "paper"\ntowers = ["ViT-B16"]', "'ViT-B-16'"),
        ('like = "smoke"\ndatasets = ["greeek"]', "'greek'"),
        ('like = "paper"\nsource = "image-net"', "'imagenet'"),
        ('like = "smoke"\nshifts = ["lattin"]', "'latin'"),
        ('like = "smoke"\n[folders]\nown = "own"', "world"),  # else it is called Glyph World
    ],
)
def test_what_is_wrong_with_a_profile_like_another_is_said(
    tmp_path: Path, text: str, token: str
) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ValueError, match=token):
        load_profile(str(tmp_path / "mine.toml"))


def test_folders_come_with_the_profile_that_one_is_like(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "mine.toml").write_text(
        'like = "smoke"\nworld = "Mine"\n[folders]\none = "deep/one"'
    )
    (tmp_path / "deep" / "more.toml").write_text(
        'like = "../mine.toml"\nworld = "More"\n[folders]\ntwo = "two"\n'
    )
    found = load_profile(str(tmp_path / "deep" / "more.toml"))
    assert found.world == "More"
    assert found.folders == {"one": tmp_path / "deep" / "one", "two": tmp_path / "deep" / "two"}
