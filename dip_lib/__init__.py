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
    from dip_lib.datasets import base_new, few_shot, harmonic_mean
    from dip_lib.density import information_density, singular_values
    from dip_lib.loading import load_backbone
    from dip_lib.prompt import LowRankPrompt, densify

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
    "singular_values",
]

_MODULES = {
    "LowRankPrompt": "prompt",
    "PromptedClassifier": "classifier",
    "base_new": "datasets",
    "densify": "prompt",
    "few_shot": "datasets",
    "harmonic_mean": "datasets",
    "information_density": "density",
    "load_backbone": "loading",
    "singular_values": "density",
}
"""Where each stable name is defined, as the type checker reads it above."""


def __getattr__(name: str) -> Any:
    """A stable name, or a module of the library, on first use.

    Raises:
        AttributeError: the library has no such name.
    """
    if name in _MODULES:
        found = getattr(import_module(f"dip_lib.{_MODULES[name]}"), name)
        globals()[name] = found
        return found
    try:
        return import_module(f"dip_lib.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"dip_lib.{name}":
            raise  # a module of the library that needs a package that is not installed
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return [*__all__]
