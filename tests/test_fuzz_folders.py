"""Split files and folder trees by the hundred; tests/slow has ten times as many."""

from __future__ import annotations

from typing import Any

import pytest

hypothesis = pytest.importorskip("hypothesis")

import fuzzed  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

EXAMPLES = 200
few = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)


@few
@given(fuzzed.SPLIT_FILES)
def test_any_split_file_is_read_or_refused(content: bytes) -> None:
    fuzzed.check_split_file(content)


@few
@given(fuzzed.LISTS)
def test_any_lists_of_a_task_are_read_or_refused(lists: tuple[bool, Any]) -> None:
    fuzzed.check_task(*lists)


@few
@given(fuzzed.ALL_TREES, st.booleans())
def test_any_folder_is_read_or_refused(tree: Any, skip: bool) -> None:
    fuzzed.check_tree(tree, skip)
