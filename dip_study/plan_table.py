"""The cost of a study as plain text: what ``dip plan`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dip_lib.fetch.archives import amount

if TYPE_CHECKING:
    import pandas as pd

LEGEND = """\
images: to encode, every view counted; none of datasets that stand on feature packs. steps: summed
over runs. Both as if no class lacked pictures.
Image side: encoding, once for all prompts, and the passes of methods that prompt the image encoder:
of visual prompts as measured with as many on that encoder, else each counted as three of an
encoding, without what prompts add. Text side: training prompts.
Times are estimates, on a CPU of one core; zero-shot runs and probes are not counted, and evaluation
only of visual prompts where these were measured or a rate is given.
A study's row counts what the rows above it do not have already."""
SIDES = {"image_minutes": "image side", "text_minutes": "text side"}
"""Columns of minutes -> how the printed table calls them, where they are durations."""
IMAGE_SIDE = ("image_hosts", "visual", "visual_tasks", "visual_condensed", "visual_low_rank")
"""Studies that prompt the image encoder."""


def lasting(minutes: float) -> str:
    """A duration in the unit that suits it: "12.5 min", "3.4 h", "4.8 days"."""
    hours = minutes / 60
    if hours < 2:
        return f"{minutes:,.1f} min"
    return f"{hours:,.1f} h" if hours < 48 else f"{hours / 24:,.1f} days"


def table(costs: pd.DataFrame) -> str:
    """The costs as plain text, with their sums: text-side methods apart from image-side ones."""
    import pandas as pd  # takes a third of a second, which only this command should cost

    parts, names = [costs], list(costs.index.names)
    blank = ("",) * (len(names) - 1)
    sums = {"all": costs}
    if names == ["study"]:
        sums = {"text-side studies": costs.drop(index=[*IMAGE_SIDE], errors="ignore")} | sums
    for name, part in sums.items():
        total = part.sum(skipna=False).rename((name, *blank) if blank else name)
        parts.append(total.to_frame().T.rename_axis(names))
    table_shown = pd.concat(parts).astype(costs.dtypes).rename_axis(names)
    table_shown = table_shown.rename(columns=SIDES)
    forms = {"disk": amount, "steps": "{:,}".format, "images": "{:,}".format}
    form: Any = forms | dict.fromkeys(SIDES.values(), lasting)
    text = table_shown.reset_index().to_string(index=False, formatters=form, na_rep="not measured")
    return f"{text}\n{LEGEND}"
