"""Prompt files and profiles by the hundred; tests/slow has ten times as many."""

from __future__ import annotations

import pytest

hypothesis = pytest.importorskip("hypothesis")

import fuzzed_settings  # noqa: E402
from hypothesis import given, settings  # noqa: E402

EXAMPLES = 200
few = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)


@few
@given(fuzzed_settings.PROMPTS)
def test_any_prompt_file_is_read_or_refused(content: bytes) -> None:
    fuzzed_settings.check_prompt(content)


@few
@given(fuzzed_settings.PROFILES)
def test_any_profile_is_read_or_refused(text: str) -> None:
    fuzzed_settings.check_profile(text)
