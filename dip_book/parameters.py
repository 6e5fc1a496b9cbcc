"""The parameters of a notebook: checked, and written as the command that gives the same page."""

from __future__ import annotations

import hashlib
import json
import shlex
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dip_book.claims import FEWEST
from dip_lib.clip.loading import check_device
from dip_lib.errors import one_of
from dip_study.profiles import Profile, load_profile
from dip_study.study import RESULTS

PARAMETERS = ("profile", "datasets", "seeds", "epochs", "device", "results")
# names that a fresh kernel defines by itself
KERNEL = {"In", "Out", "exit", "quit", "open", "get_ipython", "begin"}


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
        asked: the profiles' names or files, as given.
        profiles: those profiles, one a world, with the datasets, seeds and epochs that were asked
            for; the first is the page's main one.
        changed: of datasets, seeds, epochs and device, those that differ from the profiles', as
            text for a command.
        results: one of :data:`dip_study.study.RESULTS`.
    """

    asked: str
    profiles: tuple[Profile, ...]
    changed: Mapping[str, str]
    results: str

    @property
    def profile(self) -> Profile:
        return self.profiles[0]

    @property
    def device(self) -> str:
        return self.changed.get("device", "cpu")

    @property
    def key(self) -> str:
        """The profiles' names and, when anything differs from them, 8 digits of what does."""
        names = [profile.name for profile in self.profiles]
        own = {} if self.asked == ",".join(names) else {"profile": self.asked}
        if not (differs := own | dict(self.changed)):
            return "+".join(names)
        text = json.dumps(differs, sort_keys=True)
        return f"{'+'.join(names)}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def command(self, notebook: str) -> str:
        """The command that measures the same page, for a shell."""
        values = {"profile": self.asked, **self.changed, "results": "fresh"}
        words = [word for name, value in values.items() for word in ("-p", name, value)]
        return shlex.join(["papermill", f"notebooks/{notebook}.ipynb", "out.ipynb", *words])


def undecided(profile: Profile) -> str:
    """Why nothing can be decided with a profile's datasets: "profile smoke, 2 datasets"; or ""."""
    count = len(profile.datasets)
    reason = f"profile {profile.name}, {count} dataset{'s' if count > 1 else ''}"
    return reason if count < FEWEST else ""


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
    asked = str(parameters["profile"])
    whole = [load_profile(each) for each in _items("profile", asked)]
    worlds = [profile.world for profile in whole]
    if not whole or len(set(worlds)) < len(worlds):
        raise ValueError(f"profile={asked!r} must name one profile, or several of different worlds")
    profiles, changed = whole, dict[str, str]()
    datasets, seeds, epochs = (parameters[name] for name in ("datasets", "seeds", "epochs"))
    if datasets != "all":
        profiles, changed["datasets"] = _with_datasets(profiles, datasets)
    if seeds != "all":
        if not (numbers := _whole(_items("seeds", seeds), 0)):
            raise ValueError(
                f"seeds={seeds!r} must be 'all' or whole numbers below 2**63, such as '1,2,3'"
            )
        profiles = [replace(p, seeds=numbers, trajectory_seeds=()) for p in profiles]
        changed["seeds"] = ",".join(map(str, numbers))
    if epochs is not None:
        if not (numbers := _whole([epochs], 1)):
            raise ValueError(f"epochs={epochs!r} must be None or a whole number from 1 on")
        profiles = [profile.with_epochs(numbers[0]) for profile in profiles]
        changed["epochs"] = str(numbers[0])
    check_device(device := str(parameters["device"]))
    if device != "cpu":
        changed["device"] = device
    # what is asked for, and is the profiles' own, is no change
    for name in ("datasets", "seeds"):
        if [getattr(p, name) for p in profiles] == [getattr(p, name) for p in whole]:
            changed.pop(name, None)
    results = one_of("results", str(parameters["results"]), RESULTS)
    return Parameters(asked, tuple(profiles), changed, results)


def _with_datasets(profiles: Sequence[Profile], datasets: Any) -> tuple[list[Profile], str]:
    """The profiles that have some of the datasets asked for, with these alone; the datasets."""
    chosen = tuple(dict.fromkeys(str(d) for d in _items("datasets", datasets)))
    known = [dataset for profile in profiles for dataset in profile.datasets]
    for dataset in chosen:
        one_of(f"dataset of profile {' or '.join(p.name for p in profiles)}", dataset, known)
    if not chosen:
        raise ValueError(f"datasets={datasets!r} must be 'all' or name at least one dataset")
    own = [tuple(d for d in chosen if d in profile.datasets) for profile in profiles]
    kept = [replace(p, datasets=d) for p, d in zip(profiles, own, strict=True) if d]
    return kept, ",".join(chosen)
