"""The runs of a profile as files, a study each: what ``results/`` and shared folders hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dip_lib.store.export import export
from dip_study import study
from dip_study.profiles import Profile


def write_exports(profile: Profile, studies: Sequence[str], folder: Path) -> dict[str, Path]:
    """Write each study's runs to ``folder/STUDY.json``.

    A run that an earlier study has is left out of later ones, whether the earlier one is written
    now or its file is there: a study written alone does not repeat the runs beside it. Of runs that
    no page looks along the last checkpoint is kept.

    Returns:
        Study -> the file written.

    Raises:
        NotMeasuredError: runs are missing, with the command that measures them; the studies before
            are written.
    """
    paths, along = dict[str, Path](), study.seen_along_training(profile)
    for name, runs in study.each_run_once(profile, _with_earlier(profile, studies, folder)):
        if name not in studies:
            continue
        records = study.collect(runs, profile, results="stored")
        paths[name] = folder / f"{name}.json"
        export(records, paths[name], {run.key() for run in runs if run not in along})
    return paths


def _with_earlier(profile: Profile, studies: Sequence[str], folder: Path) -> list[str]:
    """The studies, and before each those of the profile before it that have a file already."""
    order = [*study.STUDIES]
    there = [n for n in study.studies_of(profile) if (folder / f"{n}.json").is_file()]
    every = list[str]()
    for name in studies:
        earlier = (each for each in there if order.index(each) < order.index(name))
        every += [each for each in earlier if each not in every and each not in studies]
        every.append(name)
    return every
