"""What must hold for files that nobody would write on purpose, and where such files come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fuzzed
import fuzzed_settings
from hypothesis import given, settings
from hypothesis import strategies as st

LAWS: dict[str, tuple[Callable[..., None], tuple[st.SearchStrategy[Any], ...]]] = {
    "split file": (fuzzed.check_split_file, (fuzzed.SPLIT_FILES,)),
    "lists of a task": (
        lambda lists: fuzzed.check_task(*lists),
        (fuzzed.LISTS,),
    ),
    "folder": (fuzzed.check_tree, (fuzzed.ALL_TREES, st.booleans())),
    "prompt file": (fuzzed_settings.check_prompt, (fuzzed_settings.PROMPTS,)),
    "profile": (fuzzed_settings.check_profile, (fuzzed_settings.PROFILES,)),
}
"""What is read -> the check, which any example passes or fails, and its arguments' examples."""


def hold(law: str, examples: int, *, same: bool) -> None:
    """Check a law on so many examples; the ``same`` ones each time, or others."""
    check, arguments = LAWS[law]

    def one(values: tuple[Any, ...]) -> None:
        check(*values)

    chosen = settings(max_examples=examples, deadline=None, derandomize=same, database=None)
    chosen(given(st.tuples(*arguments))(one))()
