"""The study of methods: which runs, and weights for the logit scale of a world's backbone."""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from dip_lib import load_backbone
from dip_lib.training.run import Run
from dip_study import hosts, study
from dip_study.profiles import FOLDER, load_profile
from dip_study.runs import DIP, seeds

SMOKE = load_profile("smoke")
BOTH = replace(SMOKE, rescaled=True)


def weight(run: Run) -> float:
    return float(cast(Any, run.method).weight)


def added() -> list[Run]:
    """What a profile with rescaled weights measures more."""
    without = set(study.hosts(SMOKE, fingerprint=""))
    return [run for run in study.hosts(BOTH, fingerprint="") if run not in without]


def test_rescaled_weights_are_runs_beside_the_published_of_methods_that_have_one() -> None:
    each = len(SMOKE.datasets) * len(SMOKE.seeds)
    labels = ("KgCoOp", "KgCoOp + DIP", "ProGrad", "ProGrad + DIP")
    assert Counter(run.label for run in added()) == dict.fromkeys(labels, each)
    runs = study.hosts(BOTH, fingerprint="")
    assert len({run.key() for run in runs}) == len(runs)
    assert set(study.hosts(SMOKE, fingerprint="")) <= set(runs)


def test_a_rescaled_run_differs_in_its_weight_alone_which_follows_the_logit_scale() -> None:
    scale = load_backbone(SMOKE.backbone).logit_scale
    for name, published in (("kgcoop", 8.0), ("prograd", 1.0)):
        for low_rank in (None, DIP):
            for run in seeds(SMOKE, name, low_rank, fingerprint=""):
                changed = hosts.rescaled(run)
                assert replace(changed, method=run.method) == run
                assert weight(run) == published
                assert weight(changed) == pytest.approx(published * scale / 100, rel=5e-3)
                assert weight(changed) == float(f"{weight(changed):.3g}")  # few digits in a key


def test_at_the_scale_of_clip_nothing_is_measured_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "CLIP_SCALE", load_backbone(SMOKE.backbone).logit_scale)
    assert added() == []


def test_the_option_is_no_setting_and_only_photo_world_asks_for_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('like = "smoke"\nrescaled = true\n')
    assert load_profile(str(path)).rescaled
    for name in ("embedded", "embedded-full", "paper", "smoke"):
        profile = load_profile(name)
        assert not profile.rescaled
        assert repr(replace(profile, rescaled=True)) == repr(profile)  # a page's fingerprint
    asking = [p.stem for p in FOLDER.glob("*.toml") if "rescaled" in tomllib.loads(p.read_text())]
    assert asking == ["photos"]  # which the others of Photo World are like
