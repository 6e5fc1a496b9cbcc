"""The command: what it prints, what it exits with, and no traceback whatever goes wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from broken_server import serving
from glyph_pictures import write_pictures
from photo_archives import make
from test_archives import tarred, tree, zipped

from dip_lib.data.photos import load_photos
from dip_lib.fetch import download
from dip_lib.fetch.download import Photos, sources
from dip_lib.store import Store
from dip_lib.store.export import every_record
from dip_lib.training.record import record
from dip_study import plan, study
from dip_study.cli import INTERRUPTED, main
from dip_study.profiles import load_profile

SPLIT = b'{"train": [], "val": [], "test": []}'


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATA", raising=False)
    monkeypatch.delenv("DIP_MIRROR", raising=False)


def unchecked(photos: Photos) -> Photos:
    """A declared dataset whose files may be smaller than the published ones."""
    files = (replace(file, size=0, about=1, sha256="") for file in photos.files)
    return replace(photos, files=tuple(files))


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was said on stderr, without the progress bars."""
    said = capsys.readouterr().err.splitlines()
    return [line for line in said if line.startswith("dip") or "Traceback" in line]


def test_what_is_missing_is_fetched_and_the_status_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = zipped(tmp_path / "x", {"UCF-101-midframes/Archery/1.jpg": b"one"}).read_bytes()
    data = tmp_path / "data"
    files = {"UCF-101-midframes.zip": videos, "split_zhou_UCF101.json": SPLIT}
    with serving(**{f"ucf101/{name}": content for name, content in files.items()}) as site:
        monkeypatch.setenv("DIP_MIRROR", site.url)
        monkeypatch.setenv("DATA", str(data))
        assert main(["data", "status"]) == 1
        before = capsys.readouterr().out
        assert "ucf101          missing, 141MB to download" in before
        assert f"- {data}/ucf101/UCF-101-midframes\n" in before
        assert main(["data", "get", "ucf101", "ucf101"]) == 0
        assert capsys.readouterr().out == "ucf101: complete\n"
        assert main(["data", "get", "ucf101", "--json"]) == 0
    (got,) = json.loads(capsys.readouterr().out).items()
    where = str((data / "ucf101").absolute())
    nothing = {"missing": [], "download": 0, "begun": 0, "error": None}
    assert got == ("ucf101", {"folder": where, **nothing})
    assert len(site.asked) == 2
    assert set(tree(data / "ucf101")) == {
        "UCF-101-midframes/Archery/1.jpg",
        "split_zhou_UCF101.json",
    }
    assert main(["data", "status"]) == 1  # fourteen others are missing
    assert f"ucf101          complete  ({data}/ucf101)" in capsys.readouterr().out


def test_the_status_for_programs_is_one_json_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "status", "--json", "--data", str(tmp_path / "none")]) == 1
    found = json.loads(capsys.readouterr().out)
    assert list(found) == list(sources())
    assert found["imagenet"]["missing"][1] == {
        "path": str(tmp_path / "none" / "imagenet" / "images" / "train"),
        "bytes": 147_897_477_120,
        "by_hand": True,
    }
    assert not (tmp_path / "none").exists()  # looking changes nothing


def test_a_complete_disk_exits_with_zero(tmp_path: Path) -> None:
    for each in sources().values():
        for file in each.files:
            for name in file.gives or (file.name,):
                path = tmp_path / each.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x")
    assert main(["data", "status", "--data", str(tmp_path)]) == 0
    assert main(["data", "get", *sources(), "--data", str(tmp_path)]) == 0


def test_one_failure_is_one_line_and_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(**{"imagenet/classnames.txt": b"n01440764 tench"}) as site:
        monkeypatch.setenv("DIP_MIRROR", site.url)
        assert main(["data", "get", "eurosat", "imagenet", "--data", str(tmp_path)]) == 1
    dead, by_hand = lines(capsys)
    assert dead.startswith(f"dip: eurosat: {site.url}/eurosat/EuroSAT.zip: HTTP Error 404")
    assert by_hand.startswith(f"dip: imagenet: {tmp_path}/imagenet/images/train, ")
    assert "image-net.org" in by_hand and f"{tmp_path}/imagenet/images/val." in by_hand
    with serving() as site:
        monkeypatch.setenv("DIP_MIRROR", site.url)
        assert main(["data", "get", "eurosat", "--json", "--data", str(tmp_path)]) == 1
    said = capsys.readouterr()
    eurosat = json.loads(said.out)["eurosat"]
    assert eurosat["missing"] and "HTTP Error 404" in eurosat["error"]
    assert f"dip: eurosat: {eurosat['error']}\n" in said.err
    assert (tmp_path / "imagenet" / "classnames.txt").exists()


def test_the_dead_source_of_the_cars_is_told_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "stanford_cars"
    with serving(**{"stanford_cars/split_zhou_StanfordCars.json": SPLIT}) as site:
        monkeypatch.setenv("DIP_MIRROR", site.url)
        assert main(["data", "get", "stanford_cars", "--data", str(tmp_path)]) == 1
        (said,) = lines(capsys)
        assert "fetch stanford_cars.zip" in said and f"into {folder} " in said
        zipped(folder / "stanford_cars.zip", {"stanford_cars/cars_train/1.jpg": b"one"})
        assert main(["data", "get", "stanford_cars", "--data", str(tmp_path)]) == 1
    (said,) = lines(capsys)
    assert "not 1959002685 and 50812812" in said and "stanford_cars.zip.bad" in said


@pytest.mark.parametrize("name", ["eurosat", "fgvc_aircraft", "caltech101"])
def test_a_dataset_of_which_a_picture_is_missing_is_repaired(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make(name, whole := tmp_path / "whole")
    declared, data = sources()[name], tmp_path / "data"
    archive = next(file for file in declared.files if file.gives)
    monkeypatch.setattr(download, "sources", lambda: {name: unchecked(declared)})
    complete = tree(whole / declared.folder)
    inside = {f"{archive.take}/{path}".removeprefix("./"): d for path, d in complete.items()}
    if archive.inner:
        inner = tarred(tmp_path / "inner", {path: d for path, d in complete.items()})
        inside = {archive.inner: inner.read_bytes()}
    served = {f"{declared.folder}/{archive.name}": zipped(tmp_path / "x", inside).read_bytes()}
    served |= {
        f"{declared.folder}/{file.name}": complete[file.name]
        for file in declared.files
        if not file.gives
    }
    monkeypatch.setenv("DATA", str(data))
    with serving(**served) as site:
        monkeypatch.setenv("DIP_MIRROR", site.url)
        assert main(["data", "get", name]) == 0
        pictures = sorted((data / declared.folder).rglob("*.jpg"))
        kept = [path for path in pictures if "BACKGROUND" not in str(path)]
        gone, empty, *others = kept
        gone.unlink()
        empty.write_bytes(b"")
        others[0].write_bytes(b"mine")  # what is there is not touched
        asked = len(site.asked)
        with pytest.raises(ValueError, match=re.escape(gone.name)):
            load_photos(name, data)
        assert main(["data", "status"]) == 1
        said = capsys.readouterr().out
        assert f"- {gone} and 1 more" in said
        assert main(["data", "get", name]) == 0
        assert len(site.asked) == asked + 1  # the archive, and no list again
        assert main(["data", "status"]) == 0
    assert gone.stat().st_size > 0 and empty.stat().st_size > 0
    assert others[0].read_bytes() == b"mine"


def test_a_picture_that_no_archive_brings_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make("eurosat", tmp_path)
    declared = sources()["eurosat"]
    gone = sorted((tmp_path / "eurosat").rglob("*.jpg"))[0]
    gone.unlink()
    monkeypatch.setattr(download, "sources", lambda: {"eurosat": unchecked(declared)})
    some = zipped(tmp_path / "x", {"2750/Forest/other.jpg": b"one"}).read_bytes()
    with serving(**{"eurosat/EuroSAT.zip": some}) as site:
        monkeypatch.setenv("DIP_MIRROR", site.url)
        assert main(["data", "get", "eurosat", "--data", str(tmp_path)]) == 1
    (said,) = lines(capsys)
    assert str(gone) in said and "1 listed" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND"),
        (["data"], "required: ACTION"),
        (["data", "status"], "required: --data"),
        (["data", "get", "--data", "x"], "required: NAME"),
        (["fit", "animals"], "required: --out"),
        (["fit", "animals", "--out", "p", "--epochs", "many"], "invalid int value: 'many'"),
        (["predict", "p", "a.jpg"], "--classes --class --classes-file is required"),
        (["predict", "p", "--classes", "a,b"], "required: pictures"),
        (["data", "get", "eurosta", "--data", "x"], "'eurosta'"),
        (["measure", "--study", "few_shots"], "'few_shots'"),
    ],
)
def test_a_wrong_usage_exits_with_two_and_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    assert said in capsys.readouterr().err


COMMANDS = [
    *([], ["data"], ["data", "get"], ["data", "status"], ["fit"], ["predict"], ["plan"]),
    *(["measure"], ["export"], ["features"], ["store"], ["store", "rekey"]),
    *(["features", action] for action in ("pack", "list", "verify", "get")),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples_and_exit_codes(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        main([*command, "--help"])
    assert exit.value.code == 0
    shown = capsys.readouterr().out
    assert "dip data get eurosat dtd --data pictures" in shown
    assert "dip fit animals --out animals.safetensors" in shown
    codes = dict(re.findall(r"^  ([0-9]+)  +(.+)", shown, re.MULTILINE))
    assert list(codes) == ["0", "1", "2", "130"]
    assert ("--json" in shown.partition("examples:")[0]) == (
        command not in ([], ["data"], ["features"], ["store"])
    )


def test_a_folder_that_cannot_be_is_one_line_in_a_real_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    command = [sys.executable, "-m", "dip_study.cli", "data", "get", "dtd", "--data"]
    ended = subprocess.run([*command, tmp_path / "file"], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("dip: dtd: ") and ended.stderr.count("\n") == 1


def test_a_folder_becomes_a_prompt_file_that_names_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("black square", "white square", "lozenge")
    write_pictures(tmp_path / "own", "shapes", names, count=6)
    file, squares = tmp_path / "new" / "prompt.safetensors", tmp_path / "own" / "white_square"
    settings = ("--epochs", "2", "--shots", "3", "--views", "0", "--backbone", "glyph-vit")
    fit = ["fit", str(tmp_path / "own"), "--out", str(file), *settings]
    assert main([*fit, "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["file"], about["bytes"]) == (str(file), file.stat().st_size)
    assert about["classes"] == sorted(names)
    assert main(fit) == 0
    told = f"{file}: {about['bytes']} bytes, trained on 3 classes"
    assert told in capsys.readouterr().out.splitlines()
    asked = ("--classes", "white square, bullseye,lozenge")
    assert main(["predict", str(file), str(squares), *asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == [str(path) for path in sorted(squares.iterdir())]
    for shares in found.values():
        assert set(shares) == {"white square", "bullseye", "lozenge"}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
    one, shares = next(iter(found.items()))
    assert main(["predict", str(file), one, *asked, "--top", "1"]) == 0
    best, share = next(iter(shares.items()))
    assert capsys.readouterr().out.startswith(f"{one}: {best} {100 * share:.1f} %")


def test_a_damaged_picture_does_not_lose_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write_pictures(tmp_path / "own", "shapes", ("lozenge", "bullseye"), count=6)
    file, settings = tmp_path / "prompt", ("--backbone", "glyph-vit", "--epochs", "0")
    (own / "lozenge" / "Thumbs.db").write_text("junk")
    bad = own / "lozenge" / "cut.png"
    whole = next((own / "bullseye").iterdir()).read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    fit = ["fit", str(own), "--out", str(file), "--views", "0", "--shots", "3", *settings]
    assert main([*fit, "--skip-unreadable"]) == 0
    (left,) = [line for line in capsys.readouterr().out.splitlines() if "Thumbs.db" in line]
    assert "1 Thumbs.db" in left
    named = ["predict", str(file), str(own), "--classes", "lozenge,bullseye"]
    for _ in range(2):  # at once, and from what is kept
        assert main(named) == 1
        shown = capsys.readouterr()
        assert shown.out.count(".png: ") == 12 and str(bad) not in shown.out
        said = [line for line in shown.err.splitlines() if line.startswith("dip: ")]
        assert len(said) == 2 and "Thumbs.db" in said[0]
        assert said[1].startswith(f"dip: {bad}: ")
    assert main([*named, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 13 and found[str(bad)] == {}
    bad.write_bytes(whole)  # repaired
    assert main(named) == 0
    assert main([*named[:2], str(bad), str(tmp_path / "gone.png"), *named[3:]]) == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1].startswith(f"{bad}: ")
    assert f"dip: {tmp_path / 'gone.png'}: No such file" in shown.err
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="no pictures in .*empty"):
        main([*named[:2], str(tmp_path / "empty"), *named[3:]])


def test_what_cannot_be_is_one_line_and_exits_with_one(tmp_path: Path) -> None:
    write_pictures(tmp_path / "own", "shapes", ("lozenge",), count=3)
    nowhere, page = tmp_path / "nowhere", tmp_path / "page.jpg"
    page.write_text("<html>")
    for command, said in (
        (("fit", nowhere, "--out", nowhere), nowhere),
        (("fit", tmp_path / "own", "--out", nowhere), "lozenge"),
        (("predict", page, page, "--classes", "a,b"), page),
        (("predict", nowhere, page, "--classes", "a,b"), nowhere),
        (("fit", tmp_path / "own", "--out", nowhere, "--backbone", "glyph-vitt"), "'glyph-vit'"),
        (("measure", "--profile", "smok"), "smoke"),
        (("plan", "--profile", "smok"), "smoke"),
    ):
        with pytest.raises(SystemExit) as exit:
            main([str(word) for word in command])
        # Python prints such a code on stderr and exits with 1
        assert str(exit.value.code).startswith("dip: ") and str(said) in str(exit.value.code)
        assert "\n" not in str(exit.value.code)
    assert not nowhere.exists()


def test_plan_counts_before_anything_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--profile", "paper", "--study", "base_to_new"]) == 0
    said = capsys.readouterr().out
    assert "eurosat" in said
    assert "not measured" in said
    assert main(["plan", "--profile", "paper", "--study", "base_to_new", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["profile"], found["study"], found["device"]) == ("paper", "base_to_new", "cpu")
    costs = plan.plan(load_profile("paper"), "base_to_new")
    assert [row["dataset"] for row in found["rows"]] == [*costs.index.get_level_values("dataset")]
    assert [row["images"] for row in found["rows"]] == costs["images"].tolist()
    assert {row["text_minutes"] for row in found["rows"] if row["tower"] == "RN50"} == {0.0}


@pytest.mark.usefixtures("shared_features")
def test_measure_takes_what_this_machine_or_the_committed_results_have_and_export_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIP_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("DIP_WORKERS", "1")
    some = ["--profile", "smoke", "--study", "dropout", "epochs"]
    with pytest.raises(SystemExit, match="dip measure"):
        main(["export", *some])
    assert main(["measure", *some, "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert list(counts) == ["dropout", "epochs"]  # what both ask for is in the first
    assert all(each["runs"] == each["measured"] > 0 for each in counts.values())
    assert main(["export", *some]) == 0
    files = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert files == [tmp_path / "results" / "smoke" / f"{name}.json" for name in counts]
    # another machine, which has nothing but the committed results
    monkeypatch.setenv("DIP_HOME", str(tmp_path / "elsewhere"))
    assert main(["measure", *some, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again == {name: each | {"measured": 0} for name, each in counts.items()}
    assert not (tmp_path / "elsewhere" / "store").exists()


def test_a_study_exported_alone_keeps_the_training_of_runs_that_others_look_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIP_RESULTS", str(tmp_path / "results"))
    smoke, store = load_profile("smoke"), Store(tmp_path / "home" / "store")
    runs, points = study.dropout(smoke), [{"epoch": epoch, "base": 50.0} for epoch in range(3)]
    half = type("Half", (), {"names": ("a",), "labels": torch.zeros(3)})()
    for run in runs:
        store.put(record(run, (half, half), points, seconds=1.0))
    assert main(["export", "--profile", "smoke", "--study", "dropout"]) == 0
    exported = Store(tmp_path / "none", [tmp_path / "results" / "smoke" / "dropout.json"])
    along = study.seen_along_training(smoke)
    assert {len(along & {*runs}), len({*runs} - along)}.isdisjoint({0})
    for run in runs:
        kept = exported.get(run)
        assert kept is not None and len(kept["checkpoints"]) == (3 if run in along else 1)


def test_studies_exported_one_by_one_in_any_order_hold_each_run_once_and_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIP_RESULTS", str(tmp_path / "results"))
    smoke, store = load_profile("smoke"), Store(tmp_path / "home" / "store")
    shared = {*study.epochs(smoke)} & {*study.dropout(smoke)}
    runs = {*study.epochs(smoke), *study.dropout(smoke)}
    half = type("Half", (), {"names": ("a",), "labels": torch.zeros(3)})()
    for run in runs:
        store.put(record(run, (half, half), [{"epoch": 0, "base": 50.0}], seconds=1.0))
    assert shared
    for name in ("epochs", "dropout", "epochs"):
        assert main(["export", "--profile", "smoke", "--study", name]) == 0
    files = [tmp_path / "results" / "smoke" / f"{name}.json" for name in ("epochs", "dropout")]
    keys = [each["key"] for path in files for each in every_record(path)]
    assert sorted(keys) == sorted(run.key() for run in runs)


@pytest.mark.usefixtures("shared_features")
def test_ctrl_c_ends_with_one_line_and_130_and_no_worker_is_left(tmp_path: Path) -> None:
    long = tmp_path / "long.toml"  # once its zero-shot runs are done it trains for a minute
    long.write_text('like = "smoke"\nepochs = 1000\nseeds = [1, 2, 3, 4]\n')
    command = ["measure", "--profile", str(long), "--study", "base_to_new"]
    where = {**os.environ, "DIP_RESULTS": str(tmp_path / "none")}
    at_work = subprocess.Popen(
        [sys.executable, "-m", "dip_study.cli", *command],
        env={**where, "DIP_WORKERS": "2"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # not under &
    )
    while len(workers := psutil.Process(at_work.pid).children()) < 2 or not any(
        (tmp_path / "home" / "store").glob("*.json")
    ):
        assert at_work.poll() is None
        time.sleep(0.05)
    os.killpg(at_work.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    said = at_work.communicate()[1]
    assert at_work.returncode == INTERRUPTED
    assert said.splitlines()[-1].startswith("dip: interrupted")
    assert "Traceback" not in said
    assert psutil.wait_procs(workers, timeout=60)[1] == []


def test_ctrl_c_before_the_work_begins_is_one_line_too() -> None:
    starting = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "dip_study.cli", "plan"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for line in starting.stderr or ():
        if "torch.nn" in line:  # it imports what it works with, which takes seconds
            starting.send_signal(signal.SIGINT)
            break
    said = (starting.stderr.read() if starting.stderr else "").splitlines()
    assert starting.wait() == INTERRUPTED
    assert [line for line in said if not line.startswith("import time:")] == [
        "dip: interrupted; run the command again to resume"
    ]
