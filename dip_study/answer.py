"""The result of a command of ``dip``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """Result of a command: ``data`` as JSON, ``lines`` of text for people, and the exit code."""

    data: Any
    lines: Sequence[str]
    code: int = 0
