"""Every test has an empty home of its own, so that no test sees this machine's live results."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIP_HOME", str(tmp_path / "home"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole notebooks first: begun last, the longest would keep one process busy alone."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")
