"""What page 14 shows of the tasks, its second part: condensing, with its controls.

Condensing is judged on the tasks on which prompts gain; all are shown. All functions take grids of
which only some tasks are measured, and show what there is.

Symbols: S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dip_book.frame import where
from dip_book.interval import Interval
from dip_book.pages import visual_tasks
from dip_book.pages.task_grids import Grids, merged
from dip_book.pages.visual_tasks import ALL, GAIN, TaskRuns, Values
from dip_book.tables import over_datasets

Curves = dict[str, pd.DataFrame]

STAY = {
    "zero-shot": ("random", "random"),
    "CoOp": ("least", "least"),
    "DIP": ("norm", "longest"),
    "SPT": ("attention", "attended"),
    "CVPT": ("each", "E|g|"),
    "other": ("mean", "rest: mean"),
    "within": ("layer", "per block"),
    "VPT": ("sum", "importance"),
}
"""Look of a line -> the choice of what stays, and what the legend calls it."""
LEGEND = {look: said for look, (_, said) in STAY.items()}
INSTEAD = {
    "all": "all prompts",
    "random": "as many at random",
    "few": "few from the start",
    "head": "the head alone",
    "least": "the least important",
    "norm": "the longest",
    "attention": "the most attended",
    "each": "E|g|",
    "mean": "the rest: mean",
    "layer": "ranked per block",
}
"""What stays, or is trained, instead of the most important prompts."""
STATES = {"trained on": True, "as they are": False}


def finding(grids: Grids) -> str:
    """The page's finding: where prompts gain, and what condensing keeps of it there."""
    gains = merged([visual_tasks.gains(tasks) for tasks in grids])
    if not gains:
        return "**Finding.** No task on which prompts may gain is measured yet."
    most = max(tasks.grid.condensing.of for tasks in grids)
    screened = {task for tasks in grids for task in tasks.grid.screened}
    declared = {task: each for task, each in gains.items() if task not in screened}
    chosen = {task: each for task, each in gains.items() if task in screened}
    kinds = {"measured tasks": declared, "chosen because prompts gain in validation": chosen}
    judged = judging(grids)
    where_they_gain = " and on ".join(
        _where(each, judged, kind) for kind, each in kinds.items() if each
    )
    return (
        f"**Finding.** {most} prompts in each block are {GAIN:g} points or more above the linear "
        f"head on {where_they_gain}. {_condensing(grids)}"
    )


def _where(gains: Values, judged: Sequence[str], kind: str) -> str:
    """ "1 of 6 measured tasks (how-many +10.4)": which of a kind judge."""
    named = [f"{task} {each.mean():+.1f}" for task, each in gains.items() if task in judged]
    return f"{len(named)} of {len(gains)} {kind} ({', '.join(named) or 'none'})"


def _condensing(grids: Grids) -> str:
    """What the most important prompts, trained on, keep, and are against three others."""
    judged, found = judging(grids), differences(grids, "trained on")
    if not judged:
        return "So none judges condensing."
    if not found:
        return "Condensing is not measured yet on any of these."
    condensed = [task for tasks in grids for task in tasks.condensed if task in judged]
    there = "There" if len(condensed) == len(judged) else f"On {', '.join(condensed)}"
    over = "" if len(condensed) > 1 else " Brackets are the range of its seeds."
    share = headline(grids)
    kept = _kept(grids, "sum", tuned=True).loc[share]
    return (
        f"{there} the most important {share:g} %, trained on, keep {kept['value']:.1f} % "
        f"[{kept['low']:.1f}, {kept['high']:.1f}] of all points gained; they are, in points, "
        f"{_against_three(found)}.{over}"
    )


def _against_three(found: Mapping[str, Interval]) -> str:
    """ "-1.0 [-1.5, -0.5] against all prompts, ...": the differences that the claims read."""
    names = (INSTEAD[each] for each in ("all", "random", "few"))
    return ", ".join(f"{found[name]:+.1f} against {name}" for name in names if name in found)


def judging(grids: Grids) -> list[str]:
    """The tasks that judge, of all grids."""
    return [task for tasks in grids for task in tasks.judging]


def headline(grids: Grids) -> float:
    """Per cent of the prompts that stay where every control is trained on."""
    return grids[0].grid.condensing.headline


def kept_curves(grids: Grids) -> dict[str, Curves]:
    """State -> share of the gain that stays, in per cent, against the share of prompts.

    Of all points that the tasks that judge gain together, with intervals over these; of one task
    ranges over seeds. Trained on are the choice by importance at every share, and its controls at
    the headline's.
    """
    panels: dict[str, Curves] = {}
    for name, tuned in STATES.items():
        lines = {look: _kept(grids, choice, tuned) for look, (choice, _) in STAY.items()}
        there = {look: line for look, line in lines.items() if len(line)}
        if any((line.index < ALL).any() for line in there.values()):
            panels[f"{name}:\n% of the gain"] = there
    return panels


def _kept(grids: Grids, choice: str, tuned: bool) -> pd.DataFrame:
    own, ranking = ("sum", "layer") if choice == "layer" else (choice, "global")
    shares = {float(share) for tasks in grids for share in tasks.grid.condensing.keep}
    rows = {}
    for share in sorted({*shares, ALL}):
        settings = (share, own, tuned, ranking)
        kept = merged([visual_tasks.kept_points(tasks, *settings) for tasks in grids])
        if kept and (share < ALL or choice == "sum"):
            found = visual_tasks.share_of_gain(kept)
            rows[share] = over_datasets({task: 100 * each for task, each in found.items()}).columns
    return pd.DataFrame.from_dict(rows, orient="index")


def differences(grids: Grids, state: str) -> dict[str, Interval]:
    """What stays instead -> the choice by importance minus it, at the headline's share.

    Over the tasks that judge.
    """
    return {said: over_datasets(found) for said, found in _by_task(grids, state).items()}


def _by_task(grids: Grids, state: str) -> dict[str, Values]:
    """What stays instead -> task that judges -> (S,) differences, of what was measured."""
    inside, rows = judging(grids), dict[str, Values]()
    by_grid = [_against(tasks, STATES[state]) for tasks in grids]
    for name, said in INSTEAD.items():
        found = merged([each.get(name, {}) for each in by_grid])
        if own := {task: values for task, values in found.items() if task in inside}:
            rows[said] = own
    return rows


def alike_finding(grids: Grids) -> str:
    """The finding's three differences once tasks of one drawing are counted as one, their average.

    Intervals over tasks take these as independent, which tasks of one drawing hardly are.
    """
    alike = [task for tasks in grids for task in tasks.grid.alike]
    found = _by_task(grids, "trained on")
    same = [task for task in found.get(INSTEAD["all"], {}) if task in alike]
    if len(same) < 2:
        return "No two tasks that judge condensing draw alike."
    one = {name: over_datasets(_as_one(each, alike)) for name, each in found.items()}
    when = "a check that was added when most were measured"
    return f"{', '.join(same)} draw alike. Counted as one task, {when}: {_against_three(one)}."


def _as_one(found: Values, alike: Sequence[str]) -> Values:
    """The values with the averages of some tasks in the place of one task's seeds."""
    rest = {task: values for task, values in found.items() if task not in alike}
    averages = [values.mean() for task, values in found.items() if task in alike]
    return rest | ({", ".join(alike): np.array(averages)} if averages else {})


def _against(tasks: TaskRuns, tuned: bool) -> Mapping[str, Values]:
    return visual_tasks.against(tasks, tasks.grid.condensing.headline, tuned)


def both_states(grids: Grids) -> dict[str, Interval]:
    """Every difference, trained on and as they are, in a row."""
    return {
        f"{state}: minus {said}": interval
        for state in STATES
        for said, interval in differences(grids, state).items()
    }


def task_table(grids: Grids) -> pd.DataFrame:
    """A row a task, whether it judges or not: the same differences, trained on, over seeds."""
    rows: dict[str, dict[str, float]] = {}
    for tasks in grids:
        for name, found in _against(tasks, True).items():
            for task, values in found.items():
                rows.setdefault(task, {})[f"minus {INSTEAD[name]}"] = float(np.mean(values))
    table = pd.DataFrame.from_dict(rows, orient="index")
    order = [f"minus {said}" for said in INSTEAD.values()]
    return table[[name for name in order if name in table]]


def prompts_by_block(grids: Grids) -> pd.DataFrame:
    """A row a task: how many prompts of each block stay at the headline's share, and operations.

    Operations are of the published computation, against those with all prompts.
    """
    rows = {}
    for tasks in grids:
        share = tasks.grid.condensing.headline
        for task in tasks.condensed:
            kept, whole = (
                where(tasks.kept(each), dataset=task).dropna(subset=["flops"])
                for each in (share, ALL)
            )
            counts = np.mean([*kept["counts"]], axis=0)
            rows[task] = {
                "prompts that stay, by block": " ".join(f"{count:.0f}" for count in counts),
                "operations": kept["flops"].mean() / whole["flops"].mean(),
            }
    return pd.DataFrame.from_dict(rows, orient="index")
