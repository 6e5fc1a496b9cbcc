"""Every figure of README comes from ``results/``: none is there that the results do not give."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = " ".join((ROOT / "README.md").read_text("utf-8").split())
BLOCKS = r"```.*?```|`[^`]*`|\]\([^)]*\)|arXiv:[\d.]+"
"""Code, the addresses of links and the paper's number: what is no prose."""
NAMES = (
    "Python 3.11",
    "Python 3.12 and 3.13",
    "x86-64",
    "arm64",
    "Apache-2.0",
    "all 77 tokens",  # CLIP's context length
)
"""Digits in prose that measure nothing."""


def results(name: str) -> Any:
    return json.loads((ROOT / "results" / name).read_text("utf-8"))


def spent(seconds: float) -> str:
    """ "18 s", "11 min", "1 h 27 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def size(megabytes: float) -> str:
    """ "220 MB", "6.3 GB"."""
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{round(megabytes, -1):.0f} MB"


def times() -> str:
    """The table of times as README has it."""
    head = ["| command | | time | on |", "|---|---|---|---|"]
    rows = [
        f"| `{each['command']}` | {each['what']} | {spent(each['seconds'])} "
        f"| {each['machine']}, {each['date']} |"
        for each in results("times.json")
    ]
    return "\n".join(head + rows)


def facts() -> list[str]:
    """Every phrase of README's prose that holds a measured figure, made of the results."""
    cost = {name: entry["text"] for name, entry in results("numbers/04_cost.json").items()}
    cpu = results("benchmarks/text_step.json")["machine"]["cpu"].rsplit(",", 1)[0]
    trainable = results("numbers/03_base_to_new.json")["trainable_4_512_1"]["value"]
    (page,) = (each for each in results("summary.json")["pages"] if each["name"][:2] == "03")
    full, site = (
        next(each["megabytes"] for each in results("times.json") if each["command"] == command)
        for command in ("make .venv/.installed", "make site")
    )
    return [
        f"`.venv` takes about {size(full)} on disk, `.venv-site` {size(site)}.",
        f"The file holds about {4 * trainable / 1000:.0f} kB",  # in float32
        f"with {cost['classes']} classes {cost['time']} times less time and {cost['memory']} times "
        f"less memory than all 77 tokens of every class take, on an {cpu} (",
        f"One run of the base-to-new page takes {page['seconds'] / page['runs']:.1f} s of one core",
    ]


@pytest.mark.parametrize("fact", facts())
def test_a_figure_is_what_the_results_say(fact: str) -> None:
    assert fact in README


def test_the_times_are_those_that_were_kept() -> None:
    assert times() in (ROOT / "README.md").read_text("utf-8"), f"README should have:\n{times()}"


def test_no_other_figure_is_in_the_prose() -> None:
    rest = README.replace(" ".join(times().split()), "")
    for known in (*facts(), *NAMES):
        rest = rest.replace(known, "")
    rest = re.sub(BLOCKS, "", rest)
    assert not re.findall(r".{0,30}\d.{0,30}", rest)
