"""The runs of a profile as files, a study each: what ``results/`` and shared folders hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dip_lib.store.export import export
from dip_study import study
from dip_study.profiles import Profile


def write_exports(profile: Profile, studies: Sequence[str], folder: Path) -> dict[str, Path]:
    """Write each study's runs, without those of the studies before it, to ``folder/STUDY.json``.

    Of runs that no page looks along the last checkpoint is kept.

    Returns:
        Study -> the file written.

    Raises:
        NotMeasuredError: runs are missing, with the command that measures them; the studies before
            are written.
    """
    paths, along = dict[str, Path](), study.seen_along_training(profile)
    for name, runs in study.each_run_once(profile, studies):
        records = study.collect(runs, profile, results="stored")
        paths[name] = folder / f"{name}.json"
        export(records, paths[name], {run.key() for run in runs if run not in along})
    return paths
