"""What a run is: its parts validate themselves, and its key names it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from few_glyphs import DIP, Few, changed, few, run

from dip_lib.errors import UnknownNameError
from dip_lib.methods import METHODS, CoOp, Method, method_of
from dip_lib.methods.kgcoop import KgCoOp
from dip_lib.methods.vpt import VPT
from dip_lib.methods.zero_shot import ZeroShot
from dip_lib.store.store import Store
from dip_lib.training import run as run_module
from dip_lib.training.parts import Data, LowRank, Schedule, Tower, VisualSchedule
from dip_lib.training.run import Run
from dip_lib.training.trainer import train
from dip_study import measure
from dip_study.engine import group
from dip_study.profiles import FOLDER, load_profile
from dip_study.runs import make_run

SMOKE = load_profile("smoke")
each_method = pytest.mark.parametrize("name", METHODS)


# ---- a setting that a method does not have ------------------------------------------------------


@each_method
def test_a_setting_that_a_method_does_not_have_is_refused_with_those_it_has(name: str) -> None:
    kind = METHODS[name]
    with pytest.raises(ValueError, match="'nonsense'") as refused:
        kind.of({"nonsense": 1})
    assert all(setting in str(refused.value) for setting in kind.settings())
    with pytest.raises(ValueError, match="'nonsense'") as refused:
        make_run(SMOKE, "greek", name, 1, nonsense=1, fingerprint="")
    assert all(setting in str(refused.value) for setting in kind.settings())
    with pytest.raises(TypeError, match="'nonsense'") as misspelt:
        kind(nonsense=1)
    assert all(setting in str(misspelt.value) for setting in kind.settings())


def test_settings_of_other_methods_are_refused_too() -> None:
    with pytest.raises(ValueError, match="'depth', 'ranking'.*context, vectors"):
        CoOp.of({"depth": 9, "ranking": "nonsense"})
    with pytest.raises(ValueError, match="'weight'.*context, vectors"):
        make_run(SMOKE, "greek", "coop", 1, weight=8.0)
    with pytest.raises(ValueError, match="'warmup'.*vectors, depth, keep"):
        make_run(SMOKE, "greek", "vpt", 1, warmup=0.1)
    with pytest.raises(ValueError, match="'epochs'"):
        make_run(SMOKE, "greek", "zero-shot", 0, epochs=3)


def profile_with(folder: Path, lines: str) -> str:
    path = folder / "mine.toml"
    path.write_text(f"{(FOLDER / 'smoke.toml').read_text('utf-8')}\n{lines}\n", "utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("method", "lines"),
    [
        ("ensemble", "[settings.ensemble]\nweight = 8.0"),
        ("coop", "[settings.coop]\ndepth = 3"),
        ("coop", "[settings.coop.greek]\ndepth = 3"),
    ],
)
def test_a_profile_cannot_give_a_method_what_it_does_not_have(
    tmp_path: Path, method: str, lines: str
) -> None:
    profile = load_profile(profile_with(tmp_path, lines))
    with pytest.raises(ValueError, match="mine.*'(weight|depth)'"):
        make_run(profile, "greek", method, 1)


@pytest.mark.parametrize(
    ("name", "near"), [("kgcop", "'kgcoop'"), ("co-op", "'coop'"), ("prompt-src", "'promptsrc'")]
)
def test_an_unknown_method_names_the_nearest(tmp_path: Path, name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=near):
        method_of(METHODS, name)
    with pytest.raises(UnknownNameError, match=near):
        make_run(SMOKE, "greek", name, 1)
    with pytest.raises(UnknownNameError, match=near):
        Run.from_dict(run("coop").to_dict() | {"method": {"name": name}})
    with pytest.raises(UnknownNameError, match=near):
        load_profile(profile_with(tmp_path, f"[settings.{name}]"))


def test_dip_is_no_method_but_coop_with_a_low_rank_update() -> None:
    with pytest.raises(ValueError, match=r"method='coop', low_rank=LowRank\("):
        make_run(SMOKE, "greek", "dip", 1)


# ---- parts that do not go together --------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "token"),
    [
        ({"schedule": None}, "Schedule"),
        ({"schedule": VisualSchedule()}, "VisualSchedule"),
        ({"method": ZeroShot()}, "no schedule"),
        ({"method": VPT(), "low_rank": None}, "VisualSchedule"),
    ],
)
def test_a_run_needs_the_schedule_of_its_method(change: dict[str, Any], token: str) -> None:
    with pytest.raises(ValueError, match=token):
        replace(run("coop"), **change)


def test_a_method_that_draws_nothing_has_no_seed_and_no_shots() -> None:
    for change in ({"seed": 1}, {"shots": 16}, {"views": 4}):
        with pytest.raises(ValueError, match="draws nothing"):
            changed(run("zero-shot"), **change)


@pytest.mark.parametrize("name", [n for n, kind in METHODS.items() if not kind.transfers])
def test_a_method_that_cannot_transfer_has_no_target(name: str) -> None:
    with pytest.raises(ValueError, match="target"):
        run(name, target="latin")


def test_settings_of_a_condensed_run_stand_alone_nowhere() -> None:
    for change in ({"tuned": 2}, {"ranking": "layer"}, {"ranking": "rows", "keep": 50.0}):
        with pytest.raises(ValueError, match="ranking"):
            VPT(**change)


# ---- plain values and back ----------------------------------------------------------------------


@each_method
def test_a_run_comes_back_from_its_plain_values(name: str) -> None:
    low_rank = DIP if METHODS[name].sites else None
    for each in (run(name), run(name, low_rank=low_rank)):
        stored = json.loads(json.dumps(each.to_dict()))
        again = Run.from_dict(stored)
        assert again == each
        assert hash(again) == hash(each)
        assert again.key() == each.key()


@pytest.mark.parametrize("part", ["data", "tower", "method", "low_rank", "schedule"])
def test_values_that_no_part_has_are_refused_by_name(part: str) -> None:
    whole = run("kgcoop", low_rank=DIP).to_dict()
    with pytest.raises(ValueError, match="nonsense"):
        Run.from_dict(whole | {part: whole[part] | {"nonsense": 1}})
    with pytest.raises(ValueError, match="nonsense"):
        Run.from_dict(whole | {"nonsense": {}})
    with pytest.raises(ValueError, match="data"):
        Run.from_dict({name: value for name, value in whole.items() if name != "data"})


def test_labels_are_the_fields() -> None:
    assert run("coop").label == "CoOp"
    assert run("coop", low_rank=DIP).label == "DIP"
    assert run("kgcoop", low_rank=DIP).label == "KgCoOp + DIP"
    dropped = LowRank(rank=None, site="prompt")
    assert run("coop", low_rank=dropped).label == "CoOp"
    assert (run("coop", low_rank=dropped).rank, run("coop", low_rank=DIP).rank) == (0, 1)


# ---- keys ---------------------------------------------------------------------------------------

COOP = {
    "data": {
        "dataset": "greek",
        "style": "default",
        "protocol": "base-to-new",
        "shots": 16,
        "views": 4,
        "fingerprint": "",
        "target": "",
        "target_fingerprint": "",
    },
    "tower": {"backbone": "glyph-resnet", "weights": "", "precision": "fp32"},
    "method": {"name": "coop", "context": "a photo of a", "vectors": 0},
    "low_rank": None,
    "schedule": {
        "epochs": 40,
        "batch": 128,
        "lr": 0.03,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "warmup": 0.005,
        "checkpoints": 10,
    },
    "seed": 1,
}
ADAMW = {"epochs": 100, "batch": 64, "lr": 0.001, "momentum": 0.9, "weight_decay": 0.05}
VPT_VALUES = {"vectors": 10, "depth": 12, "keep": 0.0, "ranking": "global", "tuned": 0}
ALL_DEFAULTS: dict[str, dict[str, Any]] = {
    "coop": COOP,
    "dip": COOP | {"low_rank": {"rank": 1, "dropout": 0.5, "site": "update"}},
    "kgcoop": COOP | {"method": COOP["method"] | {"name": "kgcoop", "weight": 8.0}},
    "vpt": COOP | {"method": {"name": "vpt", **VPT_VALUES}, "schedule": ADAMW},
}
"""Runs whose every setting is written out and has its default."""
KEYS = {
    "coop": "f2948f23c38f47ac",
    "dip": "dbe5f60387d5085b",
    "kgcoop": "e467ef32a9cc3ef0",
    "vpt": "522c00c3f6ce97e6",
}


@pytest.fixture
def _fixed_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of settings alone: the code's identity and the recipe stand still."""
    monkeypatch.setattr(Method, "identity", classmethod(lambda cls: "0" * 12))
    monkeypatch.setattr(run_module, "RECIPE", 1)


@pytest.mark.usefixtures("_fixed_code")
@pytest.mark.parametrize("name", KEYS)
def test_keys_of_written_out_runs_are_fixed(name: str) -> None:
    # another default would leave a written-out setting in the key, and read old runs as new ones
    assert Run.from_dict(ALL_DEFAULTS[name]).key() == KEYS[name]


@pytest.mark.usefixtures("_fixed_code")
def test_settings_at_their_defaults_are_no_part_of_a_key() -> None:
    for name, method in (("coop", CoOp()), ("kgcoop", KgCoOp())):
        data, tower = Data(dataset="greek"), Tower(backbone="glyph-resnet")
        short = Run(data=data, tower=tower, method=method, schedule=Schedule(), seed=1)
        assert short.key() == KEYS[name]
    assert replace(short, method=CoOp(), low_rank=LowRank()).key() == KEYS["dip"]
    assert replace(short, method=VPT(), schedule=VisualSchedule()).key() == KEYS["vpt"]


def other_values(run: Run) -> list[Run]:
    """The run with each of its settings changed in turn."""
    odd = {
        "protocol": "all-classes",
        "site": "rows",
        "ranking": "layer",
        "vectors": 7,
        "class_split": 3,
        "held_out": 2,
        "class_position": "front",
        "class_specific": True,
        "template": "a {}.",
        "p0": False,
    }
    whole = replace(run.data, protocol="all-classes")  # class-specific prompts know no others
    found = []
    for name in ("data", "tower", "method", "low_rank", "schedule"):
        part = getattr(run, name)
        for field in fields(part) if part else ():
            if field.name == "held_out" and run.method.side != "text":
                continue  # refused
            value = getattr(part, field.name)
            more = 0.25 if isinstance(value, float) else 1
            new = odd.get(field.name, f"{value}x" if isinstance(value, str) else value + more)
            extra = {"vectors": {"context": ""}, "context": {}}.get(field.name, {})
            other = {"data": whole} if field.name == "class_specific" else {}
            part_too = {name: replace(part, **{field.name: new, **extra})}
            found.append(replace(run, **other | part_too))
    return [*found, replace(run, seed=run.seed + 1)]


@pytest.mark.parametrize("name", ["coop", "kgcoop", "maple"])
def test_every_setting_is_part_of_the_key(name: str) -> None:
    each = run(name, low_rank=DIP)
    runs = [each, *other_values(each), replace(each, low_rank=None)]
    assert len({r.key() for r in runs}) == len(runs)
    assert len(runs) > 20


@each_method
def test_the_key_holds_the_methods_code_and_the_recipe(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(name).key()
    assert run(name).key() == before
    with monkeypatch.context() as patch:
        patch.setattr(Method, "identity", classmethod(lambda cls: "another"))
        assert run(name).key() != before
    monkeypatch.setattr(run_module, "RECIPE", run_module.RECIPE + 1)
    assert run(name).key() != before


def test_a_number_is_the_same_setting_as_int_and_as_float() -> None:
    whole, exact = run("kgcoop", weight=8, lr=1), run("kgcoop", weight=8.0, lr=1.0)
    assert whole.key() == exact.key()
    assert json.dumps(whole.to_dict()) == json.dumps(exact.to_dict())


# ---- what runs share ----------------------------------------------------------------------------


def test_runs_of_a_batch_share_all_but_what_may_differ() -> None:
    one = run("kgcoop")
    for same in (
        run("kgcoop", seed=2),
        run("kgcoop", lr=0.5, weight=0.1),
        run("kgcoop", low_rank=DIP),
        run("kgcoop", low_rank=LowRank(rank=3, dropout=0.1)),
    ):
        assert same.shared() == one.shared()
    for other in (
        run("coop"),
        run("kgcoop", epochs=3),
        run("kgcoop", shots=2),
        run("kgcoop", context="a"),
        run("kgcoop", low_rank=LowRank(site="rows")),
        run("kgcoop", backbone="glyph-resnet"),
    ):
        assert other.shared() != one.shared()


def test_the_source_of_a_run_is_what_trains() -> None:
    assert run("coop").source() == run("coop")
    there = run("coop", protocol="all-classes", target="latin", target_fingerprint="x")
    assert there.source() == run("coop", protocol="all-classes")
    assert run("vpt", keep=30.0, ranking="layer", tuned=2).source() == run("vpt")


# ---- a run that was stopped ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["coop", "vpt"])
def test_a_run_stopped_by_a_loss_that_is_not_finite_is_said_and_kept_as_such(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIP_WORKERS", "1")
    few = Few()
    monkeypatch.setattr(group, "dataset_of", lambda *_: few)
    # without a warm-up the enormous rate strikes after the first epoch's end
    wild = run(name, lr=1e30, epochs=3, **({"warmup": 0.0} if name == "coop" else {}))
    store = Store(tmp_path / "store")
    measure.measure([wild, run(name)], store)
    record, sound = store.get(wild), store.get(run(name))
    assert record is not None
    assert sound is not None
    assert "non-finite loss" in record["status"]
    assert sound["status"] == "finished"
    (line,) = [x for x in "\n".join(capsys.readouterr()).splitlines() if "non-finite" in x]
    assert record["label"] in line
    assert record["status"] in line
    assert "greek" in line
    assert "seed 1" in line


def test_a_run_that_diverges_in_its_last_step_is_stopped_too() -> None:
    bench = few()
    # the loss before the only step is finite, the prompt behind it is beyond all use
    wild = run("coop", lr=1e39, epochs=1, warmup=1.0, batch=9)
    (result,) = train([wild], bench.clip, bench.dataset, bench.features)
    assert result.record["status"] == "stopped: non-finite loss in epoch 0"
    assert "shrunk" not in result.record["checkpoints"][-1]


@pytest.mark.parametrize("name", ["coop", "vpt"])
def test_what_is_made_of_a_stopped_training_is_no_result_either(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIP_WORKERS", "1")
    few = Few()
    monkeypatch.setattr(group, "dataset_of", lambda *_: few)
    changes: dict[str, Any] = {"keep": 50.0}
    if name == "coop":
        changes = {"warmup": 0.0, "protocol": "all-classes", "target": "latin"}
    derived, store = run(name, lr=1e30, epochs=3, **changes), Store(tmp_path / "store")
    measure.measure([derived], store)
    record, source = store.get(derived), store.get(derived.source())
    assert record is not None
    assert source is not None
    assert "non-finite loss" in source["status"]
    assert record["status"] == source["status"]
