"""Prompt files and profiles that nobody would write on purpose: read, or refused by ValueError."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from safetensors.torch import save

from dip_lib.prompt import load_prompt, save_prompt
from dip_study.profiles import FOLDER, Profile, load_profile
from dip_study.runs import coop, zero_shots

# ---- prompt files -------------------------------------------------------------------------------

P0 = torch.linspace(-1, 1, 4 * 8).view(4, 8)


def _sound() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompt.safetensors"
        save_prompt(path, torch.ones(4, 1), torch.ones(1, 8), "a photo of a", P0)
        return path.read_bytes()


SOUND = _sound()


def _changed(places: list[tuple[int, int]], end: int) -> bytes:
    """The sound file with bytes changed, and cut."""
    data = bytearray(SOUND)
    for place, value in places:
        data[place % len(data)] = value
    return bytes(data[: len(data) - end % len(data)])


SHAPES = st.lists(st.integers(0, 9), max_size=3).map(tuple)
DTYPES = st.sampled_from([torch.float32, torch.float16, torch.int64, torch.bool])
TENSORS = st.builds(lambda shape, dtype: torch.ones(shape).to(dtype), SHAPES, DTYPES)
ABOUT = st.dictionaries(st.sampled_from(["words", "p0_sha256", "backbone"]), st.text(max_size=9))
SAVED = st.builds(
    lambda tensors, about: save(tensors, metadata=about or None),
    st.dictionaries(st.sampled_from(["A", "B", "C"]), TENSORS, max_size=3),
    ABOUT,
)
"""Files of safetensors with other tensors and other words about them."""


def _with_sound_words(a: Any, b: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompt.safetensors"
        save_prompt(path, a, b, "a photo of a", P0)
        return path.read_bytes()


PROMPTS = st.one_of(
    st.binary(max_size=80),
    st.builds(
        _changed,
        st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
        st.one_of(st.just(0), st.integers(0, 10**6)),
    ),
    SAVED,
    st.builds(_with_sound_words, TENSORS, TENSORS),
)


def check_prompt(content: bytes) -> None:
    """A prompt file gives prompts of P0's shape, one for all or for each class, or is refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompt.safetensors"
        path.write_bytes(content)
        try:
            prompt = load_prompt(path, P0)
        except ValueError:
            return
    assert prompt.shape[-2:] == P0.shape and prompt.numel() and prompt.dtype == torch.float32


# ---- profiles -----------------------------------------------------------------------------------

LINES = (FOLDER / "smoke.toml").read_text("utf-8").splitlines()
KEYS = [line.partition(" = ")[0] for line in LINES if " = " in line and line[0] != "#"]
SCALARS = st.one_of(
    st.integers(-3, 10**20).map(str),
    st.sampled_from(["nan", "inf", "-0.5", "1e-3", "true", '""', '"greek"', '"glyph-vit"', "[]"]),
    st.text("ab é\\n", max_size=5).map(lambda text: f'"{text}"'),
)
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3).map(lambda each: f"[{', '.join(each)}]"),
    st.lists(SCALARS, max_size=2).map(
        lambda each: f"{{{', '.join(f'a{i} = {v}' for i, v in enumerate(each))}}}"
    ),
)
CHANGES = st.lists(st.tuples(st.sampled_from(KEYS), st.one_of(VALUES, st.none())), max_size=3)
"""Keys of the profile ``smoke`` with another value, or without any."""
HEADS = st.sampled_from(
    [
        "",
        "like = 'smoke'",
        "like = 'smok'",
        "like = 7",
        "like = ['smoke']",
        "[folders]\na = 1",
        "x = 1",
    ]
)


def _profile(changes: list[tuple[str, str | None]]) -> str:
    lines = list[str]()
    for line in LINES:
        key = line.partition(" = ")[0]
        given = [value for name, value in changes if name == key]
        if not given:
            lines.append(line)
        elif given[-1] is not None:
            lines.append(f"{key} = {given[-1]}")
    return "\n".join(lines)


PROFILES = st.one_of(
    st.builds(_profile, CHANGES),
    st.builds(
        lambda head, line: f"{head}\n{line}",
        HEADS,
        st.builds("{} = {}".format, st.sampled_from(KEYS), VALUES),
    ),
    st.text(max_size=40),
)


def check_profile(text: str) -> None:
    """A profile is read and its runs can be named, or it is refused by ValueError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.toml"
        path.write_bytes(text.encode("utf-8", "replace"))
        try:
            profile = load_profile(str(path))
            runs = [*coop(profile, fingerprint=""), *zero_shots(profile, fingerprint="")]
        except ValueError:
            return
    assert isinstance(profile, Profile)
    assert all(run.data.dataset in profile.datasets for run in runs)
