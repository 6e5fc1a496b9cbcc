"""What one run is: every setting that can change its result, and the key that names it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
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
        method: "zero-shot", "coop" or "dip".
        seed: seeds the few-shot draw, the order of samples, the factors and the dropout.
        context: the words whose frozen embeddings start the prompt.
        rank: rank of the update; 0 means full rank (CoOp).
        dropout: probability of dropping an entry of the low-rank update, in [0, 1).
        shots: training images a class.
        warmup: learning rate of epoch 0 as a fraction of ``lr``.
        precision: of the frozen towers: "fp32", "bf16" or "fp16"; prompts are always fp32.
        views: augmented views of each training image, cycled over the epochs.
        checkpoints: evaluations along training, evenly spaced, after the one at the start.
        weights: of the backbone: a fingerprint of the glyph towers', or open_clip's tag.
        data: fingerprint of the dataset.
    """

    dataset: str
    method: str
    seed: int
    backbone: str = "glyph-resnet"
    style: str = "default"
    context: str = "a photo of a"
    rank: int = 0
    dropout: float = 0.0
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

    def __post_init__(self) -> None:
        # 0 and 0.0 are the same setting, so they must give the same key
        for field in fields(self):
            if field.type == "float":
                object.__setattr__(self, field.name, float(getattr(self, field.name)))

    def key(self) -> str:
        """16 hex digits that name the run: sha256 of all fields and the recipe version."""
        text = json.dumps({**asdict(self), "recipe": RECIPE}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def shared(self) -> RunSpec:
        """What runs of one batch must have in common: all but method, seed, rank, dropout, lr."""
        return replace(self, method="", seed=0, rank=0, dropout=0.0, lr=0.0)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunSpec:
        """The spec stored in a record. Raises ValueError when fields are missing or unknown."""
        known = {f.name for f in fields(cls)}
        if values.keys() != known:
            raise ValueError(
                f"a run's spec must have exactly the fields of RunSpec; missing "
                f"{sorted(known - values.keys())}, unknown {sorted(values.keys() - known)}"
            )
        return cls(**values)
