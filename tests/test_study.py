"""Studies end to end: real worker processes, a real store, a real kill, and the committed layer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file

from dip_book.notebook import begin
from dip_lib import load_backbone
from dip_lib.clip.features import encode_split
from dip_lib.errors import NotMeasuredError, UnknownNameError
from dip_lib.methods import CoOp
from dip_lib.store.export import export
from dip_lib.store.store import LAYOUT
from dip_lib.training.batches import batches, shared_out
from dip_lib.training.parts import LowRank, Schedule
from dip_lib.training.record import Record
from dip_lib.training.run import RECIPE, Run
from dip_study import study
from dip_study.loaded import dataset_of
from dip_study.measure import measure
from dip_study.profiles import FOLDER, Profile, load_profile, names

SMOKE = replace(load_profile("smoke"), towers=("glyph-resnet",))


def stamps(home: Path) -> dict[str, int]:
    """When each file of a stored run was written."""
    files = (path for path in (home / "store").iterdir() if path.name != LAYOUT)
    return {path.name: path.stat().st_mtime_ns for path in files}


def is_prompt(run: Run) -> bool:
    """Whether the run is of a trained prompt."""
    return run.schedule is not None


def schedule(run: Run) -> Schedule:
    """The schedule of a run on stored features."""
    assert isinstance(run.schedule, Schedule)
    return run.schedule


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
    count = Counter(run.label for run in runs)
    assert count == {"zero-shot": 2, "linear probe": 4, "CoOp": 4 * len(profile.rates), "DIP": 4}
    for run in study.dip(small):
        assert run.low_rank == LowRank(rank=1, dropout=0.5)
        assert schedule(run).lr == profile.lr
        assert schedule(run).epochs == profile.epochs
    assert profile.lr in profile.rates


@pytest.mark.parametrize("name", [n for n in names() if n != "paper"])
def test_profiles_name_known_datasets_and_keep_the_protocol(name: str) -> None:
    profile = load_profile(name)
    runs = study.coop(replace(profile, seeds=profile.seeds[:1]))
    assert [run.data.dataset for run in runs] == list(profile.datasets)
    for run in runs:
        trained = schedule(run)
        assert (trained.batch, trained.momentum, trained.weight_decay) == (128, 0.9, 5e-4)
        assert trained.warmup == 1 / 200
        assert run.tower.weights
        assert run.data.fingerprint


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
    runs = study.base_to_new(load_profile("embedded"), fingerprint="")
    found = shared_out(runs, 16, 2)
    assert sorted(found, key=str) == sorted(batches(runs, 16), key=str)
    places = [(batch[0].data.dataset, batch[0].tower.backbone) for batch in found]
    assert len(set(places[:22])) == 22  # two towers, eleven datasets
    one = study.coop(
        replace(SMOKE, datasets=("greek",)), fingerprint=""
    )  # one group for two processes
    assert [len(batch) for batch in shared_out(one, 16, 2)] == [1, 1]
    assert [len(batch) for batch in shared_out(one, 16, 1)] == [2]


def test_visual_runs_of_one_draw_follow_one_another() -> None:
    runs = study.visual(load_profile("embedded"), fingerprint="")
    assert shared_out(runs, 16, 2) == list(batches(runs, 16))


def test_groups_hold_every_run_once_and_only_runs_that_share_a_batch() -> None:
    wide = replace(SMOKE, seeds=tuple(range(12)))
    runs = study.base_to_new(wide)
    found = list(batches(runs, 16))
    assert sorted(r.key() for group in found for r in group) == sorted(r.key() for r in runs)
    assert list(batches(runs, 16)) == found
    for group in found:
        assert 1 <= len(group) <= 16
        assert len({run.shared() for run in group}) == 1


def test_few_shot_trains_on_all_classes_and_few_images_for_fewer_epochs() -> None:
    profile = replace(load_profile("paper"), seeds=(1, 2))
    runs = study.few_shot(profile, fingerprint="")
    assert len(set(runs)) == len(runs) == 11 * (1 + 3 * 2 * 5)
    assert {run.data.protocol for run in runs} == {"all-classes"}
    prompts = [run for run in runs if is_prompt(run)]
    # CoOp's scripts: 50 epochs with 1 image a class, 100 with 2 and 4, 200 with more; ImageNet 50
    lengths = {1: 50, 2: 100, 4: 100, 8: 200, 16: 200}
    for run in prompts:
        data = run.data
        assert schedule(run).epochs == (50 if data.dataset == "imagenet" else lengths[data.shots])
        assert run.low_rank in (None, study.DIP)
    bare = study.few_shot(profile, fingerprint="", context="", vectors=16)
    assert {run.method for run in bare if is_prompt(run)} == {CoOp(context="", vectors=16)}
    assert {run.data.shots for run in runs if run.label == "linear probe"} == lengths.keys()
    # the towers beside the first are the zero-shot table's alone
    assert {run.tower.backbone for run in runs} == {profile.backbone}


def test_transfer_names_the_source_once_and_every_target_after_it() -> None:
    paper = load_profile("paper")
    cross, shift = (
        study.cross_dataset(paper, fingerprint=""),
        study.domain_shift(paper, fingerprint=""),
    )
    for runs, targets in ((cross, paper.datasets[1:]), (shift, paper.shifts)):
        words = [run.data.dataset for run in runs if not is_prompt(run)]
        assert words == ["imagenet", *targets]
        prompts = [run for run in runs if is_prompt(run)]
        assert len(set(prompts)) == len(prompts) == 2 * 3 * (1 + len(targets))
        assert {run.data.target for run in prompts} == {"", *targets}
        for run in prompts:
            assert (run.data.dataset, run.data.protocol) == ("imagenet", "all-classes")
            assert schedule(run).epochs == 50
            assert run.source() in prompts
            assert (run.source() == run) == (run.data.target == "")
    assert {run.source() for run in cross if run.rank} == {
        run.source() for run in shift if run.rank
    }
    # few-shot learning with 16 images trains the source too: one training serves both
    sources = {run.source() for run in cross if is_prompt(run)}
    assert sources <= {*study.few_shot(paper, fingerprint="")}


# ---- measuring ----------------------------------------------------------------------------------


def test_every_run_has_a_full_record_and_its_prompt(home: Path) -> None:
    runs = study.base_to_new(SMOKE)
    records = study.collect(runs, SMOKE)
    assert [Run.from_dict(record["run"]) for record in records] == runs
    p0 = load_backbone("glyph-resnet").context(SMOKE.context)
    for run, record in zip(runs, records, strict=True):
        assert (record["key"], record["recipe"]) == (run.key(), RECIPE)
        assert (record["label"], record["code"]) == (run.label, type(run.method).identity())
        assert record["status"] == "finished"
        assert record["seconds"] > 0
        assert record["memory_mb"] > 0
        assert record["versions"]["torch"] == version("torch")
        assert record["machine"]["device"] == "cpu"
        assert record["machine"]["threads"] == 1
        last = record["checkpoints"][-1]
        assert 0 <= last["base"] <= 100
        prompt = home / "store" / f"{run.key()}.safetensors"
        assert prompt.is_file() == is_prompt(run)
        if prompt.is_file():
            assert [c["epoch"] for c in record["checkpoints"]] == [0, 1, 2]
            merged = load_file(prompt)["prompt"]
            norm = float((merged - p0).double().norm())
            assert last["update_norm"] == pytest.approx(norm, rel=1e-5)
    files = {f"{run.key()}.json" for run in runs}
    assert stamps(home).keys() == files | {
        f"{run.key()}.safetensors" for run in runs if is_prompt(run)
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
    new = {run.key() for run in runs if is_prompt(run) and schedule(run).lr == 0.01}
    assert {name.split(".")[0] for name in after.keys() - before.keys()} == new
    assert {record["label"] for record in records if record["key"] in new} == {"CoOp", "DIP"}


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


def test_a_run_that_diverges_is_said_on_its_page_and_so_is_what_is_made_of_its_prompt(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []
    monkeypatch.setattr("dip_book.notebook.display", said.append)
    given = {"profile": "smoke", "datasets": "greek", "seeds": "1", "epochs": None}
    page = begin("03_base_to_new", given | {"device": "cpu", "results": "missing"})
    everywhere = {"protocol": "all-classes", "lr": 1e30}
    wild = [
        run
        for target in ("", "cyrillic")
        for run in study.coop(page.profile, target=target, **everywhere)
    ]
    before = len(said)
    runs = page.collect([*wild, *study.dip(page.profile)])
    assert set(runs.loc[runs["label"] == "DIP", "status"]) == {"finished"}
    assert runs.loc[runs["label"] == "CoOp", "status"].str.startswith("stopped: non-finite").all()
    (line,) = said[before:]
    assert "2 of 3" in line.data and "CoOp (2" in line.data and "non-finite" in line.data


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
        assert last["epoch"] == (schedule(run).epochs if is_prompt(run) else 0)
        assert last["new"] is None
    assert [schedule(run).epochs for run in runs if run.rank] == [1, 2, 2, 4, 4]
    score = {
        (record["label"], run.data.shots): record["checkpoints"][-1]["base"]
        for run, record in zip(runs, records, strict=True)
    }
    # more images are worth something
    assert score["linear probe", 16] > score["linear probe", 1] + 10
    assert {f"{run.key()}.safetensors" for run in runs if is_prompt(run)} <= stamps(home).keys()
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
    judged = [run for run in shifted if run.data.target or run.data.dataset == "boxes"]
    assert after.keys() - before.keys() == {f"{run.key()}.json" for run in judged}
    clip = load_backbone("glyph-resnet")
    for run, record in zip([*runs, *shifted], records, strict=True):
        if not run.data.target:
            continue
        target = dataset_of(run.data.target, "default")
        kept = load_file(home / "store" / f"{run.source().key()}.safetensors")
        text = clip.class_embeddings(kept["prompt"], target.class_names)
        best = (encode_split(clip, target, "test") @ text.T).argmax(1)
        right = 100 * float((best == target.labels("test")).double().mean())
        assert record["checkpoints"] == [record["checkpoints"][0]]
        assert record["checkpoints"][0]["base"] == pytest.approx(right, abs=0.05)
        assert record["classes"] == [len(target.class_names), 0]
        assert not (home / "store" / f"{run.key()}.safetensors").exists()


def test_a_source_that_has_lost_its_tensors_is_trained_again_and_no_other_is(home: Path) -> None:
    sources = [run for run in study.domain_shift(SOURCE) if not run.data.target]
    coop, dip = (run for run in sources if is_prompt(run))
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
    assert study.open_store(SOURCE, "fresh").tensors(coop) is not None


def test_a_source_of_which_only_the_committed_record_is_left_is_trained_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = study.domain_shift(SOURCE)
    whole = study.collect(runs, SOURCE, results="fresh")
    committed = tmp_path / "results" / "smoke" / "domain_shift.json"
    pairs = zip(runs, whole, strict=True)
    export([record for run, record in pairs if not (run.data.target and run.rank)], committed)
    text = committed.read_bytes()
    monkeypatch.setenv("DIP_RESULTS", str(tmp_path / "results"))
    shutil.rmtree(home / "store")
    store = study.open_store(SOURCE, "stored")
    missing = store.missing(runs)
    assert [(run.label, run.data.target) for run in missing] == [("DIP", "boxes")]
    measure(missing, store)
    source = missing[0].source().key()
    expected = {f"{source}.json", f"{source}.safetensors", f"{missing[0].key()}.json"}
    assert stamps(home).keys() == expected
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
        rounded = {"checkpoints", "seconds", "memory_mb"}
        assert all(here[name] == there[name] for name in there.keys() - rounded)
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
    stale = replace(runs[1], data=replace(runs[1].data, fingerprint="0" * 12))
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
    committed, more = study.dip(SMOKE), study.dip(SMOKE, LowRank(rank=2))
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
