"""What the book says of all its runs and pages at once, in one file that it is built from.

``make publish`` and ``make book`` write it with the whole library; the book's directives read it,
so that ``make site`` needs no torch. ``python -m dip_book.summary`` writes the committed one anew.

A study is *stale* when it has committed runs that the present code no longer asks for: a run is
named by the hash of its recipe and all its settings, weights and data included. For a page see
:mod:`dip_study.provenance`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dip_book.code import code_digest
from dip_book.frame import Record, frame
from dip_book.tables import final
from dip_lib.data import harmonic_mean
from dip_lib.files import write_atomic
from dip_lib.paths import home, results_dir, root
from dip_lib.store import Store
from dip_study import study
from dip_study.profiles import Profile, load_profile
from dip_study.provenance import stale
from dip_study.runs import once

PUBLISHED = ("embedded-full", "photos-full")
"""The profiles of the committed runs, a world each; sweeps are shown of the first."""
FIELDS = ("base", "new", "id1")


def committed(folder: Path) -> Store:
    """The runs of the exports in ``folder``, and no live ones."""
    return Store(home() / "no live runs", sorted(folder.glob("*.json")))


def about_study(name: str, profile: Profile, folder: Path, store: Store) -> dict[str, Any]:
    """How a study's committed runs compare with those that the present code asks for.

    Args:
        name: of :data:`dip_study.study.STUDIES`.
        folder: of the committed exports, which ``store`` reads.

    Returns:
        name; world; asked: runs that the code asks for; measured: those of them that are
        committed, with their seconds and dates; committed: runs in the study's file; old: those of
        them that the code does not ask for.
    """
    wanted = {run.key(): run for run in study.STUDIES[name](profile)}
    records = [record for run in wanted.values() if (record := store.get(run))]
    path = folder / f"{name}.json"
    rows = json.loads(path.read_text("utf-8"))["runs"] if path.is_file() else []
    return {
        "name": name,
        "world": profile.world,
        "asked": len(wanted),
        "measured": len(records),
        "committed": len(rows),
        "old": sum(row["key"] not in wanted for row in rows),
        "seconds": round(sum(record["seconds"] for record in records), 1),
        "dates": sorted({record["finished_at"][:10] for record in records}),
    }


def about_page(notebook: Path) -> dict[str, Any]:
    """What an executed notebook was made from, and why it is stale ([]: it is current).

    Only its name when no record was kept.
    """
    content = json.loads(notebook.read_text("utf-8"))
    made = content["metadata"].get("made")
    if made is None:
        return {"name": notebook.stem}
    kept = {name: made.get(name, default) for name, default in (("runs", 0), ("seconds", 0.0))}
    dates, reasons = list(made.get("dates", ())), stale(made, content["cells"])
    return {"name": notebook.stem, **kept, "dates": dates, "stale": reasons}


def sweeps(store: Store, profile: Profile) -> list[dict[str, Any]]:
    """Every setting of rank, dropout and epochs that all datasets were measured with.

    Returns:
        For each: rank (0: CoOp's full matrix), dropout, epochs, families: dataset -> [base, new,
        ID_1], the mean over seeds, and average: [base, new, H of these, ID_1] over datasets;
        sorted by the first three.
    """
    wanted = once([*study.epochs(profile), *study.dropout(profile), *study.ablation(profile)])
    runs = frame(record for run in wanted if (record := store.get(run)))
    if runs.empty:
        return []
    from_words = (runs["context"] == profile.context) & (runs["site"] == "update")
    runs, rows = runs[from_words & runs["label"].isin(["CoOp", "DIP"])], []
    for (rank, dropout, epochs), each in runs.groupby(["rank", "dropout", "epochs"]):
        means = {name: values.mean(0).tolist() for name, values in final(each, *FIELDS).items()}
        if set(means) == set(profile.datasets):
            families = {name: [round(x, 3) for x in each] for name, each in means.items()}
            base, new, id1 = (sum(v) / len(v) for v in zip(*families.values(), strict=True))
            average = [round(x, 6) for x in (base, new, harmonic_mean(base, new), id1)]
            row = {"rank": int(rank), "dropout": float(dropout), "epochs": int(epochs)}
            rows.append(row | {"families": families, "average": average})
    return rows


def versions(records: Iterable[Record]) -> dict[str, list[str]]:
    """The versions of each package that runs were made with."""
    used: dict[str, set[str]] = {}
    for record in records:
        for name, version in record["versions"].items():
            used.setdefault(name, set()).add(version)
    return {name: sorted(numbers) for name, numbers in used.items()}


def summary(notebooks: Iterable[Path]) -> dict[str, Any]:
    """All of the above, of the committed runs and these executed notebooks, as JSON holds it."""
    profiles = [load_profile(name) for name in PUBLISHED]
    folders = [results_dir() / profile.name for profile in profiles]
    stores = [committed(folder) for folder in folders]
    records = [record for store in stores for record in store.committed.values()]
    machines = {f"{each['machine']['cpu']}, {each['machine']['device']}" for each in records}
    studies = [
        about_study(name, profile, folder, store)
        for profile, folder, store in zip(profiles, folders, stores, strict=True)
        for name in study.studies_of(profile)
    ]
    checkout = root()
    return {
        "code": code_digest(checkout) if checkout else "",
        "pages": [about_page(path) for path in notebooks],
        "studies": [about for about in studies if about["asked"] or about["committed"]],
        "packages": versions(records),
        "machines": sorted(machines),
        "seeds": len(profiles[0].seeds),
        "sweeps": sweeps(stores[0], profiles[0]),
    }


def write_summary(notebooks: Iterable[Path], path: Path) -> None:
    """Write :func:`summary`, one line an entry."""
    lines = []
    for name, value in summary(notebooks).items():
        text = json.dumps(value)
        if isinstance(value, list) and value:
            text = "[\n" + ",\n".join(json.dumps(each) for each in value) + "\n]"
        lines.append(f'"{name}": {text}')
    write_atomic(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def main() -> None:
    if not (checkout := root()):
        raise SystemExit("the committed summary lies in a checkout, which is not here")
    write_summary(
        sorted((checkout / "notebooks").glob("*.ipynb")), checkout / "results" / "summary.json"
    )


if __name__ == "__main__":
    main()
