"""Run the notebooks and build the book: what make book, make site and make publish call.

    python book/build.py run --profile embedded,photos --device cpu --notebook 02
    python book/build.py site
    python book/build.py publish --profile embedded-full,photos-full

``run`` measures (papermill, results=fresh) into ``_build/run`` and builds the book from that; what
a notebook that was run by hand has written (``_build/run/reruns``) is none of the book's.
``site`` builds it from the committed notebooks and results, with the packages of
``requirements-site.lock`` alone: papermill and torch are imported by those who measure.
``publish`` measures every study's runs that ``results/`` lacks or has from other code, those of
visual prompts' tasks too, and what page 17 keeps, then rewrites ``results/`` and the notebooks from
nothing but what it has just exported.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml
from interrupt import without_ctrl_c

from dip_book.ask_the_data import write_pack
from dip_lib import paths
from dip_study.cli import INTERRUPTED

PACKAGES = ("dip_lib", "dip_study", "dip_book", "glyph_world", "photo_world", "benchmarks")
"""What notebooks run."""
SUMMARY = "summary.json"
"""What the book says of all runs and pages at once: see :mod:`dip_book.summary`."""
COVERAGE = "coverage.json"
"""How often the book's intervals hold the truth: see :mod:`dip_book.coverage`."""
RUNS = "runs.json"
"""Every committed run, for the page that asks them: see :mod:`dip_book.ask_the_data`."""


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


def stage(layout: Layout, measured: Sequence[Path] = ()) -> Path:
    """Collect the sources of one book in a fresh folder and return it.

    Each notebook in ``measured`` (in ``layout.executed``) replaces the committed one of its name,
    and what it wrote replaces the committed numbers and data of that page. The committed runs are
    packed for the page that asks them.
    """
    site = layout.home / "site"
    shutil.rmtree(site, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__")
    for sources in ("book", "examples"):
        shutil.copytree(layout.root / sources, site / sources, ignore=ignore)
    (site / "notebooks").mkdir()
    for path in (*layout.sources().values(), *measured):
        shutil.copy(path, site / "notebooks" / path.name)
    keep(layout.root / "results", site / "results", layout.sources())
    keep(layout.home / "results", site / "results", [path.stem for path in measured])
    write_pack(layout.root / "results", site / "results" / RUNS)
    config = yaml.safe_load((layout.root / "_config.yml").read_text("utf-8"))
    if fresh := measured_here(site):
        config["html"]["announcement"] = (
            f"This machine measured notebooks {fresh}; all other pages show the committed runs."
        )
    (site / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    return site


def keep(folder: Path, target: Path, pages: Iterable[str]) -> None:
    """Copy what pages have written in ``folder``: numbers for prose, data of figures; and what is
    said of all of them."""
    target.mkdir(parents=True, exist_ok=True)
    for page in pages:
        if (numbers := folder / "numbers" / f"{page}.json").is_file():
            (target / "numbers").mkdir(exist_ok=True)
            _keep_numbers(numbers, target / "numbers" / numbers.name)
        if (data := folder / "data" / page).is_dir():
            shutil.copytree(data, target / "data" / page, dirs_exist_ok=True)
    for name in (SUMMARY, COVERAGE):
        if (folder / name).is_file():
            shutil.copy(folder / name, target)


def _keep_numbers(source: Path, target: Path) -> None:
    """Copy a page's numbers; those of a further world ("photos/...") that it lacks stay as they
    are, since the page was measured without that world."""
    fresh = json.loads(source.read_text("utf-8"))
    earlier = json.loads(target.read_text("utf-8")) if target.is_file() else {}
    worlds = {entry["world"] for entry in fresh.values()}
    stay = {
        name: entry
        for name, entry in earlier.items()
        if "/" in name and entry["world"] not in worlds
    }
    text = json.dumps(dict(sorted((stay | fresh).items())), indent=1) + "\n"
    target.write_text(text, "utf-8")


def measured_here(site: Path) -> str:
    """ "01, 02 (embedded); 05 (profile smoke, 2 datasets: decides nothing)": the staged notebooks
    that ``run`` executed."""
    ways: dict[str, list[str]] = {}
    for path in sorted(site.glob("notebooks/*.ipynb")):
        about = nbformat.read(path, as_version=4).metadata
        if fresh := about.get("companion"):
            undecided = about.get("made", {}).get("undecided")
            way = f"{undecided}: decides nothing" if undecided else fresh["profile"]
            ways.setdefault(way, []).append(path.stem.split("_")[0])
    return "; ".join(f"{', '.join(names)} ({way})" for way, names in ways.items())


def build_html(layout: Layout, site: Path) -> None:
    """Build the book staged at ``site``; only one without warnings replaces ``_build/html``."""
    program = str(Path(sys.executable).with_name("jupyter-book"))
    where = ["--toc", "book/_toc.yml", "--path-output", "."]
    strict = ["-W", "-n", "--keep-going", "--quiet"]
    run = subprocess.run(
        [program, "build", ".", *where, *strict],
        cwd=site,
        preexec_fn=without_ctrl_c,
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
    build_html(layout, stage(layout))


def measure(layout: Layout, profile: str, device: str, notebook: str = "") -> None:
    """Run the chosen notebooks with fresh results, but for those that would show the same."""
    from execute import about, choose, execute, shown_profiles, up_to_date

    from dip_book.content import fingerprint

    code = [
        path
        for package in PACKAGES
        for path in (layout.root / package).rglob("*")
        if path.suffix in (".py", ".toml", ".json", ".safetensors")
    ]
    for source in choose(layout.sources(), notebook):
        needs = fingerprint([source, *code])
        if not (shown := shown_profiles(source, profile)):
            print(f"{source.stem}: left out, it is about {' and '.join(about(source)['worlds'])}")
            continue
        target = layout.executed / source.name
        fresh = {"profile": shown, "device": device, "results": "fresh"}
        measured = (layout.home / "store").is_dir()  # deleted runs are to be measured again
        if measured and up_to_date(target, fresh, needs):
            print(f"{source.stem}: up to date, nothing that it needs has changed")
        else:
            execute(source, target, fresh, layout.home, needs)


def run(layout: Layout, profile: str, device: str, notebook: str) -> None:
    """Measure, and build the book from that; what was never measured here stays as committed."""
    from dip_book.summary import write_summary

    measure(layout, profile, device, notebook)
    pages = {name: layout.executed / path.name for name, path in layout.sources().items()}
    results = layout.home / "results"
    written = {path.stem for path in (results / "numbers").glob("*.json")}
    whole = {name: path for name, path in pages.items() if path.is_file() and name in written}
    write_summary({**layout.sources(), **whole}.values(), results / SUMMARY)
    build_html(layout, stage(layout, [*whole.values()]))


def publish(layout: Layout, profile: str, device: str) -> None:
    """Measure, export, and rewrite the committed notebooks and numbers from the export alone.

    Raises:
        SystemExit: ``profile`` is not what the notebooks show by default.
    """
    import papermill
    from execute import execute, shown_profiles

    from dip_book.coverage import write_report
    from dip_book.measured_profiles import measured_profiles
    from dip_book.pages import invisible_kept
    from dip_book.summary import write_summary
    from dip_study.profiles import load_profile

    sources = layout.sources().values()
    for source in sources:
        default = papermill.inspect_notebook(str(source))["profile"]["default"].strip("\"'")
        if default != (wanted := shown_profiles(source, profile)):
            sys.exit(f"{source.name} shows profile {default!r}: publish that, not {wanted!r}")
    where = {**os.environ, "DIP_HOME": str(layout.home)}
    for each in measured_profiles(profile.split(",")):
        for step in (["measure", "--device", device], ["export"]):
            command = [sys.executable, "-m", "dip_study.cli", *step, "--profile", each]
            subprocess.run(command, env=where, check=True, preexec_fn=without_ctrl_c)
    invisible_kept.write(map(load_profile, profile.split(",")), device, layout.root / "results")
    # an empty home: what is committed must be enough to make every figure again
    empty = layout.home / "publish"
    shutil.rmtree(empty, ignore_errors=True)
    for source in sources:
        execute(source, source, {}, empty)
    keep(empty / "results", layout.root / "results", layout.sources())
    write_summary(sources, layout.root / "results" / SUMMARY)
    write_report(layout.root / "book" / "claims.toml", layout.root / "results")
    site(layout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "site", "publish"])
    parser.add_argument("--profile", default="embedded,photos", help="one, or one a world")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--notebook", default="", help="names or numbers, or all; default: the quick ones"
    )
    options = parser.parse_args()
    layout = Layout(Path(__file__).resolve().parents[1], paths.home())
    try:
        if options.command == "run":
            run(layout, options.profile, options.device, options.notebook)
        elif options.command == "publish":
            publish(layout, options.profile, options.device)
        else:
            site(layout)
    except ValueError as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # the command has said why
    except KeyboardInterrupt:
        print("interrupted; the same command resumes", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
