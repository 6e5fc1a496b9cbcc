"""The feature packs of a shared folder: those at hand are copied, others are made of pictures."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dip_lib.clip.packing import make_pack, pool
from dip_lib.data import Dataset
from dip_lib.data.dataset import is_photos
from dip_lib.data.pack_files import headers_of, pack_name, read_pack, write_pack
from dip_lib.data.packed import PackedDataset
from dip_lib.data.packs import FeaturePack
from dip_lib.data.protocols import Draw
from dip_study import study
from dip_study.feature_commands import encoder_name, profile_draws, source_of
from dip_study.loaded import backbone_of, dataset_of
from dip_study.profiles import Profile


@dataclass(frozen=True)
class Need:
    """What a pack must hold: the ``draws`` of a dataset in so many ``views``, by the image encoder
    of a ``tower``, which has these ``weights``."""

    dataset: Dataset
    draws: Sequence[Draw]
    views: int
    tower: str
    weights: str
    device: str


def write_packs(profile: Profile, studies: Sequence[str], folder: Path, device: str) -> None:
    """Write the packs that the runs on stored features of photo datasets rest on.

    Where a dataset stands on packs here, these are copied. Where its pictures are here, packs of
    the same pictures are copied that hold what the profile draws, and what lacks is made: whoever
    takes the folder in has features of the same pictures without having these.

    Raises:
        PackError, ValueError, OSError: a damaged pack; weights that are not here; disk full.
    """
    folder.mkdir()
    every = [run for name in studies for run in study.STUDIES[name](profile)]
    runs = [run for run in every if run.method.side in ("none", "text")]
    used = {name for run in runs for name in (run.data.dataset, run.data.target)}
    for name in sorted(filter(is_photos, used)):
        dataset = dataset_of(name, "default", profile.folders)
        if isinstance(dataset, PackedDataset):
            for path in dataset.files:
                shutil.copyfile(path, folder / path.name)
            continue
        towers = {run.tower for run in runs if name in (run.data.dataset, run.data.target)}
        named = sorted({(each.backbone, each.weights) for each in towers})
        draws, views = profile_draws(profile, dataset)
        needs = [Need(dataset, draws, views, *each, device) for each in named]
        at_hand = {need.tower: found for need in needs if (found := _at_hand(need))}
        for path in at_hand.values():
            shutil.copyfile(path, folder / path.name)
        encoding = read_pack(next(iter(at_hand.values()))).header.encoding if at_hand else "auto"
        for each in _made([need for need in needs if need.tower not in at_hand], encoding):
            write_pack(folder / pack_name(each.header), each)


def _at_hand(need: Need) -> Path | None:
    """A pack in the search path, of these pictures, that holds what is needed."""
    backbone = backbone_of(need.tower, need.weights, "fp32", need.device)
    encoders = (backbone.encodes_as, backbone.unrounded)
    train, val = pool(need.draws)
    for path, header in headers_of(need.dataset.name).items():
        if header.fingerprint == need.dataset.fingerprint and header.image_fingerprint in encoders:
            pack = read_pack(path)
            views = range(need.views)
            if not (train and pack.missing("train", views, train)) and not (
                val and pack.missing("val", (None,), val)
            ):
                return path
    return None


def _made(needs: Sequence[Need], encoding: str) -> list[FeaturePack]:
    """The packs of one dataset, all in one encoding, as packs of a dataset must be."""
    made = [_pack(need, encoding) for need in needs]
    if len({each.header.encoding for each in made}) > 1:
        made = [_pack(need, "fp16") for need in needs]  # from what was just encoded
    return made


def _pack(need: Need, encoding: str) -> FeaturePack:
    backbone = backbone_of(need.tower, need.weights, "fp32", need.device)
    name = need.dataset.name
    about = {"encoder": encoder_name(need.tower, need.weights), "source": source_of(name)}
    return make_pack(backbone, need.dataset, need.draws, need.views, encoding, about)
