"""Dense Information Prompt: the low-rank prompt, the Information Density metric, and CLIPs to use
them on. The names below are stable; everything else is the book's workshop.

A name is imported when it is first asked for, so that what needs no torch (paths, errors, the book
built from committed results) runs where torch is not installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dip_lib.classifier import PromptedClassifier
    from dip_lib.clip import load_backbone
    from dip_lib.data import base_new, few_shot, harmonic_mean, load_dataset
    from dip_lib.prompt import LowRankPrompt, densify, information_density, singular_values
    from dip_lib.selection import select_prompt

__version__ = "0.1.0"

__all__ = [
    "LowRankPrompt",
    "PromptedClassifier",
    "base_new",
    "densify",
    "few_shot",
    "harmonic_mean",
    "information_density",
    "load_backbone",
    "load_dataset",
    "select_prompt",
    "singular_values",
]

_MODULES = {
    "LowRankPrompt": "prompt",
    "PromptedClassifier": "classifier",
    "base_new": "data",
    "densify": "prompt",
    "few_shot": "data",
    "harmonic_mean": "data",
    "information_density": "prompt",
    "load_backbone": "clip",
    "load_dataset": "data",
    "select_prompt": "selection",
    "singular_values": "prompt",
}
"""The room of each stable name, as the type checker reads it above."""


def __getattr__(name: str) -> Any:
    """A stable name, on first use. Raises AttributeError: the library has no such name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"dip_lib.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return [*__all__]
