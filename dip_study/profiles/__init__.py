"""Profiles: small data files that name backbone, datasets, seeds and sizes.

Every notebook takes ``profile`` as a parameter, and no other code depends on which one runs.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dip_lib.clip.loading import check_backbone
from dip_lib.data.dataset import dataset_names
from dip_lib.errors import one_of
from dip_lib.methods import METHODS, Method
from dip_lib.training.run import Data, Tower, schedule_type
from dip_study.profiles.value_types import check_types

FOLDER = Path(__file__).parent
TRAINING = (
    *("context", "shots", "epochs", "batch", "lr", "momentum", "weight_decay", "warmup"),
    *("views", "checkpoints", "precision"),
)
"""Fields of a profile that are settings of every run."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a study runs on. The training fields have the meaning that the parts of
    :class:`dip_lib.training.run.Run` give them.

    Attributes:
        name: the file's name.
        world: "Glyph World", "photos" or the name of yours: printed on every page.
        towers: backbones; the first is the headline's, all are shown in the zero-shot table.
        weights: open_clip tag of their weights; "" for backbones that carry theirs.
        source: the dataset whose prompts are evaluated on all others, and on its ``shifts``.
        costly: ``datasets`` and number of ``seeds`` of the methods that prompt the image encoder,
            or whose prompts depend on the image: each step encodes its images. Families in all
            styles take as many seeds.
        visual: the page on visual prompts, on the datasets of ``costly``: number of ``seeds``;
            ``prompts`` of a block; the numbers at which methods are ``compared``, of which the last
            is condensed to ``keep`` per cent; learning ``rates`` among which VPT's was selected on
            its validation accuracy.
        settings: method -> what differs from the above in its runs, and dataset -> the same again.
            Studies of every method take those that have an entry here, be it an empty one.
        rates: learning rates of CoOp's frontier; ``lr`` was selected among them, once, on CoOp's
            validation accuracy on base classes, and every text-side method uses it.
        folders: of datasets that the profile brings: name -> folder of class folders, which
            :func:`dip_lib.data.folders.picture_folder` reads. In a file it may be left out, and is
            relative to the file. It is no setting: the pictures' fingerprint is.
        studies: those on request (``ON_REQUEST`` in ``dip_study.study``) that the profile has, too;
            may be left out. It is no setting either: a study more changes no run of another.
        only: the studies that the profile has, and no others; may be left out. It is no setting for
            the same reason.
        rescaled: whether methods with a weight are measured with the published one and with one
            for the backbone's logit scale, too (``dip_study.hosts.rescaled``); may be left out.
            It is no setting for the same reason.
        grid_seeds: the seeds of each dataset in the studies of many settings
            (:meth:`seeds_of_grid`); may be left out. It is no setting for the same reason.
        trajectory_seeds: further seeds of the runs that are followed along training (the study
            ``trajectories``); may be left out. It is no setting for the same reason.
        judge: where the method beyond the paper is judged (``dip_study.beyond``): its ``tower``,
            the ``datasets``, how many random class ``splits`` each has, and the datasets on which
            it was ``developed``; may be left out. It is no setting for the same reason.
        tasks_of: profiles with tasks for visual prompts, each for one encoder, that the page on
            these shows beside its own runs; may be left out. It is no setting for the same reason.
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
    visual: Mapping[str, Any]
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
    folders: Mapping[str, Path] = field(default_factory=dict, repr=False)
    studies: tuple[str, ...] = field(default=(), repr=False)
    only: tuple[str, ...] = field(default=(), repr=False)
    rescaled: bool = field(default=False, repr=False)
    grid_seeds: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    trajectory_seeds: tuple[int, ...] = field(default=(), repr=False)
    judge: Mapping[str, Any] = field(default_factory=dict, repr=False)
    tasks_of: tuple[str, ...] = field(default=(), repr=False)

    @property
    def backbone(self) -> str:
        return self.towers[0]

    def seeds_of_grid(self, dataset: str) -> tuple[int, ...]:
        """The seeds of a dataset in ``dip_study.fronts`` and ``dip_study.causes``.

        For one seed the random factor A of DIP's update is the same on all datasets. Where every
        dataset has seeds of its own, so has it draws of A, and is an independent unit of an
        interval over datasets. A dataset that ``grid_seeds`` does not name has the first seed.
        """
        return tuple(self.grid_seeds.get(dataset, self.seeds[:1]))

    def has(self, method: str) -> bool:
        """Whether studies of every method measure this one."""
        return method in self.settings

    def values(self, method: type[Method], dataset: str) -> dict[str, Any]:
        """Settings of a method's runs on a dataset, by name.

        Raises:
            ValueError: the profile gives the method a setting that its runs do not have.
        """
        changed = dict[str, Any]()
        for name in (method.settings_of, method.name):
            own = self.settings.get(name, {})
            changed |= {key: value for key, value in own.items() if not isinstance(value, Mapping)}
            changed |= own.get(dataset, {})
        if unknown := changed.keys() - setting_names(method):
            raise ValueError(
                f"profile {self.name} gives {method.name} {', '.join(map(repr, sorted(unknown)))}, "
                f"settings that its runs do not have; the method's own: "
                f"{', '.join(method.settings()) or 'none'}"
            )
        shared = {name: getattr(self, name) for name in TRAINING} | {"backbone": self.backbone}
        return shared | changed

    def with_epochs(self, epochs: int) -> Profile:
        """The profile with every method and dataset trained this long."""

        def rest(values: Mapping[str, Any]) -> dict[str, Any]:
            inner = {k: rest(v) if isinstance(v, Mapping) else v for k, v in values.items()}
            return {k: v for k, v in inner.items() if k != "epochs"}

        return replace(self, epochs=epochs, settings=rest(self.settings))


def setting_names(method: type[Method]) -> set[str]:
    """Names of all settings of a method's runs: of their data, tower, schedule and the method."""
    parts: list[Any] = [Data, Tower, schedule_type(method)]
    shared = (part.__dataclass_fields__ for part in parts if part)
    return set(method.settings()).union(*shared)


def names() -> list[str]:
    """Names of all profiles."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_profile(name: str) -> Profile:
    """A profile by name, or a file of your own: "my_profile.toml".

    A file with ``like = "smoke"`` (another profile's name, or its file) has that one's values but
    for those that it gives itself; tables are joined key by key.

    Raises:
        ValueError: an unknown profile, tower, dataset, or method that has settings, with the
            nearest names; a file that is not there, is no TOML, is like itself, or whose fields are
            not those of :class:`Profile`; folders that are called as another dataset is, or come
            without a world of their own; ``tasks_of`` that names a profile without tasks.
    """
    path = _path(name)
    values = {"name": path.stem, **_read(path)}
    known = {f.name for f in fields(Profile)}
    needed = {f.name for f in fields(Profile) if f.default is MISSING is f.default_factory}
    if not needed <= values.keys() <= known:
        raise ValueError(
            f"{path.name}: missing {sorted(needed - values.keys())}, "
            f"unknown {sorted(values.keys() - known)}"
        )
    check_types(Profile, values, path.name)
    for method in values["settings"]:
        one_of("method", method, METHODS)
    if not (values["towers"] and values["seeds"]):
        raise ValueError(f"{path.name}: towers and seeds must not be empty")
    for tower in values["towers"]:
        check_backbone(tower)
    grid = values.get("grid_seeds", {})
    for dataset in (*values["datasets"], values["source"], *values["shifts"], *grid):
        one_of("dataset", dataset, dataset_names(values["folders"]))
    if without := [dataset for dataset, seeds in grid.items() if not seeds]:
        raise ValueError(f"{path.name}: grid_seeds of {', '.join(without)} must not be empty")
    shown = {other: _path(other, path.parent) for other in values.get("tasks_of", ())}
    for other, file in shown.items():
        if not _read(file).get("visual", {}).get("tasks"):
            raise ValueError(f"{path.name}: tasks_of names {other}, which has no [visual.tasks]")
    # a file of one's own, beside this one, is to be found from any folder
    values["tasks_of"] = [o if f.parent == FOLDER else str(f.resolve()) for o, f in shown.items()]
    fixed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Profile(**fixed)


def _path(name: str, beside: Path = Path()) -> Path:
    """The file of a profile; a file of your own is looked for ``beside`` another."""
    if Path(name).suffix == ".toml":
        return beside / Path(name).expanduser()
    return FOLDER / f"{one_of('profile', name, names())}.toml"


def _read(path: Path, readers: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a file, and of those that it is like; ``readers`` are like this one."""
    if path.resolve() in readers:
        raise ValueError(f"profile {path.name} is like itself")
    try:
        own = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"profile {str(path)!r} cannot be read: {error}") from error
    named, like = own.pop("folders", {}), own.pop("like", "")
    if not isinstance(named, Mapping) or not all(
        isinstance(v, str) for v in (*named.values(), like)
    ):
        raise ValueError(
            f"{path.name}: like must be a profile's name, and [folders] a table of text"
        )
    folders = {name: _folder(path, name, each) for name, each in named.items()}
    if like:
        if folders and "world" not in own:
            raise ValueError(f"{path.name}: with [folders] it needs a world of its own")
        own = _joined(_read(_path(like, path.parent), (*readers, path.resolve())), own)
    return _joined(own, {"folders": folders})


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both, the ``other``'s where they differ; tables in both are joined."""
    joined = {**one, **other}
    for name in one.keys() & other.keys():
        if isinstance(one[name], Mapping) and isinstance(other[name], Mapping):
            joined[name] = _joined(one[name], other[name])
    return joined


def _folder(profile: Path, name: str, folder: str) -> Path:
    """The absolute path of a folder that a profile names."""
    if name in dataset_names():
        raise ValueError(f"{profile.name}: {name!r} in [folders] is another dataset's name already")
    return (profile.parent / Path(folder).expanduser()).resolve()
