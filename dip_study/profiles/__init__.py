"""Profiles: small data files that name backbone, datasets, seeds and sizes.

Every notebook takes ``profile`` as a parameter, and nothing else in the code knows which one runs.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from dip_lib.errors import one_of

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a study runs on. The training fields have the meaning of :class:`dip_lib.spec.RunSpec`.

    Attributes:
        name: the file's name.
        world: "Glyph World" or "photos": printed on every page.
        towers: backbones; the first is the headline's, all are shown in the zero-shot table.
        weights: open_clip tag of the towers' weights; "" for the glyph towers, which carry theirs.
        source: the dataset whose prompts are judged on all others, and on its ``shifts``.
        costly: ``datasets`` and number of ``seeds`` of the methods that prompt the image tower, or
            whose prompts depend on the image: they cost a tower's pass an image and step. Families
            in all styles take as many seeds.
        settings: method -> what differs from the above in its runs, and dataset -> the same again.
        rates: learning rates of CoOp's frontier; ``lr`` was selected among them, once, on CoOp's
            validation accuracy on base classes, and every text-side method uses it.
    """

    name: str
    world: str
    towers: tuple[str, ...]
    weights: str
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    source: str
    shifts: tuple[str, ...]
    costly: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, Any]]
    context: str
    shots: int
    epochs: int
    batch: int
    lr: float
    rates: tuple[float, ...]
    momentum: float
    weight_decay: float
    warmup: float
    views: int
    checkpoints: int
    precision: str

    @property
    def backbone(self) -> str:
        return self.towers[0]

    def changed(self, method: str, dataset: str) -> dict[str, Any]:
        """What differs in the runs of a method on a dataset. DIP keeps the settings of CoOp."""
        found = dict(self.settings.get("coop" if method == "dip" else method, {}))
        return {k: v for k, v in found.items() if not isinstance(v, Mapping)} | found.get(
            dataset, {}
        )

    def with_epochs(self, epochs: int) -> Profile:
        """The profile with every method and dataset trained this long."""

        def rest(values: Mapping[str, Any]) -> dict[str, Any]:
            inner = {k: rest(v) if isinstance(v, Mapping) else v for k, v in values.items()}
            return {k: v for k, v in inner.items() if k != "epochs"}

        return replace(self, epochs=epochs, settings=rest(self.settings))


def names() -> list[str]:
    """Names of all profiles."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_profile(name: str) -> Profile:
    """A profile by name, or a file of your own: "my_profile.toml".

    Raises:
        ValueError: an unknown profile (with the nearest names), or a file that is not there, is no
            TOML, or whose fields are not exactly those of :class:`Profile`.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = FOLDER / f"{one_of('profile', name, names())}.toml"
    try:
        values: dict[str, Any] = {"name": path.stem, **tomllib.loads(path.read_text("utf-8"))}
    except (OSError, ValueError) as error:
        raise ValueError(f"profile {name!r} cannot be read: {error}") from error
    known = {f.name for f in fields(Profile)}
    if values.keys() != known:
        raise ValueError(
            f"{path.name}: missing {sorted(known - values.keys())}, "
            f"unknown {sorted(values.keys() - known)}"
        )
    fixed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Profile(**fixed)
