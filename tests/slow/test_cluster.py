"""Dask measures what this machine does; other code is refused by name, lost workers replaced."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import pytest
from glyph_pictures import write_pictures

from dip_lib.clip import load_backbone
from dip_lib.clip.packing import make_pack
from dip_lib.data import load_dataset
from dip_lib.data.folders import picture_folder
from dip_lib.data.pack_files import own_packs, pack_name, write_pack
from dip_lib.data.protocols import Classes, draw
from dip_lib.store import Store
from dip_lib.training.run import Run
from dip_study import study
from dip_study.engine.cluster import Cluster, dask_cluster
from dip_study.engine.group import Task
from dip_study.measure import measure
from dip_study.profiles import load_profile

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))  # as when a benchmark is run as a program
from dask_processes import scheduler, worker  # noqa: E402

SMOKE = replace(load_profile("smoke"), towers=("glyph-resnet",), datasets=("greek",), epochs=1)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with scheduler(tmp_path) as found:
        yield found


def what_was_measured(folder: Path, runs: list[Run]) -> list[object]:
    """Of each run all that does not depend on the machine and the time, to the last bit."""
    found: list[object] = []
    for run in runs:
        tensors = folder / f"{run.key()}.safetensors"
        record = json.loads((folder / f"{run.key()}.json").read_text())
        for name in ("seconds", "memory_mb", "finished_at"):
            record.pop(name)
        found.append((record, tensors.read_bytes() if tensors.is_file() else b""))
    return found


def test_one_machine_gives_the_same_bits_by_processes_and_by_dask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_features: None
) -> None:
    monkeypatch.setenv("DIP_WORKERS", "2")
    runs = [*study.base_to_new(SMOKE), *study.domain_shift(replace(SMOKE, source="greek"))]
    measure(runs, Store(tmp_path / "processes"))
    with dask_cluster(workers=2) as cluster:
        measure(runs, Store(tmp_path / "dask"), engine=cluster)
    assert what_was_measured(tmp_path / "dask", runs) == what_was_measured(
        tmp_path / "processes", runs
    )


def test_a_worker_with_other_code_is_refused_by_name_and_a_lost_one_is_replaced(
    address: str,
    tmp_path: Path,
    shared_features: None,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("dip_lib", "dip_study"):
        shutil.copytree(ROOT / name, tmp_path / "other" / name)
    changed = tmp_path / "other" / "dip_lib" / "training" / "run.py"
    changed.write_text(changed.read_text().replace("RECIPE = 1", "RECIPE = 2"))
    paths = os.pathsep.join([str(tmp_path / "other"), str(ROOT)])
    store, runs = Store(tmp_path / "store"), study.coop(replace(SMOKE, epochs=4), lr=0.01)
    home = str(tmp_path / "home")
    with ExitStack() as stack, dask_cluster(address) as cluster:
        stack.enter_context(worker(address, tmp_path / "wrong", PYTHONPATH=paths))
        with pytest.raises(RuntimeError, match="no worker can be used"):
            measure(runs, store, engine=cluster)
        said = capfd.readouterr().err
        assert "tcp://127.0.0.1:" in said and "is refused: it has dip-lib " in said
        assert store.missing(runs) == runs
        first = stack.enter_context(worker(address, tmp_path / "first", DIP_HOME=home))
        while first_address(cluster) is None:
            time.sleep(0.2)
        start, killed = cluster.start, list[str]()

        def start_and_kill(worker_address: str, task: Task, packs: Any = None) -> None:
            start(worker_address, task, packs)
            if not killed:
                first.kill()
                killed.append(worker_address)
                stack.enter_context(worker(address, tmp_path / "second", DIP_HOME=home))

        monkeypatch.setattr(cluster, "start", start_and_kill)
        measure(runs, store, engine=cluster)
        assert killed and killed[0] not in cluster.names()
    assert store.missing(runs, failed=True) == []
    assert "refused" not in capfd.readouterr().err  # said once


def first_address(cluster: Cluster) -> str | None:
    """The first worker that can be used; None while there is none."""
    with suppress(RuntimeError):
        return next(iter(cluster.names()), None)
    return None


def test_a_feature_pack_reaches_a_worker_that_lacks_it_once(
    address: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clip, names = load_backbone("glyph-resnet"), load_dataset("greek").class_names[:6]
    folder = write_pictures(tmp_path / "pictures", "greek", names, count=24)
    pictures = replace(picture_folder(folder), name="eurosat", workers=0)
    draws = [draw(pictures.labels, 4, seed, Classes("all-classes")) for seed in (1, 2)]
    made = make_pack(clip, pictures, draws, 1, "fp16")
    write_pack(own_packs() / pack_name(made.header), made)
    profile = replace(SMOKE, datasets=("eurosat",), shots=4)
    runs = [r for rate in (0.01, 0.02) for r in study.coop(profile, lr=rate, epochs=1)]
    runs += [r for rate in (0.01, 0.02) for r in study.coop(profile, lr=rate, epochs=2)]
    store = Store(tmp_path / "store")
    with worker(address, tmp_path / "there"), dask_cluster(address) as cluster:
        measure(runs, store, engine=cluster)
        assert store.missing(runs, failed=True) == []
        arrived = tmp_path / "there" / "home" / "packs" / pack_name(made.header)
        assert arrived.read_bytes() == (own_packs() / arrived.name).read_bytes()
        stamp = arrived.stat().st_mtime_ns
        measure(study.dip(profile), store, engine=cluster)
        assert arrived.stat().st_mtime_ns == stamp
    assert "refused" not in capfd.readouterr().err


def certificate(folder: Path, name: str) -> tuple[str, str]:
    """Files of a certificate that signs itself, and of its key."""
    made, key = folder / f"{name}.pem", folder / f"{name}.key"
    asked = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={name}"]
    command = ["openssl", *asked, "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return str(made), str(key)


ROLES = ("client", "scheduler", "worker")


def tls(made: str, key: str) -> dict[str, Any]:
    """Dask's settings of who it is and whom it trusts: whoever has the same certificate."""
    who = {role: {"cert": made, "key": key} for role in ROLES}
    before = dask.config.get("distributed.comm.tls")
    return {"distributed.comm.tls": {**before, "ca-file": made, **who}}


def variables(made: str, key: str) -> dict[str, str]:
    """The same in the environment of a program."""
    start = "DASK_DISTRIBUTED__COMM__TLS__"
    each = {
        f"{start}{role.upper()}__{w}": v
        for role in ROLES
        for w, v in (("CERT", made), ("KEY", key))
    }
    return {f"{start}CA_FILE": made, **each}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_workers_are_reached_by_tls_and_by_nobody_without_a_certificate(tmp_path: Path) -> None:
    pytest.importorskip("distributed")  # whose defaults Dask's settings then have
    ours, others = (certificate(tmp_path, name) for name in ("ours", "others"))
    quick = {"distributed.comm.timeouts.connect": "2s"}
    with ExitStack() as stack:
        own = variables(*ours)
        address = stack.enter_context(scheduler(tmp_path, "tls", **own))
        stack.enter_context(worker(address, tmp_path / "worker", **own))
        assert address.startswith("tls://")
        with dask.config.set(tls(*ours)), dask_cluster(address) as cluster:
            assert cluster.size("cpu") == 1
            (name,) = cluster.names()  # it was asked for its code, over the same wire
            assert name.startswith("tls://")
        strangers = [(address, {}), (address, tls(*others)), (f"tcp{address[3:]}", {})]
        for place, settings in strangers:
            with (
                dask.config.set(settings | quick),
                pytest.raises((OSError, ValueError)),
                dask_cluster(place),
            ):
                pass
