"""Backbones and datasets that studies measure on, loaded once in a process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from dip_lib.clip import Backbone, load_backbone
from dip_lib.clip.loading import backbone_source
from dip_lib.clip.timm_tower import TimmTower, is_timm, named_timm_tower
from dip_lib.data import Dataset, load_dataset
from dip_lib.data.folders import picture_folder
from dip_lib.data.pack_files import file_state, pack_paths

NO_FOLDERS: Mapping[str, Path] = {}


@cache
def backbone_of(name: str, weights: str, precision: str, device: str) -> Backbone:
    """A backbone, loaded once in a process; without ``weights`` the same random ones everywhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # random weights ("") are the same in every process
        carried = backbone_source(name) is not None
        return load_backbone(name, None if carried else weights or None, device, precision)


def tower_of(name: str, weights: str, precision: str, device: str) -> Backbone | TimmTower:
    """The encoder of a run: a backbone, or a timm encoder, whose name says its weights."""
    if is_timm(name):
        return _timm_tower(name, precision, device)
    return backbone_of(name, weights, precision, device)


@cache
def _timm_tower(name: str, precision: str, device: str) -> TimmTower:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return named_timm_tower(name, precision, device)


def dataset_of(name: str, style: str, folders: Mapping[str, Path] = NO_FOLDERS) -> Dataset:
    """A dataset, listed once in a process: ImageNet has 1.3 million files.

    Once, that is, while the data folder and the feature packs in the search path are the same.

    Args:
        folders: name -> folder of class folders, of datasets that a profile brings.

    Raises:
        ValueError: as :func:`dip_lib.data.load_dataset` and
            :func:`dip_lib.data.folders.picture_folder`.
    """
    packs = tuple(map(file_state, pack_paths()))
    return _dataset(name, style, folders.get(name), os.environ.get("DATA"), packs)


@cache
def _dataset(
    name: str, style: str, folder: Path | None, data: str | None, packs: tuple[object, ...]
) -> Dataset:
    if folder is None:
        return load_dataset(name, style, data)
    if style != "default":
        raise ValueError(f"{name} is a folder, which has no style {style!r}; leave the style out")
    return replace(picture_folder(folder), name=name)
