"""Prompt files and profiles by the thousand, others each time."""

from __future__ import annotations

import pytest

hypothesis = pytest.importorskip("hypothesis")

import fuzzed_settings  # noqa: E402
from hypothesis import given, settings  # noqa: E402

EXAMPLES = 2_000
many = settings(max_examples=EXAMPLES, deadline=None, database=None)


@many
@given(fuzzed_settings.PROMPTS)
def test_any_prompt_file_is_read_or_refused(content: bytes) -> None:
    fuzzed_settings.check_prompt(content)


@many
@given(fuzzed_settings.PROFILES)
def test_any_profile_is_read_or_refused(text: str) -> None:
    fuzzed_settings.check_profile(text)
