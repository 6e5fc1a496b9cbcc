"""What one run is: every setting that can change its result, and the key that names it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any

RECIPE = 1
"""Version of the training recipe; rises only when accuracy changes beyond tolerance."""


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One training run, completely described.

    The defaults are the ``embedded`` protocol: the peers' (CoOp's) with batch 128, 40 epochs, a
    first epoch at lr / 200 and four augmented views of each training image.

    Attributes:
        dataset: name of the dataset ("greek", "eurosat", ...).
        style: Glyph World only: the style the family is drawn in; "default" is its own.
        protocol: "base-to-new" (train on the first half of the classes, judge both halves) or
            "all-classes" (few-shot, and the source of transfer).
        method: a name of :data:`dip_lib.methods.METHODS`.
        seed: seeds the few-shot draw, the order of samples, the factors and the dropout.
        context: the words whose frozen embeddings start the prompt; "": random vectors.
        vectors: how many random vectors; 0 with words.
        rank: rank of the update that DIP trains; 0 trains the method's prompts themselves.
        dropout: probability of dropping a part of the prompt in a step, in [0, 1).
        site: what dropout drops: entries of the "update" A B, its "rows" (tokens) or "columns", or
            entries of the whole "prompt".
        weight: of the method's own term beside cross-entropy.
        depth: blocks of a tower that read prompts of their own, the first included.
        shots: training images a class.
        warmup: learning rate of epoch 0 as a fraction of ``lr``.
        precision: of the frozen towers: "fp32", "bf16" or "fp16"; prompts are always fp32.
        views: augmented views of each training image, cycled over the epochs.
        checkpoints: evaluations along training, evenly spaced, after the one at the start; 1: the
            end alone, for methods that cost a tower's pass to be judged.
        weights: of the backbone: a fingerprint of the glyph towers', or open_clip's tag.
        data: fingerprint of the dataset.
        target: another dataset, on all of whose classes the trained prompts are judged; its run
            re-uses what the run without a target (:meth:`source`) has learnt.
        target_data: fingerprint of the target.
        keep: visual prompts only: the percentage of a trained run's prompts that stay; 0: this run
            trains them. A condensed run re-uses what the run with 0 (:meth:`source`) has learnt.
        ranking: over which prompts importance is ranked: of all blocks ("global"), or each "layer".
        tuned: epochs in which the prompts that stay are trained on.
    """

    dataset: str
    method: str
    seed: int
    backbone: str = "glyph-resnet"
    style: str = "default"
    protocol: str = "base-to-new"
    context: str = "a photo of a"
    vectors: int = 0
    rank: int = 0
    dropout: float = 0.0
    site: str = "update"
    weight: float = 0.0
    depth: int = 1
    shots: int = 16
    epochs: int = 40
    batch: int = 128
    lr: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 1 / 200
    views: int = 4
    checkpoints: int = 10
    precision: str = "fp32"
    weights: str = ""
    data: str = ""
    target: str = ""
    target_data: str = ""
    keep: float = 0.0
    ranking: str = "global"
    tuned: int = 0

    def __post_init__(self) -> None:
        # 0 and 0.0 are the same setting, so they must give the same key
        for field in fields(self):
            if field.type == "float":
                object.__setattr__(self, field.name, float(getattr(self, field.name)))

    def key(self) -> str:
        """16 hex digits that name the run: sha256 of the recipe version and every setting.

        Settings that have their default are left out, so that a field added later, whose default
        is what was done before, renames no run.
        """
        default = {f.name: f.default for f in fields(self)}
        told = {name: value for name, value in asdict(self).items() if value != default[name]}
        text = json.dumps({**told, "recipe": RECIPE}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def shared(self) -> RunSpec:
        """What runs of one batch have in common: all but seed, rank, dropout, weight, lr.

        DIP is CoOp whose prompt has a rank, so the two share batches.
        """
        host = "coop" if self.method == "dip" else self.method
        return replace(self, method=host, seed=0, rank=0, dropout=0.0, weight=0.0, lr=0.0)

    def untrained(self, method: str) -> RunSpec:
        """The run of a method that trains nothing, on the same classes: only what it depends on."""
        places = ("dataset", "backbone", "style", "protocol", "precision", "weights", "data")
        values: dict[str, Any] = {name: getattr(self, name) for name in places}
        counts = ("seed", "shots", "epochs", "batch", "views", "checkpoints")
        values |= dict.fromkeys((*counts, "lr", "momentum", "weight_decay", "warmup"), 0)
        return RunSpec(method=method, context="", **values)

    def source(self) -> RunSpec:
        """The run that trains what this one judges on its target, or condenses; else itself."""
        return replace(self, target="", target_data="", keep=0.0, ranking="global", tuned=0)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunSpec:
        """The spec stored in a record, of this version or an earlier one.

        Raises:
            ValueError: unknown fields, or ones missing that have no default.
        """
        needed = {f.name for f in fields(cls) if f.default is MISSING}
        unknown = values.keys() - {f.name for f in fields(cls)}
        if unknown or not needed <= values.keys():
            raise ValueError(
                f"not the spec of a run: missing {sorted(needed - values.keys())}, "
                f"unknown {sorted(unknown)}"
            )
        return cls(**values)
