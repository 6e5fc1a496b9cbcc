"""A copy of the library with everything that the book's pages on extending it add, as printed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from glyph_pictures import write_pictures

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "book").glob("extend*.md"))
TEXT = "\n".join(page.read_text("utf-8") for page in PAGES)
COPIED = ("dip_lib", "dip_study", "dip_book", "glyph_world", "benchmarks", "notebooks")
FILES = ("pyproject.toml", "book/claims.toml", "tests/conftest.py", "tests/few_glyphs.py")
LETTERS = ("small alpha", "small beta", "small gamma", "small delta")
WRITTEN = {
    "method-file": "dip_lib/methods/tether.py",
    "method-test": "tests/test_tether.py",
    "backbone-file": "small-world/small_world.py",
    "backbone-entry": "small-world/pyproject.toml",
    "dataset-profile": "letters.toml",
}
"""Block -> the file that the page says it is."""
PATCHES = ("method-line", "method-profile", "claim-entry")
SCRIPTS = ("method-runs", "dataset-runs", "backbone-runs", "claim-number", "claim-verdict")
COMMANDS = ("method-page", "dataset-pages")


def block(name: str) -> str:
    """The code block of the pages with this name."""
    found = re.findall(rf"```{{code-block}} \w+\n:name: {name}\n(.*?)\n```", TEXT, re.DOTALL)
    assert len(found) == 1, f"the pages have {len(found)} blocks {name}"
    return f"{found[0]}\n"


@dataclass(frozen=True)
class Extended:
    """The copy, where one works; its package is installed beside it, and its runs are its own."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, features: Path) -> Extended:
        """Write the blocks to their files, apply the diffs by git, install the package by pip.

        Its home takes image features from a folder that it shares with others.
        """
        ignored = shutil.ignore_patterns("__pycache__")
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        for name, place in WRITTEN.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_text(block(name), "utf-8")
        for name in FILES:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        write_pictures(folder / "letters", "greek", LETTERS)
        (folder / "home").mkdir()
        (folder / "home" / "features").symlink_to(features)
        made = cls(folder)
        for name in PATCHES:
            (folder / f"{name}.diff").write_text(block(name), "utf-8")
            # a copy below a repository must not be taken for a part of it
            made.run("git", "apply", f"{name}.diff", GIT_CEILING_DIRECTORIES=str(folder.parent))
        pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
        made.run(*pip, "--no-deps", "--no-build-isolation", "--target", "installed", "small-world/")
        return made

    def run(self, *words: str, **more: str) -> str:
        """What a program prints that works in the copy, with two workers."""
        here = os.pathsep.join(map(str, (self.folder, self.folder / "installed")))
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"PYTHONPATH": here, "PATH": programs, "DIP_HOME": str(self.folder / "home")}
        own |= {"DIP_WORKERS": "2", "DIP_RESULTS": str(ROOT / "results")}
        done = subprocess.run(
            words, cwd=self.folder, env=os.environ | own | more, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
        return done.stdout

    def write(self, name: str) -> str:
        """Save a printed script as a file; the file's name."""
        path = self.folder / f"{name.replace('-', '_')}.py"
        path.write_text(block(name), "utf-8")
        return path.name

    def script(self, name: str) -> list[list[str]]:
        """The cells of each line that a printed script prints, which is saved as a file first."""
        return cells(self.run(sys.executable, self.write(name)))

    def scripts(self, *names: str) -> dict[str, list[list[str]]]:
        """The same of several, one after another in one process, which has no workers."""
        files = map(self.write, names)
        said = self.run(sys.executable, "-c", ONE_BY_ONE, *files, DIP_WORKERS="1")
        return dict(zip(names, map(cells, said.split(END)), strict=False))


END = "---- end of a script\n"
ONE_BY_ONE = f"""
import runpy, sys
for path in sys.argv[1:]:
    runpy.run_path(path, run_name="__main__")
    print({END!r}, end="")
"""


def cells(said: str) -> list[list[str]]:
    """The cells of each line."""
    return [line.split(" | ") for line in said.splitlines()]
