"""What every notebook of the book does: check its parameters, collect runs, say what they cost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import torch
from IPython.display import Markdown, display

from dip_book import plots
from dip_book.benchmark_results import benchmark_result
from dip_book.claims import CLAIMED, FEWEST
from dip_book.content import BOOK
from dip_book.frame import compact, frame, stopped_runs
from dip_book.interval import Interval
from dip_book.number import entry
from dip_book.others import as_text, shared
from dip_book.parameters import Parameters, read, undecided
from dip_lib.files import write_atomic
from dip_lib.methods.vpt import VPT
from dip_lib.paths import home
from dip_lib.training.run import Run
from dip_study import study
from dip_study.profiles import Profile, load_profile
from dip_study.provenance import provenance

Record = dict[str, Any]
Table: TypeAlias = "pd.DataFrame | Mapping[str, Interval]"
"""What a figure draws: a table with an index, a frame of runs, or intervals by name."""


@dataclass(frozen=True)
class Page:
    """A notebook while it runs: its parameters and profile, its store, and the records it read.

    A page may show several worlds; then it has a ``Page`` for each (:attr:`worlds`), which share
    what they read and write, and is itself that of the first.
    """

    name: str
    profile: Profile
    parameters: Parameters
    used: dict[str, Record] = field(default_factory=dict)
    entries: dict[str, Record] = field(default_factory=dict)

    @property
    def world(self) -> str:
        """The world's name, as readers know it."""
        return self.profile.world

    @property
    def worlds(self) -> tuple[Page, ...]:
        """The page in each world that it shows, this one's first."""
        return tuple(replace(self, profile=each) for each in self.parameters.profiles)

    @property
    def further(self) -> tuple[Profile, ...]:
        """The profiles whose tasks for visual prompts are shown beside the page's own runs."""
        return tuple(map(load_profile, self.profile.tasks_of))

    @property
    def asked(self) -> str:
        return self.parameters.asked

    @property
    def device(self) -> str:
        return self.parameters.device

    @property
    def results(self) -> str:
        return self.parameters.results

    @property
    def folder(self) -> Path:
        """Where the page's numbers and data go: of the book's own run where the book says, of any
        other a folder that no run with other parameters shares."""
        book = os.environ.get(BOOK)
        return Path(book) if book else home() / "reruns" / f"{self.name}-{self.parameters.key}"

    def collect(self, runs: Iterable[Run]) -> pd.DataFrame:
        """The runs, each once, stored or measured now, as a tidy frame.

        Their records stay in ``used``. Of runs that stopped the page says how many and why; no
        average or figure has them.
        """
        return self._frame(runs, self.profile, self.device, self.results)

    def stored(self, runs: Iterable[Run], profile: Profile) -> pd.DataFrame:
        """Runs of a profile that is not the page's, in the same form. They are never measured.

        Raises:
            NotMeasuredError: runs are missing, with the command that measures them.
        """
        return self._frame(runs, profile, self.device, "stored")

    def _frame(
        self, runs: Iterable[Run], profile: Profile, device: str, results: str
    ) -> pd.DataFrame:
        records = study.collect(list(dict.fromkeys(runs)), profile, device, results)
        self.used.update((record["key"], record) for record in records)
        runs_table = frame(records)
        if line := stopped_runs(runs_table):
            self.say(line)
        return runs_table

    def say(self, text: str) -> None:
        """Show a line of Markdown; the book and the notebook render it alike."""
        display(Markdown(text))

    def table(self, table: pd.DataFrame) -> None:
        """Show a table, or that there is nothing yet to stand in it."""
        if table.empty:
            self.say("*Not measured yet.*")
        else:
            display(table)

    def protocol(self) -> None:
        """Show the settings that all runs of the profile share."""
        for p in self.parameters.profiles:
            self.say(
                f"*Profile* `{p.name}`: {p.world}, {p.backbone}, {p.shots} images a class, "
                f"{p.epochs} epochs, batch {p.batch}, learning rate {p.lr:g}, momentum "
                f"{p.momentum:g}, weight decay {p.weight_decay:g}, {p.views} augmented views of "
                f"each training image, {len(p.seeds)} seeds."
            )

    @property
    def command(self) -> str:
        """The command that makes this page again."""
        return self.parameters.command(self.name)

    def made_now(self, what: str) -> None:
        """The line under a figure that every run of the page makes anew, without stored runs."""
        plots.show()  # the figures of this cell first
        where = " and ".join(profile.world for profile in self.parameters.profiles)
        self.say(f"*{where} · {what} · re-run:* `{self.command}`")

    def cost(self, runs: pd.DataFrame, rerun: str = "", **drawn: Table) -> None:
        """The lines under a figure: worlds, runs, seconds, hardware and the exact command; then the
        CSV file of each table that it draws, by name (see :meth:`data`). Nothing without runs.

        Args:
            rerun: the command that measures the runs, where it is not that of the page.
        """
        plots.show()  # the figures of this cell first
        if runs.empty:
            return
        once = runs.drop_duplicates("key")
        machines, seconds = sorted(map(as_text, set(once["machine"]))), once["seconds"].sum()
        spent = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
        self.say(
            f"*{' and '.join(self._worlds_of(once))} · {len(once)} runs · {spent} of one core · "
            f"{'; '.join(machines)} · re-run:* `{rerun or self.command}`"
        )
        known = [self.used[key] for key in once["key"] if key in self.used]
        if origin := shared(known):
            self.say(f"*Measured by others, and taken in:* {as_text(origin)}.")
        for name, table in drawn.items():
            self.data(name, table)

    def _worlds_of(self, runs: pd.DataFrame) -> list[str]:
        """The worlds of the page that have some of the runs; of further profiles, else."""
        shown = set(runs["backbone"])

        def of(profiles: Sequence[Profile]) -> list[str]:
            return [*dict.fromkeys(p.world for p in profiles if shown & _towers(p))]

        return of(self.parameters.profiles) or of(self.further)

    def benchmark(self, name: str) -> Record:
        """What ``benchmarks/<name>.py`` measured (:func:`benchmark_result`). The profile smoke has
        its own, which measure nothing."""
        return benchmark_result(name, self.device, self.results, self.profile.name == "smoke")

    def measured(self, result: Record, **drawn: Table) -> None:
        """The lines under a benchmark's figure, as :meth:`cost` has them for runs."""
        plots.show()  # the figures of this cell first
        machine = result["machine"]
        where = machine["cpu"] if machine["device"] == "cpu" else machine["device"]
        nothing = " · **no measurement**" if "no_measurement" in result else ""
        self.say(
            f"*{where}, {machine['threads']} thread · torch {machine['torch']} · "
            f"{machine['date']}{nothing} · re-run:* `python benchmarks/{result['benchmark']}.py`"
        )
        for name, table in drawn.items():
            self.data(name, table)

    def numbers(
        self,
        values: Mapping[str, Interval | float | int | str],
        *,
        n: Mapping[str, int] | None = None,
    ) -> None:
        """Write the page's numbers, for prose and claims, to ``numbers.json`` in its folder.

        Those of the page's first world have plain keys; each further world, of which this is the
        page, has its own before them: "photos/dip_minus_coop_h".

        An interval keeps its units and what they could have found, and its ends over these
        datasets. ``n`` says how many units one rests on that has none, where that is not the number
        of datasets.
        """
        world = CLAIMED.get(self.world, self.world)
        first = self.world == self.parameters.profile.world
        mark = self._mark()
        for key, value in values.items():
            kept = entry(value, (n or {}).get(key, len(self.profile.datasets)))
            self.entries[key if first else f"{world}/{key}"] = kept | {"world": world} | mark
        made = provenance([*self.used.values()], self.asked) | mark
        for name, what in (("numbers", self.entries), ("made", made)):
            text = json.dumps(what, indent=1, sort_keys=True) + "\n"
            write_atomic(self.folder / f"{name}.json", text.encode())

    def _mark(self) -> dict[str, str]:
        """What is written beside numbers: why they are no evidence for a claim, and which of the
        runs of this world came with a share."""
        towers, used = _towers(self.profile), self.used.values()
        own = [each for each in used if each["run"]["tower"]["backbone"] in towers]
        said = {"undecided": undecided(self.profile), "shared": shared(own)}
        return {name: text for name, text in said.items() if text}

    def data(self, name: str, values: Table) -> None:
        """Write what a figure draws to ``data/<name>.csv`` in the page's folder; link it below."""
        plots.show()  # the figures of this cell first
        if isinstance(values, Mapping):
            values = pd.DataFrame({key: each.columns for key, each in values.items()}).T
        table = compact(values) if "key" in values else values
        text = table.to_csv(float_format="%.6g", lineterminator="\n")
        path = self.folder / "data" / f"{name}.csv"
        write_atomic(path, text.encode())
        if BOOK in os.environ:  # which puts it there
            self.say(f"*Data of the figure:* [{name}.csv](../results/data/{self.name}/{name}.csv)")
        else:  # the place of the output notebook is not known, and not every viewer opens files
            self.say(f"*Data of the figure:* [{name}.csv]({path.as_uri()}), `{path}`")


def _towers(profile: Profile) -> set[str]:
    """The backbones of a profile's runs."""
    visual = profile.values(VPT, "")["backbone"]
    return {*profile.towers, visual, profile.judge.get("tower", visual)}


def begin(name: str, parameters: Mapping[str, Any]) -> Page:
    """Check the parameters of a notebook and set the figures' style.

    Args:
        name: the notebook's name.
        parameters: the notebook's ``globals()`` in the cell after the parameters.

    Raises:
        ValueError: an unknown parameter, profile, dataset, device or source of results, each with
            the nearest valid names; seeds or epochs that are not whole numbers.
    """
    checked = read(parameters)
    if checked.profile.world != "photos":
        torch.set_num_threads(1)  # as fast for models this small, and no waiting on busy cores
    plots.use_style()
    page = Page(name, checked.profile, checked)
    reasons = [reason for profile in checked.profiles if (reason := undecided(profile))]
    if reasons:
        page.say(
            f"**This page decides nothing:** {'; '.join(reasons)}, and an interval over fewer than "
            f"{FEWEST} datasets tells little."
        )
    return page
