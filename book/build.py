"""Run the notebooks and build the book: what make book, make site and make publish call.

    python book/build.py run --profile embedded --device cpu --notebook 02
    python book/build.py site
    python book/build.py publish --profile embedded-full

``run`` measures (papermill, results=fresh) into ``_build/run`` and builds the book from that.
``site`` builds it from the committed notebooks and numbers. ``publish`` measures every study's runs
that ``results/`` lacks or has from other code, then rewrites ``results/`` and the notebooks from
nothing but what it has just exported.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
import yaml
from execute import about, choose, execute, up_to_date

from dip_lib import paths
from dip_study.profiles import load_profile

PACKAGES = ("dip_lib", "dip_study", "dip_book", "glyph_world", "benchmarks")
"""What notebooks run."""


@dataclass(frozen=True)
class Layout:
    """Where a checkout (``root``) and its measurements (``home``) keep things."""

    root: Path
    home: Path

    def sources(self) -> dict[str, Path]:
        """The committed notebooks by name, in reading order."""
        return {path.stem: path for path in sorted((self.root / "notebooks").glob("*.ipynb"))}

    @property
    def executed(self) -> Path:
        return self.home / "notebooks"

    @property
    def html(self) -> Path:
        return self.root / "_build" / "html"


def stage(layout: Layout, notebooks: Iterable[Path], results: Iterable[Path]) -> Path:
    """Collect the sources of one book in a fresh folder and return it.

    Later ``notebooks``, and the files that pages wrote in later folders of ``results``, replace
    earlier ones of the same name.
    """
    site = layout.home / "site"
    shutil.rmtree(site, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__")
    for sources in ("book", "examples"):
        shutil.copytree(layout.root / sources, site / sources, ignore=ignore)
    (site / "notebooks").mkdir()
    for path in notebooks:
        shutil.copy(path, site / "notebooks" / path.name)
    for folder in results:
        keep(folder, site / "results")
    config = yaml.safe_load((layout.root / "_config.yml").read_text("utf-8"))
    if fresh := measured_here(site):
        config["html"]["announcement"] = f"Measured on this machine: notebooks {fresh}."
    (site / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    return site


def keep(folder: Path, target: Path) -> None:
    """Copy what pages have written in ``folder``: numbers for prose, data of figures."""
    for kind in ("numbers", "data"):
        if (folder / kind).is_dir():
            shutil.copytree(folder / kind, target / kind, dirs_exist_ok=True)


def measured_here(site: Path) -> str:
    """ "01, 02 (embedded)": the staged notebooks that ``run`` executed, by profile."""
    profiles: dict[str, list[str]] = {}
    for path in sorted(site.glob("notebooks/*.ipynb")):
        if fresh := nbformat.read(path, as_version=4).metadata.get("companion"):
            profiles.setdefault(fresh["profile"], []).append(path.stem.split("_")[0])
    return "; ".join(f"{', '.join(names)} ({profile})" for profile, names in profiles.items())


def build_html(layout: Layout, site: Path) -> None:
    """Build the book staged at ``site``; only one without warnings replaces ``_build/html``."""
    program = str(Path(sys.executable).with_name("jupyter-book"))
    where = ["--toc", "book/_toc.yml", "--path-output", "."]
    strict = ["-W", "-n", "--keep-going", "--quiet"]
    run = subprocess.run(
        [program, "build", ".", *where, *strict],
        cwd=site,
        stdout=subprocess.DEVNULL,  # it would name a folder that moves; warnings go to stderr
    )
    if run.returncode:
        sys.exit("the book has warnings (above); _build/html is unchanged")
    shutil.rmtree(layout.html, ignore_errors=True)
    layout.html.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(site / "_build" / "html", layout.html)
    print(f"The book is ready: {layout.html / 'index.html'}")


def site(layout: Layout) -> None:
    """Build the book from what is committed."""
    build_html(layout, stage(layout, layout.sources().values(), [layout.root / "results"]))


def measure(layout: Layout, profile: str, device: str, notebook: str = "") -> None:
    """Run the chosen notebooks with fresh results, but for those that would show the same."""
    code = [
        path
        for package in PACKAGES
        for path in (layout.root / package).rglob("*")
        if path.suffix in (".py", ".toml", ".json", ".safetensors")
    ]
    for source in choose(layout.sources(), notebook):
        worlds = about(source).get("worlds")
        if worlds and load_profile(profile).world not in worlds:
            print(f"{source.stem}: left out, it is about {' and '.join(worlds)}")
            continue
        target = layout.executed / source.name
        fresh = {"profile": profile, "device": device, "results": "fresh"}
        measured = (layout.home / "store").is_dir()  # whoever deletes the runs wants them anew
        if measured and up_to_date(target, fresh, [source, *code]):
            print(f"{source.stem}: up to date, nothing that it needs has changed")
        else:
            execute(source, target, fresh, layout.home)


def run(layout: Layout, profile: str, device: str, notebook: str) -> None:
    """Measure, and build the book from that; what was never measured here stays as committed."""
    measure(layout, profile, device, notebook)
    committed = layout.sources()
    fresh = [layout.executed / path.name for path in committed.values()]
    pages = [*committed.values(), *(path for path in fresh if path.is_file())]
    build_html(layout, stage(layout, pages, [layout.root / "results", layout.home]))


def publish(layout: Layout, profile: str, device: str) -> None:
    """Measure, export, and rewrite the committed notebooks and numbers from the export alone.

    Raises:
        SystemExit: ``profile`` is not the one the notebooks show by default.
    """
    sources = layout.sources().values()
    for source in sources:
        default = papermill.inspect_notebook(str(source))["profile"]["default"].strip("\"'")
        if default != profile:
            sys.exit(f"{source.name} shows profile {default!r}: publish that, not {profile!r}")
    where = {**os.environ, "DIP_HOME": str(layout.home)}
    for step in (["measure", "--device", device], ["export"]):
        command = [sys.executable, "-m", "dip_study.study", *step, "--profile", profile]
        subprocess.run(command, env=where, check=True)
    # an empty home: what is committed must be enough to make every figure again
    empty = layout.home / "publish"
    shutil.rmtree(empty, ignore_errors=True)
    for source in sources:
        execute(source, source, {}, empty)
    keep(empty, layout.root / "results")
    site(layout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "site", "publish"])
    parser.add_argument("--profile", default="embedded")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--notebook", default="", help="names or numbers, or all; default: the quick ones"
    )
    given = parser.parse_args()
    layout = Layout(Path(__file__).resolve().parents[1], paths.home())
    try:
        if given.command == "run":
            run(layout, given.profile, given.device, given.notebook)
        elif given.command == "publish":
            publish(layout, given.profile, given.device)
        else:
            site(layout)
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
