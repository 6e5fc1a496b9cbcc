"""What every notebook of the book does: check its parameters, collect runs, say what they cost."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import pandas as pd
import torch
from IPython.display import Markdown, display

from dip_book import plots
from dip_book.frame import compact, frame
from dip_book.statistics import Interval
from dip_lib.errors import one_of
from dip_lib.files import write_atomic
from dip_lib.loading import check_device
from dip_lib.paths import home, results_dir, root
from dip_lib.spec import RunSpec
from dip_study import study
from dip_study.profiles import Profile, load_profile
from dip_study.provenance import provenance

PARAMETERS = ("profile", "datasets", "seeds", "epochs", "device", "results")
# names that a fresh kernel defines by itself
KERNEL = {"In", "Out", "exit", "quit", "open", "get_ipython", "begin"}

Record = dict[str, Any]
Table: TypeAlias = "pd.DataFrame | Mapping[str, Interval]"
"""What a figure draws: a table with an index, a frame of runs, or intervals by name."""


def _items(name: str, value: Any) -> list[Any]:
    """A list parameter: a list, JSON text, comma text, or one item."""
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                return list(json.loads(text))
            except json.JSONDecodeError as error:
                raise ValueError(f"{name}={value!r} is not a JSON list: {error}") from error
        return [part.strip() for part in text.split(",") if part.strip()]
    return list(value) if isinstance(value, list | tuple) else [value]


def _whole(items: list[Any], least: int) -> tuple[int, ...]:
    """The items as whole numbers, each once; () when one is no whole number from ``least`` on."""
    texts = [str(item).strip() for item in items]
    sound = all(text.isdecimal() and int(text) in range(least, 2**63) for text in texts)
    return tuple(dict.fromkeys(map(int, texts))) if sound else ()


@dataclass(frozen=True)
class Page:
    """One notebook at work: its profile (and how it was asked for), its results, what it used."""

    name: str
    profile: Profile
    asked: str
    device: str
    results: str
    used: dict[str, Record] = field(default_factory=dict)

    def collect(self, specs: Iterable[RunSpec]) -> pd.DataFrame:
        """The runs of ``specs``, each once, stored or measured now, as a tidy frame.

        Their records stay in ``used``.
        """
        each_once = list(dict.fromkeys(specs))
        records = study.collect(each_once, self.profile, self.device, self.results)
        self.used.update((record["key"], record) for record in records)
        return frame(records)

    def say(self, text: str) -> None:
        """Show a line of Markdown; the book and the notebook render it alike."""
        display(Markdown(text))

    def protocol(self) -> None:
        """Say what the profile fixes for every run; its file says what differs for a method."""
        p = self.profile
        self.say(
            f"*Profile* `{p.name}`: {p.world}, {p.backbone}, {p.shots} images a class, {p.epochs} "
            f"epochs, batch {p.batch}, learning rate {p.lr:g}, momentum {p.momentum:g}, weight "
            f"decay {p.weight_decay:g}, {p.views} augmented views of each training image, "
            f"{len(p.seeds)} seeds."
        )

    @property
    def command(self) -> str:
        """The command that makes this page again."""
        return (
            f"papermill notebooks/{self.name}.ipynb out.ipynb -p profile {self.asked} "
            "-p results fresh"
        )

    def made_now(self, what: str) -> None:
        """The line under a figure that every run of the page makes anew, without stored runs."""
        plots.show()  # the figures of this cell first
        self.say(f"*{self.profile.world} · {what} · re-run:* `{self.command}`")

    def cost(self, runs: pd.DataFrame, **drawn: Table) -> None:
        """The lines under a figure: runs, seconds, hardware and the exact command; then the CSV
        file of each table that it draws, by name (see :meth:`data`)."""
        plots.show()  # the figures of this cell first
        once = runs.drop_duplicates("key")
        machines, seconds = sorted(set(once["machine"])), once["seconds"].sum()
        spent = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
        self.say(
            f"*{self.profile.world} · {len(once)} runs · {spent} of one core · "
            f"{'; '.join(machines)} · re-run:* `{self.command}`"
        )
        for name, table in drawn.items():
            self.data(name, table)

    def benchmark(self, name: str) -> Record:
        """What ``benchmarks/<name>.py`` measured: the last short run of this machine ("fresh" makes
        one if there is none since the program changed), else the committed file.

        Raises:
            LookupError: nothing is stored, or the benchmarks are not here (they come with the
                repository, not with the installed package).
        """
        path = home() / "benchmarks" / f"{name}.json"
        if self.results == "fresh":
            if (checkout := root()) is None:
                raise LookupError(
                    "the benchmarks are programs of the repository: clone it to measure them, or "
                    "use results='stored'"
                )
            program = checkout / "benchmarks" / f"{name}.py"
            options = ["--quick", "--device", self.device, "--out", str(path)]
            if not path.is_file() or path.stat().st_mtime < program.stat().st_mtime:
                # its table is progress, not part of the page
                subprocess.run([sys.executable, str(program), *options], check=True, stdout=2)
        elif not path.is_file():
            path = results_dir() / "benchmarks" / path.name
            if not path.is_file():
                raise LookupError(f"{path} is missing: run `python benchmarks/{name}.py`")
        found: Record = json.loads(path.read_text("utf-8"))
        return found

    def measured(self, result: Record, **drawn: Table) -> None:
        """The lines under a benchmark's figure, as :meth:`cost` has them for runs."""
        plots.show()  # the figures of this cell first
        machine = result["machine"]
        where = machine["cpu"] if machine["device"] == "cpu" else machine["device"]
        self.say(
            f"*{where}, {machine['threads']} thread · torch {machine['torch']} · "
            f"{machine['date']} · re-run:* `python benchmarks/{result['benchmark']}.py`"
        )
        for name, table in drawn.items():
            self.data(name, table)

    def numbers(
        self,
        values: Mapping[str, Interval | float | int | str],
        detectable: Mapping[str, float] | None = None,
        n: Mapping[str, int] | None = None,
    ) -> None:
        """Write the page's numbers, for prose and claims, to ``numbers/<notebook>.json``.

        ``detectable`` gives the smallest effect that could have been found, for some keys; ``n``
        how many units an interval rests on, where that is not the number of datasets.
        """
        found: dict[str, dict[str, Any]] = {}
        for key, value in values.items():
            if isinstance(value, Interval):
                text = f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"
                units = (n or {}).get(key, len(self.profile.datasets))
                found[key] = {**vars(value), "text": text, "n": units}
            else:
                digits = ".4g" if isinstance(value, float) else ""
                found[key] = {"value": value, "text": f"{value:{digits}}"}
            if detectable and key in detectable:
                found[key]["detectable"] = detectable[key]
            found[key]["world"] = "paper" if self.profile.world == "photos" else "embedded"
        made = provenance([*self.used.values()], self.asked)
        for folder, what in (("numbers", found), ("made", made)):
            text = json.dumps(what, indent=1, sort_keys=True) + "\n"
            write_atomic(home() / folder / f"{self.name}.json", text.encode())

    def data(self, name: str, values: Table) -> None:
        """Write what a figure draws to ``data/<notebook>/<name>.csv``, and link it below."""
        plots.show()  # the figures of this cell first
        if isinstance(values, Mapping):
            values = pd.DataFrame({key: vars(each) for key, each in values.items()}).T
        table = compact(values) if "key" in values else values
        text = table.to_csv(float_format="%.6g", lineterminator="\n")
        write_atomic(home() / "data" / self.name / f"{name}.csv", text.encode())
        self.say(f"*Data of the figure:* [{name}.csv](../results/data/{self.name}/{name}.csv)")


def begin(name: str, parameters: Mapping[str, Any]) -> Page:
    """Check the parameters of a notebook and set the figures' style.

    Args:
        name: the notebook's name.
        parameters: the notebook's ``globals()`` in the cell after the parameters.

    Raises:
        ValueError: an unknown parameter, profile, dataset, device or source of results, each with
            the nearest valid names; seeds or epochs that are not whole numbers.
    """
    for key, value in parameters.items():
        if not (key.startswith("_") or key in KERNEL or isinstance(value, types.ModuleType)):
            one_of("parameter", key, PARAMETERS)
    profile = load_profile(asked := str(parameters["profile"]))
    datasets, seeds, epochs = (parameters[name] for name in ("datasets", "seeds", "epochs"))
    if datasets != "all":
        chosen = tuple(dict.fromkeys(str(d) for d in _items("datasets", datasets)))
        for dataset in chosen:
            one_of(f"dataset of profile {profile.name}", dataset, profile.datasets)
        if not chosen:
            raise ValueError(f"datasets={datasets!r} must be 'all' or name at least one dataset")
        profile = replace(profile, datasets=chosen)
    if seeds != "all":
        if not (numbers := _whole(_items("seeds", seeds), 0)):
            raise ValueError(
                f"seeds={seeds!r} must be 'all' or whole numbers below 2**63, such as '1,2,3'"
            )
        profile = replace(profile, seeds=numbers)
    if epochs is not None:
        if not (numbers := _whole([epochs], 1)):
            raise ValueError(f"epochs={epochs!r} must be None or a whole number from 1 on")
        profile = profile.with_epochs(numbers[0])
    check_device(str(parameters["device"]))
    if profile.world == "Glyph World":
        torch.set_num_threads(1)  # as fast for models this small, and no waiting on busy cores
    results = one_of("results", str(parameters["results"]), ("stored", "fresh"))
    plots.use_style()
    return Page(name, profile, asked, str(parameters["device"]), results)
