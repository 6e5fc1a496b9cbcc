"""Which profiles ``make publish`` measures: those that pages show, and those that pages read."""

from __future__ import annotations

from collections.abc import Sequence

from dip_book.pages.pretrainings import TOWERS
from dip_study.profiles import load_profile


def measured_profiles(shown: Sequence[str]) -> list[str]:
    """The profiles that pages show, other pre-trainings of their worlds, and the tasks for visual
    prompts; without profiles of which every study is on request."""
    tasks = [other for each in shown for other in load_profile(each).tasks_of]
    measured = [other for other in tasks if load_profile(other).studies]
    return [*dict.fromkeys([*shown, *(name for name, _ in TOWERS), *measured])]
