"""The directive ``{status}``: when, where and from what every page was made, and what is stale.

A study is *stale* when it has committed runs that the present code no longer asks for: a run is
named by the hash of its recipe and all its settings, weights and data included. For a page see
:mod:`dip_study.provenance`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from dip_lib.errors import one_of
from dip_lib.paths import home, results_dir
from dip_lib.store import Store
from dip_study.profiles import load_profile
from dip_study.provenance import stale
from dip_study.study import STUDIES

from .gallery import title

logger = logging.getLogger(__name__)
PUBLISHED = "embedded-full"
"""The profile of the committed runs."""
STATES = {
    "current": ("✓", "reproduced"),
    "stale": ("✗", "not-reproduced"),
    "incomplete": ("~", "inconclusive"),
    "not recorded": ("○", "not-measured"),
}
"""What is said of a page or a study: its sign, and the verdict whose colour it has."""
Row = Sequence[str]


def days(dates: Iterable[str]) -> str:
    """ "2026-11-21", or the first and the last of several."""
    first, *more = sorted(set(dates)) or [""]
    return f'<span class="line">{first}</span>' + (f" to {more[-1]}" if more else "")


def spent(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def state(kind: str, why: str = "") -> str:
    """ "current", "stale", "incomplete" or "not recorded", and why."""
    sign, colour = STATES[kind]
    return f'<span class="line {colour}">{sign} {kind}</span>{": " if why else ""}{escape(why)}'


def table(head: Row, rows: Iterable[Row]) -> str:
    """Cells are HTML; on a narrow screen each row becomes a card."""
    top = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>'
        + "".join(
            f'<td data-label="{name}"{"" if cell else " class=none"}>{cell or "&mdash;"}</td>'
            for name, cell in zip(head[1:], rest, strict=True)
        )
        + "</tr>"
        for first, *rest in rows
    )
    return f'<table class="cards"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def committed(folder: Path) -> Store:
    """The runs of the exports in ``folder``, and no live ones."""
    return Store(home() / "no live runs", sorted(folder.glob("*.json")))


def study_row(name: str, folder: Path, store: Store) -> Row:
    """A study's committed runs, their seconds, days and state; ``store`` reads ``folder``."""
    wanted = {run.key(): run for run in STUDIES[name](load_profile(PUBLISHED))}
    found = [record for run in wanted.values() if (record := store.get(run))]
    path = folder / f"{name}.json"
    rows = json.loads(path.read_text("utf-8"))["runs"] if path.is_file() else []
    if old := sum(row["key"] not in wanted for row in rows):
        said = state("stale", f"{old} of {len(rows)} runs have earlier code, data or settings")
    elif len(found) < len(wanted):
        said = state("incomplete", f"{len(found)} of {len(wanted)} runs are measured")
    else:
        said = state("current")
    return (
        escape(name.replace("_", " ")),
        f"{len(found):,}",
        spent(sum(record["seconds"] for record in found)) if found else "",
        days(record["finished_at"][:10] for record in found),
        said,
    )


def notebook_row(path: Path, link: str) -> Row:
    """The row of one executed notebook; ``link`` is the address of its page."""
    notebook = json.loads(path.read_text("utf-8"))
    name = f'<a href="{escape(link)}">{escape(title(notebook))}</a>'
    made = notebook["metadata"].get("made")
    if made is None:
        return name, "", "", "", state("not recorded")
    runs, reasons = made.get("runs", 0), stale(made, notebook["cells"])
    return (
        name,
        f"{runs:,}" if runs else "",
        spent(made["seconds"]) if runs else "",
        days(made.get("dates", ())) if runs else "",
        state("stale", "; ".join(reasons)) if reasons else state("current"),
    )


def benchmark_rows(folder: Path) -> Iterable[Row]:
    for path in sorted(folder.glob("*.json")):
        machine = json.loads(path.read_text("utf-8"))["machine"]
        where = machine["cpu"] if machine["device"] == "cpu" else machine["device"]
        yield (
            f"<code>benchmarks/{escape(path.stem)}.py</code>",
            escape(machine["date"]),
            escape(f"{where}, {machine['threads']} thread"),
            escape(machine["torch"]),
        )


def package_rows(records: Iterable[Mapping[str, Any]]) -> Iterable[Row]:
    """The versions that the runs were made with, beside those that built this book."""
    used: dict[str, set[str]] = {}
    for record in records:
        for name, found in record["versions"].items():
            used.setdefault(name, set()).add(found)
    for name, versions in used.items():
        try:
            here = python_version() if name == "python" else version(name)
        except PackageNotFoundError:
            here = ""
        yield escape(name), escape(", ".join(sorted(versions))), escape(here)


class Status(SphinxDirective):
    """One table, by the argument: notebooks, studies, benchmarks or packages."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        tables = {
            "notebooks": self.notebooks,
            "studies": self.studies,
            "benchmarks": self.benchmarks,
            "packages": self.packages,
        }
        try:
            html = tables[one_of("status table", self.arguments[0], tables)]()
        except (OSError, ValueError, KeyError) as error:
            logger.warning("status: %s", error, location=self.get_location())
            return []
        return [nodes.raw("", html, format="html")]

    def notebooks(self) -> str:
        found = sorted(page for page in self.env.found_docs if page.startswith("notebooks/"))
        uri = self.env.app.builder.get_relative_uri
        files = {page: Path(self.env.srcdir) / f"{page}.ipynb" for page in found}
        for path in files.values():
            self.env.note_dependency(str(path))
        rows = [notebook_row(files[page], uri(self.env.docname, page)) for page in found]
        return table(("Page", "Runs", "Time of one core", "Measured", "State"), rows)

    def studies(self) -> str:
        folder = results_dir() / PUBLISHED
        store = committed(folder)
        rows = [study_row(name, folder, store) for name in STUDIES]
        return table(("Study", "Runs", "Time of one core", "Measured", "State"), rows)

    def benchmarks(self) -> str:
        rows = benchmark_rows(results_dir() / "benchmarks")
        return table(("Benchmark", "Measured", "On", "torch"), rows)

    def packages(self) -> str:
        records = committed(results_dir() / PUBLISHED).committed.values()
        machines = sorted({f"{m['cpu']}, {m['device']}" for m in (r["machine"] for r in records)})
        where = f"<p>Runs were measured on: {escape('; '.join(machines))}.</p>"
        return where + table(("Package", "In the runs", "In this build"), package_rows(records))
