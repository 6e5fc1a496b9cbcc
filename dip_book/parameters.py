"""The parameters of a notebook: checked, and written as the command that gives the same page."""

from __future__ import annotations

import hashlib
import json
import shlex
import types
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dip_lib.clip.loading import check_device
from dip_lib.errors import one_of
from dip_study.profiles import Profile, load_profile
from dip_study.study import RESULTS

PARAMETERS = ("profile", "datasets", "seeds", "epochs", "device", "results")
# names that a fresh kernel defines by itself
KERNEL = {"In", "Out", "exit", "quit", "open", "get_ipython", "begin"}
ENOUGH = 5
"""Datasets that a page needs to decide anything: they are the units of its statistics."""


def _items(name: str, value: Any) -> list[Any]:
    """A list parameter: a list, JSON text, comma text, or one item."""
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                return list(json.loads(text))
            except json.JSONDecodeError as error:
                raise ValueError(f"{name}={value!r} is not a JSON list: {error}") from error
        return [part.strip() for part in text.split(",") if part.strip()]
    return list(value) if isinstance(value, list | tuple) else [value]


def _whole(items: list[Any], least: int) -> tuple[int, ...]:
    """The items as whole numbers, each once; () when one is no whole number from ``least`` on."""
    texts = [str(item).strip() for item in items]
    sound = all(text.isdecimal() and int(text) in range(least, 2**63) for text in texts)
    return tuple(dict.fromkeys(map(int, texts))) if sound else ()


@dataclass(frozen=True)
class Parameters:
    """What a notebook was asked for.

    Attributes:
        asked: the profile's name or file, as given.
        profile: that profile with the datasets, seeds and epochs that were asked for.
        changed: of datasets, seeds, epochs and device, those that differ from the profile's, as
            text for a command.
        results: one of :data:`dip_study.study.RESULTS`.
    """

    asked: str
    profile: Profile
    changed: Mapping[str, str]
    results: str

    @property
    def device(self) -> str:
        return self.changed.get("device", "cpu")

    @property
    def key(self) -> str:
        """The profile's name and, when anything differs from it, 8 digits of what does."""
        own = {} if self.asked == self.profile.name else {"profile": self.asked}
        if not (differs := own | dict(self.changed)):
            return self.profile.name
        text = json.dumps(differs, sort_keys=True)
        return f"{self.profile.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def undecided(self) -> str:
        """Why nothing can be decided by these parameters: "profile smoke, 2 datasets"; or ""."""
        count = len(self.profile.datasets)
        reason = f"profile {self.profile.name}, {count} dataset{'s' if count > 1 else ''}"
        return reason if count < ENOUGH else ""

    def command(self, notebook: str) -> str:
        """The command that measures the same page, for a shell."""
        values = {"profile": self.asked, **self.changed, "results": "fresh"}
        words = [word for name, value in values.items() for word in ("-p", name, value)]
        return shlex.join(["papermill", f"notebooks/{notebook}.ipynb", "out.ipynb", *words])


def read(parameters: Mapping[str, Any]) -> Parameters:
    """Check the parameters of a notebook.

    Args:
        parameters: the notebook's ``globals()`` in the cell after the parameters.

    Raises:
        ValueError: an unknown parameter, profile, dataset, device or source of results, each with
            the nearest valid names; seeds or epochs that are not whole numbers.
    """
    for name, value in parameters.items():
        if not (name.startswith("_") or name in KERNEL or isinstance(value, types.ModuleType)):
            one_of("parameter", name, PARAMETERS)
    whole = profile = load_profile(asked := str(parameters["profile"]))
    datasets, seeds, epochs = (parameters[name] for name in ("datasets", "seeds", "epochs"))
    changed = dict[str, str]()
    if datasets != "all":
        chosen = tuple(dict.fromkeys(str(d) for d in _items("datasets", datasets)))
        for dataset in chosen:
            one_of(f"dataset of profile {profile.name}", dataset, profile.datasets)
        if not chosen:
            raise ValueError(f"datasets={datasets!r} must be 'all' or name at least one dataset")
        profile = replace(profile, datasets=chosen)
        if chosen != whole.datasets:
            changed["datasets"] = ",".join(chosen)
    if seeds != "all":
        if not (numbers := _whole(_items("seeds", seeds), 0)):
            raise ValueError(
                f"seeds={seeds!r} must be 'all' or whole numbers below 2**63, such as '1,2,3'"
            )
        profile = replace(profile, seeds=numbers)
        if numbers != whole.seeds:
            changed["seeds"] = ",".join(map(str, numbers))
    if epochs is not None:
        if not (numbers := _whole([epochs], 1)):
            raise ValueError(f"epochs={epochs!r} must be None or a whole number from 1 on")
        profile = profile.with_epochs(numbers[0])
        changed["epochs"] = str(numbers[0])
    check_device(device := str(parameters["device"]))
    if device != "cpu":
        changed["device"] = device
    results = one_of("results", str(parameters["results"]), RESULTS)
    return Parameters(asked, profile, changed, results)
