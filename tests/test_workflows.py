"""The workflows call only what exists, may do no more than they must, and report once."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_tooling import ROOT, targets

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WRITES = {
    "test": set[str](),
    "publish": {"contents", "pages", "id-token"},
    "weekly": {"issues"},
}
"""What each may change."""
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text("utf-8"))


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in load(path)["jobs"].values():
        yield from job["steps"]


@each_workflow
def test_every_command_exists(path: Path) -> None:
    lines = [line for step in steps(path) for line in step.get("run", "").splitlines()]
    assert lines
    for words in map(shlex.split, lines):
        if words[0] == "make":
            assert set(words[1:]) <= targets(), words
        elif words[0] not in ("git", "gh"):  # the services' own
            program = ROOT / words[0]
            assert program.parent == ROOT / ".ci"
            assert os.access(program, os.X_OK)
            subprocess.run(["bash", "-n", program], check=True)
        if words[:2] == ["git", "archive"]:
            assert all((ROOT / name).is_dir() for name in words[words.index("HEAD") + 1 :])


@each_workflow
def test_actions_are_pinned_by_major_version_and_write_only_what_they_must(path: Path) -> None:
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/[a-z-]+@v[0-9]+", action) for action in used)
    workflow = load(path)
    every = [
        workflow["permissions"],
        *(j.get("permissions", {}) for j in workflow["jobs"].values()),
    ]
    granted = [(name, right) for given in every for name, right in given.items()]
    assert {name for name, right in granted if right == "write"} == WRITES[path.stem]
    assert {right for _, right in granted} <= {"read", "write"}


def test_what_a_release_publishes_is_what_make_site_builds() -> None:
    paths = [s["with"]["path"] for s in steps(WORKFLOWS[0]) if "path" in s.get("with", {})]
    assert WORKFLOWS[0].stem == "publish"
    assert paths == ["_build/html"]
    assert '"_build" / "html"' in (ROOT / "book" / "build.py").read_text("utf-8")


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{text}")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("issues", "opened"),
    [
        ("echo It breaks; echo Another", False),
        ("echo It breaks in another way", True),
        ("true", True),
        ("exit 4", False),
    ],
)
def test_an_issue_is_opened_once(tmp_path: Path, issues: str, opened: bool) -> None:
    # a gh that lists these issues and keeps what it was told to open
    service = f'case "$2" in list) {issues};; create) printf "%s\\n" "$@" >{tmp_path}/new;; esac\n'
    program(tmp_path / "bin" / "gh", service)
    path = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    command = [str(ROOT / ".ci" / "report"), "It breaks", "text.md"]
    done = subprocess.run(command, env=path, capture_output=True, text=True)
    assert done.returncode == (4 if issues == "exit 4" else 0)
    assert (tmp_path / "new").exists() == opened
    if opened:
        told = (tmp_path / "new").read_text().splitlines()
        assert told == ["issue", "create", "--title", "It breaks", "--body-file", "text.md"]


# Stands for the fresh environment: says how it was called, and fails where it is told to.
PYTHON = """case "$*" in
-m\\ venv*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python";;
*freeze*) echo newest==1.0;;
*{fails}*) echo "ValueError: changed" >&2; exit 1;;
-m\\ papermill*) echo "$DIP_HOME $*" >>"{calls}";;
esac
"""


@pytest.mark.parametrize(
    ("fails", "broken"),
    [
        ("nothing", []),
        ("02_b.ipynb*smoke", ["02_b, smoke", "Packages"]),
        ("02_b.ipynb*", ["02_b, opened", "02_b, smoke", "Packages"]),
        ("pip?install", ["the installation", "Packages"]),
    ],
)
def test_the_weekly_run_tries_every_notebook_and_says_what_broke(
    tmp_path: Path, fails: str, broken: list[str]
) -> None:
    calls = tmp_path / "calls"
    calls.touch()
    program(tmp_path / "bin" / "python3", PYTHON.format(fails=fails, calls=calls))
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "weekly", tmp_path / ".ci")
    (tmp_path / "notebooks").mkdir()
    for name in ("01_a", "02_b"):
        (tmp_path / "notebooks" / f"{name}.ipynb").touch()
    path = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        [str(tmp_path / ".ci" / "weekly")], env=path, capture_output=True, text=True
    )
    assert done.returncode == bool(broken), done.stderr
    report = tmp_path / "_build" / "weekly" / "report.md"
    assert re.findall("^## (.+)$", done.stdout, re.MULTILINE) == broken
    assert report.exists() == bool(broken)
    if broken:
        assert "ValueError: changed" in report.read_text()
        assert "newest==1.0" in report.read_text()
    ran = calls.read_text().splitlines()
    weekly = tmp_path / "_build" / "weekly"
    wanted = [
        f"{weekly}/{way} -m papermill {tmp_path}/notebooks/{name}.ipynb {name}-{way}.ipynb "
        f"--no-progress-bar{' -p profile smoke -p results fresh' if way == 'smoke' else ''}"
        for name in ("01_a", "02_b")
        for way in ("opened", "smoke")
        if f"{name}, {way}" not in broken and broken[:1] != ["the installation"]
    ]
    assert ran == wanted
