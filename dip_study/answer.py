"""What a command of ``dip`` answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What a command found: ``found`` for programs, ``lines`` for people, and the exit code."""

    found: Any
    lines: Sequence[str]
    code: int = 0
