"""``dip features``: packs are made, listed, checked and fetched; faults are one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import photo_archives
import pytest
from broken_server import serving
from glyph_pictures import write_pictures

from dip_lib import load_dataset
from dip_lib.data import pack_files
from dip_lib.data.class_tree import SPLITS
from dip_lib.data.folders import picture_folder
from dip_lib.data.pack_files import own_packs, read_pack
from dip_lib.data.photos import load_photos
from dip_lib.data.pictures import Pictures
from dip_lib.data.protocols import Classes, draw
from dip_lib.errors import PackError
from dip_study.cli import main
from dip_study.feature_commands import profile_draws
from dip_study.profiles import load_profile

LETTERS = load_dataset("greek").class_names[:4]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Do not compare its results"),
    pytest.mark.filterwarnings("ignore:.*have fewer than"),
]


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATA", raising=False)


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """A profile that brings drawn letters, which the small backbones can read."""
    write_pictures(tmp_path / "letters", "greek", LETTERS, count=12)
    lines = ('like = "smoke"', 'world = "Letters"', 'datasets = ["letters"]', "shots = 2")
    path = tmp_path / "letters.toml"
    path.write_text("\n".join([*lines, "[folders]", 'letters = "letters"']))
    return path


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def failed(command: Sequence[str | Path]) -> str:
    """The line of a command that fails."""
    with pytest.raises(SystemExit) as exit:
        main([str(word) for word in command])
    assert str(exit.value.code).startswith("dip: ") and "\n" not in str(exit.value.code)
    return str(exit.value.code)


def pack(letters: Path, *more: str) -> list[str]:
    own = ["--backbone", "glyph-resnet", "--dataset", "letters", "--profile", str(letters)]
    return ["features", "pack", *own, *more]


def test_a_pack_holds_what_the_profiles_runs_need_and_is_made_once_from_what_is_encoded(
    letters: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ["--licence", "CC BY 4.0", "--source", "drawn", "--note", "four of 48"]
    assert main(pack(letters, *told, "--json")) == 0
    heard = capsys.readouterr()
    found = json.loads(heard.out)["letters"]
    path = own_packs() / "letters.glyph-resnet.safetensors"
    assert (found["file"], found["bytes"]) == (str(path), path.stat().st_size)
    header = read_pack(path).header
    assert (header.licence, header.source, header.note) == ("CC BY 4.0", "drawn", "four of 48")
    profile = load_profile(str(letters))
    draws, views = profile_draws(profile, picture_folder(letters.with_suffix("")))
    assert views == header.views == profile.views
    train = {row for rows, _ in draws for row in rows}
    assert read_pack(path).rows("train").tolist() == sorted(train)
    assert f"{len(train)} training images in {views} views" in heard.err  # before the work
    encoded = sorted((path.parents[1] / "features").iterdir())
    assert main(pack(letters, "--encoding", "fp16", "--out", str(letters.parent / "out"))) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{letters.parent / 'out' / path.name}: ") and "fp16" in line
    assert sorted((path.parents[1] / "features").iterdir()) == encoded  # as a resumed call


def test_few_shot_and_both_halves_are_in_the_draws_of_a_profile() -> None:
    smoke = load_profile("smoke")
    greek = load_dataset("greek")
    draws, views = profile_draws(smoke, greek)
    assert views == smoke.views
    pooled = {row for rows, _ in draws for row in rows}
    for protocol, shots in (("base-to-new", smoke.shots), ("all-classes", 1), ("all-classes", 8)):
        for seed in smoke.seeds:
            assert set(draw(greek.labels, shots, seed, Classes(protocol))[0]) <= pooled
    shift = Pictures("imagenet_r", LETTERS, Path(), {split: [] for split in SPLITS})
    assert profile_draws(load_profile("paper"), shift) == ([], 0)  # evaluated on, never trained


def test_lists_shots_and_views_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo_archives.make("eurosat", tmp_path)
    monkeypatch.setenv("DATA", str(tmp_path))
    eurosat = load_photos("eurosat")
    own = ["--backbone", "ViT-S-32-alt", "--dataset", "eurosat", "--seeds", "1", "--shots", "1,2"]
    assert main(["features", "pack", *own, "--views", "2", "--json"]) == 0
    found = said(capsys)["eurosat"]
    path = own_packs() / "eurosat.ViT-S-32-alt-random-weights.safetensors"
    assert found["file"] == str(path)
    assert found["source"].startswith("https://")  # where `dip data get` has it from
    rows = {row for k in (1, 2) for row in draw(eurosat.labels, k, 1, Classes("all-classes"))[0]}
    assert read_pack(path).rows("train").tolist() == sorted(rows)
    assert (found["views"], found["test"], found["classes"]) == (2, 10, 5)
    monkeypatch.delenv("DATA")
    assert "variable DATA" in failed(["features", "pack", *own])  # no pack is made from a pack
    for more, token in ((["--shots", "1,x"], "'1,x'"), (["--profile", "smoke"], "--profile")):
        assert token in failed(["features", "pack", *own, *more])


def test_other_packs_of_a_dataset_decide_what_auto_is(
    letters: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(pack(letters, "--encoding", "fp16", "--json")) == 0
    vit = [word.replace("glyph-resnet", "glyph-vit") for word in pack(letters, "--json")]
    capsys.readouterr()
    assert main(vit) == 0
    assert said(capsys)["letters"]["encoding"] == "fp16"
    assert "letters.glyph-vit" in failed([*vit, "--encoding", "int8"])


def test_what_is_found_is_a_table_and_damage_is_in_it(
    letters: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_files, "plugins", lambda group: ())  # of no world
    assert main(["features", "list"]) == 0
    assert "dip features get" in capsys.readouterr().out
    assert main(pack(letters)) == 0
    capsys.readouterr()
    (own_packs() / "dtd.RN50.safetensors").write_bytes(b"half")
    assert main(["features", "list"]) == 0
    head, row, damaged = capsys.readouterr().out.splitlines()
    assert head.split() == [
        *("dataset", "encoder", "train", "val", "test", "encoding", "size", "licence", "file")
    ]
    assert row.split()[:3] == ["letters", "glyph-resnet", row.split()[2]]
    assert "not stated" in row
    assert "dtd.RN50.safetensors cannot be used" in damaged


def test_verify_exits_with_one_on_any_damage(
    letters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["features", "verify"]) == 0
    assert main(pack(letters)) == 0
    assert main(["features", "verify"]) == 0
    path = own_packs() / "letters.glyph-resnet.safetensors"
    assert f"{path}: whole" in capsys.readouterr().out
    data = path.read_bytes()
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert main(["features", "verify", str(path), str(bad), "--json"]) == 1
    heard = capsys.readouterr()
    assert json.loads(heard.out)[str(path)] is None
    assert heard.err.count("\n") == 1 and f"dip: the feature pack {bad}" in heard.err
    # two that are whole, and of which one is no pack of the same
    assert main(pack(letters, "--encoding", "fp16", "--out", str(tmp_path))) == 0
    (tmp_path / path.name).replace(path.with_name("letters.other.safetensors"))
    capsys.readouterr()
    assert main(["features", "verify"]) == 1
    assert "encoding" in capsys.readouterr().err


def test_a_pack_is_fetched_checked_and_only_then_there(
    letters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(pack(letters, "--out", str(tmp_path / "theirs"))) == 0
    (theirs,) = (tmp_path / "theirs").iterdir()
    data, mine = theirs.read_bytes(), own_packs() / theirs.name
    capsys.readouterr()
    with serving(**{"packs/any.safetensors": data, "packs/bad": data[:-1] + b"\0"}) as site:
        site.cuts = [1000]  # and resumed
        assert main(["features", "get", f"{site.url}/packs/any.safetensors", "--json"]) == 0
        assert said(capsys)["file"] == str(mine)
        assert mine.read_bytes() == data
        mine.unlink()
        bad = f"{site.url}/packs/bad"
        assert f"the feature pack {bad} cannot be used" in failed(["features", "get", bad])
        assert "404" in failed(["features", "get", f"{site.url}/nothing"])
    half = tmp_path / "half"
    half.write_bytes(data[: len(data) // 2])
    for source in (half, tmp_path / "nowhere"):
        assert str(source) in failed(["features", "get", source])
    assert not mine.exists()
    assert main(["features", "get", str(theirs)]) == 0
    assert mine.read_bytes() == data == theirs.read_bytes()
    mine.write_bytes(b"damaged")  # fetching again is the remedy
    assert main(["features", "get", str(theirs)]) == 0
    assert mine.read_bytes() == data


def test_a_damaged_pack_is_made_again(letters: Path) -> None:
    assert main(pack(letters)) == 0
    path = own_packs() / "letters.glyph-resnet.safetensors"
    path.write_bytes(b"damaged")
    with pytest.raises(PackError):
        read_pack(path)
    assert main(pack(letters)) == 0
    read_pack(path)


def test_what_is_wrong_is_one_line(letters: Path) -> None:
    with pytest.raises(ValueError, match="letters"):
        profile_draws(load_profile("smoke"), picture_folder(letters.with_suffix("")))
    for command, token in (
        (pack(letters, "--pretrained", "openai"), "--pretrained"),
        (["features", "pack", "--backbone", "RN5O", "--dataset", "eurosat"], "'RN50'"),
        (["features", "pack", "--backbone", "glyph-vit", "--dataset", "eurosat"], "DATA"),
        (["features", "verify", "nowhere"], "nowhere"),
    ):
        if command[1] == "verify":
            assert main(command) == 1
        else:
            assert token in failed(command)


def test_in_a_real_process(letters: Path) -> None:
    def dip(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dip_study.cli", *words]
        root = str(Path(__file__).resolve().parents[1])
        env = {**os.environ, "PYTHONPATH": root}
        return subprocess.run(command, env=env, capture_output=True, text=True)

    made = dip(*pack(letters), "--json")
    assert made.returncode == 0, made.stderr
    path = Path(json.loads(made.stdout)["letters"]["file"])
    path.write_bytes(path.read_bytes()[:-9])
    checked = dip("features", "verify")
    assert checked.returncode == 1
    assert checked.stderr.startswith(f"dip: the feature pack {path} cannot be used")
    assert "Traceback" not in checked.stderr
