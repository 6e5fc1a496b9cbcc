"""Measuring a group of runs with the function for its kind of method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import Features, load_features
from dip_lib.clip.timm_tower import TimmTower
from dip_lib.data import Dataset
from dip_lib.data.packed import PackedDataset
from dip_lib.data.pictures import Pictures
from dip_lib.methods import Method
from dip_lib.methods.condensation import Condensation
from dip_lib.methods.probe import LinearProbe
from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.surgery import Surgery
from dip_lib.methods.vpt import VPT
from dip_lib.methods.zero_shot import ZeroShot
from dip_lib.training.batch_data import draws
from dip_lib.training.record import Result
from dip_lib.training.run import Run
from dip_lib.training.surgery import operate
from dip_lib.training.trainer import train
from dip_lib.training.transfer import transfer
from dip_lib.training.untrained import probe, zero_shot
from dip_lib.training.visual import train_visual
from dip_lib.training.visual_condense import condense_visual

Learned = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that are measured together, with what they are measured on.

    Attributes:
        runs: runs of one kind on one dataset and encoder.
        encoder: a backbone, or for visual prompts any encoder of images.
        learned: what the source of each has learned; None for runs that train themselves.
        target: the dataset on which learned prompts are evaluated; None without one.
    """

    runs: Sequence[Run]
    encoder: Backbone | TimmTower
    dataset: Dataset
    learned: Sequence[Learned] | None = None
    target: Dataset | None = None

    @property
    def backbone(self) -> Backbone:
        """The encoder of methods that need a text encoder, too.

        Raises:
            ValueError: it has none.
        """
        if isinstance(self.encoder, Backbone):
            return self.encoder
        raise ValueError(
            f"{self.encoder.name} has no text encoder, which {self.runs[0].method.label} needs: "
            "take a CLIP, or visual prompts"
        )


def _features(group: Group) -> Features:
    """The stored image features of a group; of photos and other styles only the draws'."""
    data = group.runs[0].data
    # a dataset in its own style serves so many studies that its whole splits are encoded once
    photos = isinstance(group.dataset, Pictures | PackedDataset)
    only_draws = photos or data.style != "default"
    if only_draws and data.classes != data.classes.shared_draw:
        return _of_shared_draw(group)
    rows = draws(group.runs, group.dataset) if only_draws else ()
    return load_features(group.backbone, group.dataset, data.views, rows, test=not data.held_out)


def _of_shared_draw(group: Group) -> Features:
    """The features of the draws, out of the same draws of more classes.

    Those are encoded once for all class splits, and few-shot learning has them, too; or once for
    all thirds that are held out, and base-to-new has them.
    """
    data, drawn = group.runs[0].data, dict[tuple[str, tuple[int, ...]], Tensor]()
    shared = replace(data, **vars(data.classes.shared_draw))
    rows_of_all = draws([replace(run, data=shared) for run in group.runs], group.dataset)
    features = load_features(
        group.backbone, group.dataset, data.views, rows_of_all, test=not data.held_out
    )
    for rows, all_rows in zip(draws(group.runs, group.dataset), rows_of_all, strict=True):
        for split, wanted, held in zip(("train", "val"), rows, all_rows, strict=True):
            place = {row: i for i, row in enumerate(held)}
            chosen = [place[row] for row in wanted]
            drawn[split, tuple(wanted)] = features.pick(split, held)[..., chosen, :]
    return replace(features, drawn=drawn)


def _prompts(group: Group) -> list[Result]:
    if group.target and group.learned:
        return transfer(group.runs, group.learned, group.backbone, group.target)
    return train(group.runs, group.backbone, group.dataset, _features(group))


def _surgery(group: Group) -> list[Result]:
    place = group.backbone, group.dataset, _features(group)
    sources = [run.source() for run in group.runs]
    trained = group.learned or [result.tensors for result in train(sources, *place)]
    return operate(group.runs, trained, *place)


def _visual(group: Group) -> list[Result]:
    learned = group.learned[0] if group.learned else None
    return train_visual(group.runs, group.encoder, group.dataset, learned)


def _condensation(group: Group) -> list[Result]:
    place = group.encoder, group.dataset
    if group.learned:
        return condense_visual(group.runs, *place, group.learned[0])
    (trained,) = train_visual([group.runs[0].source()], *place)
    return condense_visual(group.runs, *place, trained.tensors)


def _zero_shot(group: Group) -> list[Result]:
    return [zero_shot(run, group.backbone, group.dataset) for run in group.runs]


def _probe(group: Group) -> list[Result]:
    features = _features(group)
    return [probe(run, group.dataset, features) for run in group.runs]


PROGRAMS: dict[type[Method], Callable[[Group], list[Result]]] = {
    Surgery: _surgery,
    PromptMethod: _prompts,
    Condensation: _condensation,
    VPT: _visual,
    ZeroShot: _zero_shot,
    LinearProbe: _probe,
}
"""Kind of method -> the function that measures a group of its runs."""


def measure_group(group: Group) -> list[Result]:
    """A result for each run of a group, in their order.

    Raises:
        TypeError: a method of a kind without such a function.
    """
    method = type(group.runs[0].method)
    for base in method.__mro__:
        if base in PROGRAMS:
            return PROGRAMS[base](group)
    raise TypeError(
        f"{method.__name__} is of a kind that cannot be measured: derive it from "
        f"{', '.join(kind.__name__ for kind in PROGRAMS)}"
    )
