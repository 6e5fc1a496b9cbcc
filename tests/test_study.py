"""Studies end to end: real worker processes, a real store, a real kill, and the committed layer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file

from dip_lib import load_backbone
from dip_lib.clip.features import encode_split
from dip_lib.errors import NotMeasuredError, UnknownNameError
from dip_lib.store import Record, export
from dip_lib.training.run import RECIPE, RunSpec
from dip_study import study
from dip_study.measure import dataset_of, groups, measure, shared_out
from dip_study.profiles import FOLDER, Profile, load_profile, names

SMOKE = replace(load_profile("smoke"), towers=("glyph-resnet",))


def stamps(home: Path) -> dict[str, int]:
    """When each stored run was written."""
    return {path.name: path.stat().st_mtime_ns for path in (home / "store").iterdir()}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the whole study was measured by two worker processes."""
    home = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIP_HOME", str(home))
        patch.setenv("DIP_WORKERS", "2")
        study.collect(study.base_to_new(SMOKE), SMOKE, results="fresh")
    return home


@pytest.fixture
def home(measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, for this test alone; what it lacks is measured in this process."""
    shutil.copytree(measured, tmp_path / "home")
    monkeypatch.setenv("DIP_WORKERS", "1")
    return tmp_path / "home"


@pytest.fixture
def published(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """The study's records, exported to the committed results of a machine with no live runs."""
    runs = study.base_to_new(SMOKE)
    records = study.collect(runs, SMOKE)
    export(records, tmp_path / "results" / "smoke" / "base_to_new.json")
    monkeypatch.setenv("DIP_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("DIP_HOME", str(tmp_path / "elsewhere"))
    return records


# ---- which runs ---------------------------------------------------------------------------------


def test_a_study_names_every_run_once_with_the_profiles_settings() -> None:
    profile = load_profile("embedded-full")
    small = replace(profile, towers=SMOKE.towers, seeds=(1, 2), datasets=("greek", "latin"))
    runs = study.base_to_new(small)
    assert len({run.key() for run in runs}) == len(runs)
    count = {m: sum(run.method == m for run in runs) for m in ("zero-shot", "probe", "coop", "dip")}
    assert count == {"zero-shot": 2, "probe": 4, "coop": 4 * len(profile.rates), "dip": 4}
    for run in study.dip(small):
        assert (run.rank, run.dropout, run.lr, run.epochs) == (1, 0.5, profile.lr, profile.epochs)
    assert profile.lr in profile.rates


@pytest.mark.parametrize("name", [n for n in names() if n != "paper"])
def test_profiles_name_known_datasets_and_keep_the_protocol(name: str) -> None:
    profile = load_profile(name)
    runs = study.coop(replace(profile, seeds=profile.seeds[:1]))
    assert [run.dataset for run in runs] == list(profile.datasets)
    for run in runs:
        assert (run.batch, run.momentum, run.weight_decay) == (128, 0.9, 5e-4)
        assert run.warmup == 1 / 200
        assert run.weights
        assert run.data


def test_a_file_of_your_own_is_a_profile_and_what_is_wrong_with_it_is_said(tmp_path: Path) -> None:
    text = (FOLDER / "smoke.toml").read_text("utf-8")
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace("shots = 16", "shots = 2"))
    found = load_profile(str(mine))
    assert found == replace(load_profile("smoke"), name="mine", shots=2)
    mine.write_text(text.replace("shots = 16", ""))
    with pytest.raises(ValueError, match="shots"):
        load_profile(str(mine))
    mine.write_text("shots = ")
    with pytest.raises(ValueError, match="mine.toml"):
        load_profile(str(mine))
    with pytest.raises(ValueError, match="other.toml"):
        load_profile(str(tmp_path / "other.toml"))


def test_processes_begin_with_different_datasets_and_none_stands_idle() -> None:
    runs = study.base_to_new(load_profile("embedded"), data="")
    found = shared_out(runs, 16, 2)
    assert sorted(found, key=str) == sorted(groups(runs, 16), key=str)
    places = [(batch[0].dataset, batch[0].backbone) for batch in found]
    assert len(set(places[:22])) == 22  # two towers, eleven datasets
    one = study.coop(replace(SMOKE, datasets=("greek",)), data="")  # one group for two processes
    assert [len(batch) for batch in shared_out(one, 16, 2)] == [1, 1]
    assert [len(batch) for batch in shared_out(one, 16, 1)] == [2]


def test_visual_runs_of_one_draw_follow_one_another() -> None:
    runs = study.visual(load_profile("embedded"), data="")
    assert shared_out(runs, 16, 2) == list(groups(runs, 16))


def test_groups_hold_every_run_once_and_only_runs_that_share_a_batch() -> None:
    wide = replace(SMOKE, seeds=tuple(range(12)))
    runs = study.base_to_new(wide)
    found = list(groups(runs, 16))
    assert sorted(r.key() for group in found for r in group) == sorted(r.key() for r in runs)
    assert list(groups(runs, 16)) == found
    for group in found:
        assert 1 <= len(group) <= 16
        kinds = {(r.dataset, r.method if r.method in ("zero-shot", "probe") else "") for r in group}
        assert len(kinds) == 1


def test_few_shot_trains_on_all_classes_and_few_images_for_fewer_epochs() -> None:
    profile = replace(load_profile("paper"), seeds=(1, 2))
    runs = study.few_shot(profile, data="")
    assert len(set(runs)) == len(runs) == 11 * (1 + 3 * 2 * 5)
    assert {run.protocol for run in runs} == {"all-classes"}
    prompts = [run for run in runs if run.method in ("coop", "dip")]
    # CoOp's scripts: 50 epochs with 1 image a class, 100 with 2 and 4, 200 with more; ImageNet 50
    lengths = {1: 50, 2: 100, 4: 100, 8: 200, 16: 200}
    for run in prompts:
        assert run.epochs == (50 if run.dataset == "imagenet" else lengths[run.shots])
        assert (run.rank, run.dropout) == ((1, 0.5) if run.method == "dip" else (0, 0.0))
    bare = study.few_shot(profile, data="", context="", vectors=16)
    assert {(r.context, r.vectors) for r in bare if r.method in ("coop", "dip")} == {("", 16)}
    assert {run.shots for run in runs if run.method == "probe"} == lengths.keys()
    # the towers beside the first are the zero-shot table's alone
    assert {run.backbone for run in runs} == {profile.backbone}


def test_transfer_names_the_source_once_and_every_target_after_it() -> None:
    paper = load_profile("paper")
    cross, shift = study.cross_dataset(paper, data=""), study.domain_shift(paper, data="")
    for runs, targets in ((cross, paper.datasets[1:]), (shift, paper.shifts)):
        words = [run.dataset for run in runs if run.method == "zero-shot"]
        assert words == ["imagenet", *targets]
        prompts = [run for run in runs if run.method != "zero-shot"]
        assert len(set(prompts)) == len(prompts) == 2 * 3 * (1 + len(targets))
        assert {run.target for run in prompts} == {"", *targets}
        for run in prompts:
            assert (run.dataset, run.protocol, run.epochs) == ("imagenet", "all-classes", 50)
            assert run.source() in prompts
            assert (run.source() == run) == (run.target == "")
    assert {run.source() for run in cross if run.method == "dip"} == {
        run.source() for run in shift if run.method == "dip"
    }
    # few-shot learning with 16 images trains the source too: one training serves both
    sources = {run.source() for run in cross if run.method != "zero-shot"}
    assert sources <= {*study.few_shot(paper, data="")}


# ---- measuring ----------------------------------------------------------------------------------


def test_every_run_has_a_full_record_and_its_prompt(home: Path) -> None:
    runs = study.base_to_new(SMOKE)
    records = study.collect(runs, SMOKE)
    assert [RunSpec.from_dict(record["spec"]) for record in records] == runs
    p0 = load_backbone("glyph-resnet").context(SMOKE.context)
    for run, record in zip(runs, records, strict=True):
        assert (record["key"], record["recipe"]) == (run.key(), RECIPE)
        assert record["status"] == "finished"
        assert record["seconds"] > 0
        assert record["memory_mb"] > 0
        assert record["versions"]["torch"] == version("torch")
        assert record["machine"]["device"] == "cpu"
        assert record["machine"]["threads"] == 1
        last = record["checkpoints"][-1]
        assert 0 <= last["base"] <= 100
        prompt = home / "store" / f"{run.key()}.safetensors"
        assert prompt.is_file() == (run.method in ("coop", "dip"))
        if prompt.is_file():
            assert [c["epoch"] for c in record["checkpoints"]] == [0, 1, 2]
            merged = load_file(prompt)["prompt"]
            norm = float((merged - p0).double().norm())
            assert last["update_norm"] == pytest.approx(norm, rel=1e-5)
    assert {path.name for path in (home / "store").iterdir()} == {
        f"{record['key']}.{suffix}"
        for record in records
        for suffix in ("json", "safetensors")
        if suffix == "json" or record["spec"]["method"] in ("coop", "dip")
    }


def test_a_second_call_measures_nothing(home: Path) -> None:
    before = stamps(home)
    runs = study.base_to_new(SMOKE)
    fresh = study.collect(runs, SMOKE, results="fresh")
    assert stamps(home) == before
    assert fresh == study.collect(runs, SMOKE, results="stored")


def test_changing_a_setting_measures_only_what_it_touches(home: Path) -> None:
    before = stamps(home)
    changed = replace(SMOKE, lr=0.01, rates=(0.03,), datasets=("greek",))
    runs = study.base_to_new(changed)
    records = study.collect(runs, changed, results="fresh")
    after = stamps(home)
    assert {name: after[name] for name in before} == before
    new = {run.key() for run in runs if run.lr == 0.01}
    assert {name.split(".")[0] for name in after.keys() - before.keys()} == new
    assert {r["spec"]["method"] for r in records if r["key"] in new} == {"coop", "dip"}


def test_a_damaged_record_alone_is_measured_again_to_the_same_result(home: Path) -> None:
    run = study.dip(SMOKE)[0]
    (whole,) = study.collect([run], SMOKE)
    path, before = home / "store" / f"{run.key()}.json", stamps(home)
    path.write_text(path.read_text()[:100])
    with pytest.warns(UserWarning, match=path.name):
        records = study.collect(study.base_to_new(SMOKE), SMOKE, results="fresh")
    again = next(record for record in records if record["key"] == run.key())
    for here, there in zip(again["checkpoints"], whole["checkpoints"], strict=True):
        assert here["base"] == pytest.approx(there["base"], abs=100 / whole["test_images"][0])
        assert here["id"] == pytest.approx(there["id"], abs=1e-4)
    touched = {name for name, stamp in stamps(home).items() if before.get(name) != stamp}
    assert touched == {f"{path.name}.damaged", path.name, f"{run.key()}.safetensors"}


# ---- all classes, and transfer ------------------------------------------------------------------

SOURCE = replace(
    SMOKE, source="greek", datasets=("greek", "cyrillic"), shifts=("boxes",), seeds=(1,)
)


def test_few_shot_is_measured_on_all_classes(home: Path) -> None:
    small = replace(SOURCE, datasets=("greek",), epochs=4)
    runs = study.few_shot(small)
    records = study.collect(runs, small, results="fresh")
    for run, record in zip(runs, records, strict=True):
        assert record["status"] == "finished"
        assert record["classes"] == [56, 0]
        assert record["test_images"] == [2800, 0]
        last = record["checkpoints"][-1]
        assert last["epoch"] == run.epochs
        assert last["new"] is None
    assert [r.epochs for r in runs if r.method == "dip"] == [1, 2, 2, 4, 4]
    score = {
        (r["spec"]["method"], r["spec"]["shots"]): r["checkpoints"][-1]["base"] for r in records
    }
    assert score["probe", 16] > score["probe", 1] + 10  # more images are worth something
    files = {path.name for path in (home / "store").glob("*.safetensors")}
    assert {f"{run.key()}.safetensors" for run in runs if run.method in ("coop", "dip")} <= files
    before = stamps(home)
    assert study.collect(runs, small, results="fresh") == records
    assert stamps(home) == before


def test_the_source_is_trained_once_and_every_target_is_judged_by_its_prompts(home: Path) -> None:
    runs, shifted = study.cross_dataset(SOURCE), study.domain_shift(SOURCE)
    records = study.collect(runs, SOURCE, results="fresh")
    before = stamps(home)
    records += study.collect(shifted, SOURCE, results="fresh")
    after = stamps(home)
    assert {name: after[name] for name in before} == before
    judged = [run for run in shifted if run.target or run.dataset == "boxes"]
    assert after.keys() - before.keys() == {f"{run.key()}.json" for run in judged}
    clip = load_backbone("glyph-resnet")
    for run, record in zip([*runs, *shifted], records, strict=True):
        if not run.target:
            continue
        target = dataset_of(run.target, "default")
        kept = load_file(home / "store" / f"{run.source().key()}.safetensors")
        text = clip.class_embeddings(kept["prompt"], target.class_names)
        best = (encode_split(clip, target, "test") @ text.T).argmax(1)
        right = 100 * float((best == target.labels("test")).double().mean())
        assert record["checkpoints"] == [record["checkpoints"][0]]
        assert record["checkpoints"][0]["base"] == pytest.approx(right, abs=0.05)
        assert record["classes"] == [len(target.class_names), 0]
        assert not (home / "store" / f"{run.key()}.safetensors").exists()


def test_a_source_that_has_lost_its_tensors_is_trained_again_and_no_other_is(home: Path) -> None:
    sources = [run for run in study.domain_shift(SOURCE) if not run.target]
    coop, dip = (run for run in sources if run.method in ("coop", "dip"))
    first = study.collect(sources, SOURCE, results="fresh")
    (home / "store" / f"{dip.key()}.safetensors").unlink()
    before = stamps(home)
    study.collect(study.domain_shift(SOURCE), SOURCE, results="fresh")
    after = stamps(home)
    assert {name.split(".")[0] for name in before if after[name] != before[name]} == {dip.key()}
    assert f"{dip.key()}.safetensors" in after
    again = study.collect(sources, SOURCE, results="fresh")
    for here, there in zip(again, first, strict=True):
        for a, b in zip(here["checkpoints"], there["checkpoints"], strict=True):
            assert a["base"] == pytest.approx(b["base"], abs=0.1)
    assert study.open_store(SOURCE, "fresh").learnt(coop) is not None


def test_a_source_of_which_only_the_committed_record_is_left_is_trained_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = study.domain_shift(SOURCE)
    whole = study.collect(runs, SOURCE, results="fresh")
    committed = tmp_path / "results" / "smoke" / "domain_shift.json"
    kept = [
        record for run, record in zip(runs, whole, strict=True) if not (run.target and run.rank)
    ]
    export(kept, committed)
    text = committed.read_bytes()
    monkeypatch.setenv("DIP_RESULTS", str(tmp_path / "results"))
    shutil.rmtree(home / "store")
    store = study.open_store(SOURCE, "stored")
    missing = store.missing(runs)
    assert [(run.method, run.target) for run in missing] == [("dip", "boxes")]
    measure(missing, store)
    written = {path.name for path in (home / "store").iterdir()}
    source = missing[0].source().key()
    assert written == {f"{source}.json", f"{source}.safetensors", f"{missing[0].key()}.json"}
    assert committed.read_bytes() == text
    found = study.collect(runs, SOURCE, results="stored")
    for here, there in zip(found, whole, strict=True):
        ends = here["checkpoints"][-1]["base"], there["checkpoints"][-1]["base"]
        assert ends[0] == pytest.approx(ends[1], abs=0.1)


# ---- a call that is killed ----------------------------------------------------------------------

LONG = replace(SMOKE, epochs=20, rates=(0.01, 0.03), lr=0.01)
MEASURE = """
from dataclasses import replace
from dip_study import study
from dip_study.profiles import load_profile
smoke = load_profile("smoke")
long = replace(smoke, towers=("glyph-resnet",), epochs=20, rates=(0.01, 0.03), lr=0.01)
study.collect(study.base_to_new(long), long, results="fresh")
"""


def alive(group: int) -> bool:
    """Whether any process of the group still runs (a zombie does not)."""
    running = psutil.process_iter(["pid", "status"])
    living = [p.info["pid"] for p in running if p.info["status"] != psutil.STATUS_ZOMBIE]
    found = []
    for pid in living:
        with suppress(ProcessLookupError):
            found.append(os.getpgid(pid))
    return group in found


def test_killed_half_way_the_next_call_keeps_what_was_finished(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(home / "store")
    monkeypatch.setenv("DIP_WORKERS", "2")
    process = subprocess.Popen(
        [sys.executable, "-c", MEASURE], start_new_session=True, stderr=subprocess.DEVNULL
    )
    try:
        while not list((home / "store").glob("*.json")):
            assert process.poll() is None, "ended before its first run"
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        deadline = time.monotonic() + 60
        while alive(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not alive(process.pid), "the killed call left worker processes behind"
    finally:
        if alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    runs, before = study.base_to_new(LONG), stamps(home)
    finished = {Path(name).stem for name in before if name.endswith(".json")}
    assert 1 <= len(finished) < len(runs)
    monkeypatch.setenv("DIP_WORKERS", "1")
    records = study.collect(runs, LONG, results="fresh")
    assert {record["status"] for record in records} == {"finished"}
    after = stamps(home)
    for key in finished:
        assert after[f"{key}.json"] == before[f"{key}.json"]
    assert not [name for name in after if name.endswith(".tmp")]


# ---- stored results -----------------------------------------------------------------------------


def test_an_empty_store_is_refused_with_the_command() -> None:
    runs = study.base_to_new(SMOKE)
    with pytest.raises(NotMeasuredError, match="dip measure --profile smoke") as caught:
        study.collect(runs, replace(SMOKE, name="smoke"), results="stored")
    assert caught.value.many == caught.value.total == len(runs)
    with pytest.raises(UnknownNameError, match="frsh"):
        study.collect(runs, SMOKE, results="frsh")


def test_an_export_reads_as_what_was_measured(published: list[Record], tmp_path: Path) -> None:
    stored = study.collect(study.base_to_new(SMOKE), SMOKE, results="stored")
    assert not (tmp_path / "elsewhere").exists()  # reading writes nothing
    for here, there in zip(stored, published, strict=True):
        assert here.keys() == there.keys()
        for name in ("key", "spec", "status", "classes", "test_images", "trainable", "machine"):
            assert here[name] == there[name]
        assert len(here["checkpoints"]) == len(there["checkpoints"])
        for point, full in zip(here["checkpoints"], there["checkpoints"], strict=True):
            assert point.keys() == full.keys()
            for name, value in full.items():
                assert_close(point[name], value)


def assert_close(here: Any, there: Any) -> None:
    """Equal up to the digits that an export keeps."""
    if isinstance(there, dict):
        assert here.keys() == there.keys()
        for name in there:
            assert_close(here[name], there[name])
    else:
        # singular values that are rounding alone have no digits to keep
        assert here == (there if there is None else pytest.approx(there, rel=1e-4, abs=1e-12))


def test_one_stale_run_is_missing_and_a_live_run_wins(published: list[Record]) -> None:
    runs = study.dip(SMOKE)
    stale = replace(runs[1], data="0" * 12)
    with pytest.raises(NotMeasuredError) as caught:
        study.collect([runs[0], stale], SMOKE, results="stored")
    assert (caught.value.many, caught.value.total) == (1, 2)
    store = study.open_store(SMOKE, "stored")
    live = next(r for r in published if r["key"] == runs[0].key()) | {"seconds": 12345.0}
    store.put(live)
    assert study.collect(runs[:1], SMOKE, results="stored") == [live]


@pytest.mark.usefixtures("published")
def test_fresh_results_take_nothing_from_what_is_committed() -> None:
    runs = study.base_to_new(SMOKE)
    assert study.open_store(SMOKE, "stored").missing(runs) == []
    assert study.open_store(SMOKE, "fresh").missing(runs) == runs


@pytest.mark.usefixtures("published")
def test_of_missing_results_only_those_are_measured_that_nobody_has(tmp_path: Path) -> None:
    committed, more = study.dip(SMOKE), study.dip(SMOKE, rank=2)
    records = study.collect([*committed, *more], SMOKE, results="missing")
    assert [record["key"] for record in records] == [run.key() for run in (*committed, *more)]
    measured = {path.stem for path in (tmp_path / "elsewhere" / "store").glob("*.json")}
    assert measured == {run.key() for run in more}


@pytest.mark.usefixtures("published")
def test_another_profile_does_not_read_these_results() -> None:
    other: Profile = replace(SMOKE, name="embedded")
    assert study.open_store(other, "stored").records() == []


def test_an_export_is_strict_json_with_one_line_a_run(
    published: list[Record], tmp_path: Path
) -> None:
    path = tmp_path / "results" / "smoke" / "base_to_new.json"
    text = path.read_text()
    json.loads(text, parse_constant=pytest.fail)
    assert len(text.splitlines()) == len(published) + 3
    export(reversed(published), path)
    assert path.read_text() == text  # the order of the runs does not matter
