"""Every test has an empty home of its own, so that no test sees this machine's live results."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIP_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Image features that tests of this session share: a home's ``features`` may link to it.

    They are named by their content, and encoding the same images again is most of a short study.
    """
    session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent  # each process has a folder of its own in it
    (session / "features").mkdir(exist_ok=True)
    return session / "features"


@pytest.fixture
def shared_features(features: Path, tmp_path: Path) -> None:
    """The test's home keeps image features where the tests of this session share them."""
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "features").symlink_to(features)


@pytest.fixture
def shared_runs(features: Path, tmp_path: Path, shared_features: None) -> None:
    """The test's home keeps runs, too, where tests of this session share them.

    A run is named by its settings and code, and many pages show the same ones.
    """
    (features.parent / "store").mkdir(exist_ok=True)
    (tmp_path / "home" / "store").symlink_to(features.parent / "store")


@pytest.fixture
def smoke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[ModuleType], tuple[str, Any]]]:
    """What a benchmark prints and writes with ``--smoke``, run here: page 04 starts programs."""
    log = logging.getLogger()
    level, out = log.level, tmp_path / "found.json"

    def run(program: ModuleType) -> tuple[str, Any]:
        monkeypatch.setattr(sys, "argv", ["program.py", "--smoke", "--out", str(out)])
        program.main()
        return capsys.readouterr().out, json.loads(out.read_text())

    yield run
    log.setLevel(level)  # which random weights have changed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole notebooks first: begun last, the longest would keep one process busy alone."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")
