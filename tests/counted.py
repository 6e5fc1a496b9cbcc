"""A dataset that tells which images it was asked for."""

from __future__ import annotations

from typing import Any


class Counted:
    """A dataset that notes which images it is asked to draw."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.asked = dataset, list[tuple[str, int]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)

    def batches(self, split: str, views: Any, rows: Any, *more: Any) -> Any:
        self.asked.append((split, len(rows)))
        return self.dataset.batches(split, views, rows, *more)
