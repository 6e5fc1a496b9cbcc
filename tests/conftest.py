"""Every test has an empty home of its own, so that no test sees this machine's live results."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from glyph_pictures import write_pictures

from dip_lib.data import load_dataset

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


@pytest.fixture(scope="session")
def smoke_of_few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The profile ``smoke`` with few pictures for what encodes pictures in every step: a file.

    A family of Glyph World has 2,800 test images, and on these such methods are evaluated.
    """
    folder = tmp_path_factory.mktemp("few")
    names = load_dataset("greek").class_names[:4]
    write_pictures(folder / "letters", "greek", names)
    profile = folder / "smoke-of-few.toml"
    profile.write_text(
        'like = "smoke"\nworld = "Glyph World"\ndatasets = ["greek", "few-letters"]\n'
        '[folders]\nfew-letters = "letters"\n[costly]\ndatasets = ["few-letters"]\n'
    )
    return profile


@pytest.fixture
def shared_features(features: Path, tmp_path: Path) -> None:
    """The test's home keeps image features where the tests of this session share them."""
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "features").symlink_to(features)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole notebooks first: begun last, the longest would keep one process busy alone."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")
