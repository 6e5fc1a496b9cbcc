"""The directive ``{explore}``: stored runs by rank, dropout and length of training, to play with.

The table holds every setting that was measured; where scripts run, ``explore.js`` reads the same
numbers from the page and draws them beside three sliders. Nothing is fetched.
"""

from __future__ import annotations

import json
from typing import Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from dip_book.frame import frame
from dip_book.tables import final
from dip_lib.datasets import harmonic_mean
from dip_lib.paths import results_dir
from dip_lib.store import Store
from dip_study import study
from dip_study.profiles import Profile, load_profile
from dip_study.runs import once

from .status import PUBLISHED, committed, table

logger = logging.getLogger(__name__)
FIELDS = ("base", "new", "id1")
FULL = "full"
"""What the rank of CoOp is called: all numbers of the prompt are trained."""


def settings(store: Store, profile: Profile) -> list[dict[str, Any]]:
    """Every setting of rank, dropout and epochs that all families were measured with.

    Returns:
        For each: rank (0: CoOp's full matrix), dropout, epochs, and family -> [base, new, ID_1],
        the mean over seeds; sorted by the first three.
    """
    specs = once([*study.epochs(profile), *study.dropout(profile), *study.ablation(profile)])
    runs = frame(record for spec in specs if (record := store.get(spec)))
    if runs.empty:
        return []
    runs = runs[runs["label"].isin(["CoOp", "DIP"])]
    runs = runs[(runs["context"] == profile.context) & (runs["site"] == "update")]
    found = []
    for (rank, dropout, epochs), each in runs.groupby(["rank", "dropout", "epochs"]):
        means = {name: values.mean(0).tolist() for name, values in final(each, *FIELDS).items()}
        if set(means) == set(profile.datasets):
            families = {name: [round(x, 3) for x in mean] for name, mean in means.items()}
            found.append({"rank": rank, "dropout": dropout, "epochs": epochs, "families": families})
    return found


def fallback(found: list[dict[str, Any]]) -> str:
    """The same numbers as a table, averaged over families."""

    def cells(each: dict[str, Any]) -> tuple[str, ...]:
        count = len(each["families"])
        base, new, id1 = (sum(v) / count for v in zip(*each["families"].values(), strict=True))
        accuracies = (f"{value:.1f}" for value in (base, new, harmonic_mean(base, new)))
        rank = str(each["rank"] or FULL)
        return rank, f"{each['dropout']:g}", str(each["epochs"]), *accuracies, f"{id1:.2f}"

    head = ("Rank", "Dropout", "Epochs", "Base, %", "New, %", "H", "ID<sub>1</sub>")
    return table(head, map(cells, found))


class Explore(SphinxDirective):
    """Sliders and a figure where scripts run, and always the table."""

    def run(self) -> list[nodes.Node]:
        profile = load_profile(PUBLISHED)
        try:
            found = settings(committed(results_dir() / PUBLISHED), profile)
            if not found:
                raise LookupError(f"no runs of {PUBLISHED} are committed: run make publish")
        except (OSError, ValueError, LookupError) as error:
            logger.warning("explore: %s", error, location=self.get_location())
            return []
        content = json.dumps({"seeds": len(profile.seeds), "settings": found})
        up = "../" * self.env.app.builder.get_target_uri(self.env.docname).count("/")
        html = (
            '<div class="explore" hidden></div>'  # explore.js fills and shows it
            f'<script type="application/json" id="explore-data">{content}</script>'
            f'<script src="{up}_static/explore.js" defer></script>'
            f"<details class='explore-table' open><summary>All {len(found)} measured settings"
            f"</summary>{fallback(found)}</details>"
        )
        return [nodes.raw("", html, format="html")]
