"""The directive ``{status}``: when, where and from what every page was made, and what is stale.

What it says of runs and pages was computed by :mod:`dip_book.summary`; it is only read here, since
computing it needs the whole library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from packaging.requirements import Requirement
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from dip_book.code import code_digest
from dip_lib.errors import one_of
from dip_lib.paths import results_dir, root

from .gallery import title
from .templates import html

logger = logging.getLogger(__name__)
STATES = {
    "current": ("✓", "reproduced"),
    "stale": ("✗", "not-reproduced"),
    "incomplete": ("~", "inconclusive"),
    "not recorded": ("○", "not-measured"),
}
"""State of a page or a study -> its sign, and the verdict whose colour it has."""


def summary_of(env: BuildEnvironment) -> dict[str, Any]:
    """The summary of the book that is built; the page that asks depends on it.

    Raises:
        OSError, ValueError: there is none, or it is no JSON.
    """
    path = Path(env.srcdir) / "results" / "summary.json"
    env.note_dependency(str(path))
    return dict(json.loads(path.read_text("utf-8")))


def outdated(summary: Mapping[str, Any]) -> bool:
    """Whether the summary was computed with other code than the checkout has now."""
    checkout = root()
    return checkout is not None and summary["code"] != code_digest(checkout)


def spent(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def row(
    about: Mapping[str, Any], name: str, link: str, runs: int, state: str, why: str
) -> dict[str, Any]:
    """A row of the table of pages or studies."""
    sign, colour = STATES[state]
    cells = {"title": name, "link": link, "runs": runs, "state": state, "why": why}
    made = {"spent": spent(about.get("seconds", 0)), "dates": about.get("dates", ())}
    return cells | made | {"sign": sign, "colour": colour}


def study_row(about: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a study of the summary: current, incomplete or stale."""
    asked, measured, old = (about[name] for name in ("asked", "measured", "old"))
    state, why = "current", ""
    if old:
        state = "stale"
        why = f"{old} of {about['committed']} runs have earlier code, data or settings"
    elif measured < asked:
        state, why = "incomplete", f"{measured} of {asked} runs are measured"
    name = f"{about['name'].replace('_', ' ')}, {about['world']}"
    return row(about, name, "", measured, state, why)


def page_row(about: Mapping[str, Any], name: str, link: str) -> dict[str, Any]:
    """The row of a page of the summary, by its title and address."""
    reasons = about.get("stale")
    state = "not recorded" if reasons is None else "stale" if reasons else "current"
    return row(about, name, link, about.get("runs", 0), state, "; ".join(reasons or ()))


def benchmark_row(path: Path) -> dict[str, str]:
    machine = json.loads(path.read_text("utf-8"))["machine"]
    place = machine["cpu"] if machine["device"] == "cpu" else machine["device"]
    where = f"{place}, {machine['threads']} thread"
    return {"name": path.stem, "date": machine["date"], "where": where, "torch": machine["torch"]}


def locked(lock: Path) -> dict[str, str]:
    """The version of each package that a lock file installs here."""
    lines = (line for line in lock.read_text("utf-8").splitlines() if not line.startswith("#"))
    pins = [Requirement(line) for line in lines if line.strip()]
    here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    return {pin.name.replace("-", "_"): str(pin.specifier).lstrip("=") for pin in here}


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
            return [tables[one_of("status table", self.arguments[0], tables)]()]
        except (OSError, ValueError, KeyError) as error:
            logger.warning("status: %s", error, location=self.get_location())
            return []

    def notebooks(self) -> nodes.Node:
        summary, rows = summary_of(self.env), []
        made = {about["name"]: about for about in summary["pages"]}
        for page in sorted(p for p in self.env.found_docs if p.startswith("notebooks/")):
            path = Path(self.env.srcdir) / f"{page}.ipynb"
            self.env.note_dependency(str(path))
            link = self.env.app.builder.get_relative_uri(self.env.docname, page)
            name = title(json.loads(path.read_text("utf-8")))
            rows.append(page_row(made.get(path.stem, {}), name, link))
        return html("status.html", first="Page", rows=rows, outdated=outdated(summary))

    def studies(self) -> nodes.Node:
        summary = summary_of(self.env)
        rows = [study_row(about) for about in summary["studies"]]
        return html("status.html", first="Study", rows=rows, outdated=outdated(summary))

    def benchmarks(self) -> nodes.Node:
        paths = sorted((results_dir() / "benchmarks").glob("*.json"))
        return html("benchmarks.html", rows=[benchmark_row(path) for path in paths])

    def packages(self) -> nodes.Node:
        summary, checkout = summary_of(self.env), root()
        pins = locked(checkout / "requirements.lock") if checkout else {}
        tables = {name: summary[name] for name in ("machines", "packages")}
        return html("packages.html", locked=pins, **tables)
