"""Page 20: the sentence that answers each question of the reviewers, made from measured numbers.

Of one world each. A sentence says what was found and what cannot be told; it never says more than
its interval does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from dip_book.associations import across_and_along, rhos_along
from dip_book.estimates import estimate_known
from dip_book.interval import Interval
from dip_book.pages import causes, surgery, wordless
from dip_book.pages.causes import FROZEN_RANDOM, TOWER
from dip_book.pages.causes_world import World
from dip_book.tables import differences, final, h_of
from dip_book.worlds import disagreement, paragraphs
from dip_lib.data.splits import harmonic_mean

DENSITIES = {"ID1": "id1", "ID1 as read": "id1_read"}


def clearly(interval: Interval, more: str, less: str) -> str:
    """What an interval says of a difference: ``more``, ``less``, or that it cannot be told."""
    return {1: more, -1: less, 0: "no difference that these datasets could show"}[interval.sign]


def answer(found: Mapping[str, World], sentence: Callable[[World], str]) -> str:
    """The sentence of every world."""
    return paragraphs({name: sentence(world) for name, world in found.items()})


def finding(found: Mapping[str, World]) -> str:
    """The page's finding: whether the worlds disagree on density, then what was found in each."""
    held = {name: held_at_start(world)["new"] for name, world in found.items()}
    said = {name: where_from(world) for name, world in found.items()}
    what = "what holding the density of rank n at its start does to new classes"
    return disagreement(held, what) + paragraphs(said, "Finding")


def held_at_start(world: World) -> dict[str, Interval]:
    """Rank n with its density held at the start's minus rank n."""
    return causes.held_density(world.shown)[causes.HELD["rank n"][0]]


def rho(world: World, half: str, column: str, label: str = "CoOp") -> Interval:
    """Mean over datasets of rho along a method's training."""
    found = rhos_along(world.trajectories, label, column)[half]
    return estimate_known({str(d): np.array([value]) for d, value in found.items()})


def everywhere(world: World) -> str:
    """1: does ID go with new-class accuracy on all datasets, with several methods."""
    coop = rhos_along(world.trajectories, "CoOp", "id1")["new"]
    labels = world.trajectories["label"].unique()
    means = {label: rho(world, "new", "id1", label).value for label in labels}
    least, most = (choose(means, key=lambda name: means[name]) for choose in (min, max))
    return (
        f"Along CoOp's training ID1 goes with new-class accuracy on {(coop > 0).sum()} of "
        f"{len(coop)} datasets (mean rho {rho(world, 'new', 'id1'):.2f}; as read "
        f"{rho(world, 'new', 'id1_read'):.2f}). Over {len(means)} methods mean rho lies between "
        f"{means[least]:.2f} ({least}) and {means[most]:.2f} ({most}). Seeds: "
        f"{world.trajectories['seed'].nunique()}."
    )


def base_accuracy(world: World) -> str:
    """2: does higher ID mean better base accuracy, too."""
    base, new = (rho(world, half, "id1") for half in ("base", "new"))
    opposite = base.sign * new.sign == -1
    side = "it is the trade-off seen from one side" if opposite else "no trade-off is shown by it"
    return (
        f"Along CoOp's training rho of ID1 is {base:.2f} with base accuracy, {new:.2f} with new: "
        f"{side}."
    )


def beyond_time(world: World) -> str:
    """3: is the association more than that both drift with time."""
    found = across_and_along(world.ends, world.trajectories)
    along, across = found["along training, given epoch"], found["across runs, given base"]

    def both(name: str, of: Mapping[str, Interval]) -> str:
        return f"{of[name]:.2f}" if name in of else "not defined"

    drift = "small drift of arbitrary names"
    return (
        f"Given the epoch, rho of ID1 with new-class accuracy is {both('ID1', along)}, as read "
        f"{both('ID1 as read', along)}, that of a small drift of arbitrary names "
        f"{both(drift, along)}. Across runs, given base accuracy: {both('ID1', across)}, "
        f"{both('ID1 as read', across)} and {both(drift, across)}. These are associations."
    )


def at_the_end(world: World) -> dict[str, Interval]:
    """DIP minus CoOp in each density at the end of training."""
    dip, coop = world.shown["DIP"], world.shown["CoOp"]
    return {
        name: estimate_known(
            {
                d: final(dip, c)[d].mean(keepdims=True) - final(coop, c)[d].mean()
                for d in final(dip, c)
            }
        )
        for name, c in DENSITIES.items()
    }


def after_training(world: World) -> str:
    """4: the density of trained prompts."""
    gaps = at_the_end(world)
    parts = [
        f"{name} is {causes.mean(world.shown['DIP'], column):.2f} after DIP's training and "
        f"{causes.mean(world.shown['CoOp'], column):.2f} after CoOp's ({gaps[name]:+.2f})"
        for name, column in DENSITIES.items()
    ]
    return "; ".join(parts) + "."


def where_from(world: World) -> str:
    """5: what the gain comes from."""
    new = causes.against_coop(world.shown, "new")
    still, dense = held_at_start(world), causes.held_density(world.shown)[causes.HELD["CoOp"][-1]]
    names = ("dropout alone", FROZEN_RANDOM, "a quarter of the epochs", causes.SCALED)
    others = ", ".join(f"{name} {new[name]:+.1f}" for name in names)
    still_said, dense_said = (clearly(each["new"], "better", "worse") for each in (still, dense))
    return (
        f"On new classes DIP is {new['DIP']:+.1f} points from CoOp, and rank n "
        f"{new['rank n']:+.1f}; {others}. With the density as read held at the words', rank n "
        f"changes by {still['new']:+.1f} ({still_said}) on new classes "
        f"and {still['base']:+.1f} on base classes; CoOp held as dense as DIP's prompts by "
        f"{dense['new']:+.1f} ({dense_said}) and "
        f"{dense['base']:+.1f}. {beyond(world)}"
    )


def beyond(world: World) -> str:
    """5, less what a smaller update gives: designs against CoOp's own trade-off."""
    found = causes.beyond_trade_off(world.shown, world.operated["CoOp"])
    better = [name for name, gap in found.items() if gap.sign > 0]
    worse = [name for name, gap in found.items() if gap.sign < 0]
    dip = f"{found['DIP']:+.1f}" if "DIP" in found else "beyond the curve"
    return (
        "At the validation accuracy on base classes that CoOp's own scaled update has, DIP is "
        f"{dip} points from it on new classes. Clearly above it: {'; '.join(better) or 'none'}. "
        f"Clearly below: {'; '.join(worse) or 'none'}."
    )


def at_matched_norm(world: World) -> str:
    """5, of the norm: DIP against CoOp's update at the norm of DIP's."""
    dip, coop = world.operated["DIP"], world.operated["CoOp"]
    gap, share = surgery.matched(dip, coop), surgery.share_matched(dip, coop)
    if not gap:
        return "CoOp's update was not evaluated at the norm of DIP's on two datasets or more."
    return (
        f"With CoOp's update scaled to the norm of DIP's of the same dataset and seed, DIP is "
        f"{gap['new']:+.1f} points from it on new classes, {gap['base']:+.1f} on base classes and "
        f"{gap['h']:+.1f} in H ({100 * share:.0f} % of the pairs lie among the evaluated factors)."
    )


def at_fixed_norm(world: World) -> str:
    """5, of the spectrum: surgery on CoOp's trained updates."""
    new = surgery.changes(world.operated["CoOp"])
    return (
        "At the same norm, new-class accuracy of CoOp's trained prompts changes by "
        + ", ".join(f"{gap:+.1f} ({name})" for name, gap in new.items())
        + " points."
    )


def sensitivity(world: World) -> str:
    """6: rank and dropout."""
    dip = world.shown["DIP"]
    names = ("rank 2", "rank n", "rank 1 without dropout", "rank n without dropout")
    gaps = {name: differences(world.shown[name], dip)["h"] for name in names}
    return (
        "In H, beside DIP: " + ", ".join(f"{name} {gap:+.1f}" for name, gap in gaps.items()) + "."
    )


def per_dataset(world: World) -> pd.DataFrame:
    """7: base, new and H of CoOp, of DIP and their difference on each dataset."""
    columns: dict[tuple[str, str], dict[str, float]] = {}
    for name in ("CoOp", "DIP"):
        for half in ("base", "new"):
            values = final(world.shown[name], half)
            columns[name, half] = {d: float(each.mean()) for d, each in values.items()}
    table = pd.DataFrame(columns)
    for name in ("CoOp", "DIP"):
        table[name, "H"] = harmonic_mean(table[name, "base"], table[name, "new"])
    for column in ("base", "new", "H"):
        table["difference", column] = table["DIP", column] - table["CoOp", column]
    order = [(n, c) for n in ("CoOp", "DIP", "difference") for c in ("base", "new", "H")]
    return table[order]


def on_each_dataset(world: World) -> str:
    """7, in a sentence."""
    gaps = per_dataset(world)["difference"]
    dip, coop = h_of(world.shown["DIP"]), h_of(world.shown["CoOp"])
    average = estimate_known({d: dip[d].mean(keepdims=True) - coop[d].mean() for d in dip})
    return (
        f"DIP is ahead of CoOp in H on {(gaps['H'] > 0).sum()} of {len(gaps)} datasets, by "
        f"{average:+.1f} on average and {gaps['H'].min():+.1f} to {gaps['H'].max():+.1f}; on new "
        f"classes on {(gaps['new'] > 0).sum()}, on base classes on {(gaps['base'] > 0).sum()}."
    )


def against_others(world: World) -> str:
    """10: a low-rank update of the text tower, and the truncated update of CoOp."""
    shown, dip = world.shown, world.shown["DIP"]
    tower = differences(dip, shown[TOWER])
    rank_one = surgery.changes(world.operated["CoOp"])["rank 1"]
    trained = int(shown[TOWER]["trainable"].median()), int(dip["trainable"].median())
    return (
        f"Against a low-rank update of the text tower with {trained[0]} trainable parameters (DIP "
        f"{trained[1]}), DIP is {tower['base']:+.1f} points away on base classes, "
        f"{tower['new']:+.1f} on new ones and {tower['h']:+.1f} in H. CoOp's update cut to rank 1 "
        f"after training, at its norm, changes new-class accuracy by {rank_one:+.1f}."
    )


def numbers(world: World) -> dict[str, Interval]:
    """The page's numbers: of designs, densities, correlations and surgery."""
    found = causes.numbers(world.shown, world.operated["CoOp"])
    found |= {
        f"wordless_dip_minus_coop_{shots}_shots": wordless.gap(world.wordless, shots)
        for shots in wordless.shots_of(world.wordless)
    }
    found |= {
        f"dip_minus_coop_{column}": at_the_end(world)[name] for name, column in DENSITIES.items()
    }
    for column in DENSITIES.values():
        found[f"rho_{column}_new"] = rho(world, "new", column)
        found[f"rho_{column}_base"] = rho(world, "base", column)
    found |= {f"density_held_{half}": each for half, each in held_at_start(world).items()}
    gaps = surgery.matched(world.operated["DIP"], world.operated["CoOp"])
    found |= {f"dip_minus_coop_at_its_norm_{half}": gap for half, gap in gaps.items()}
    tower = differences(world.shown["DIP"], world.shown[TOWER])
    return found | {f"dip_minus_tower_{half}": gap for half, gap in tower.items()}
