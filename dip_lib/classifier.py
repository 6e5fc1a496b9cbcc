"""Own pictures: fit a prompt to a folder, predict any class names, keep a file of 2 kB.

A prompt is independent of classes: names are given when pictures are classified, and may differ
from those that it was trained on.

Symbols: n context vectors, d text width, r rank, e embedding size.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import encode_views
from dip_lib.clip.loading import backbone_source, check_backbone, load_backbone
from dip_lib.clip.picture_features import encode_files
from dip_lib.clip.weights import HUB
from dip_lib.data import Dataset, few_shot
from dip_lib.data.folders import picture_folder
from dip_lib.data.names import some
from dip_lib.data.walk import find_pictures
from dip_lib.errors import one_of
from dip_lib.files import write_atomic
from dip_lib.methods import CoOp
from dip_lib.prompt import load_prompt, low_rank_prompt, save_prompt
from dip_lib.training.batch_data import TrainingData
from dip_lib.training.loop import train_epochs
from dip_lib.training.run import Data, LowRank, Run, Schedule, Tower
from dip_lib.training.runs import Runs

Paths = str | Path | Sequence[str | Path]


def picture_files(paths: Paths) -> list[Path]:
    """The given files, and the pictures below given folders: :mod:`dip_lib.data.walk`."""
    return find_pictures(paths).files


@dataclass(eq=False)
class PromptedClassifier:
    """A CLIP that classifies by a prompt trained on your pictures.

    Attributes:
        backbone, pretrained, device: as for :func:`dip_lib.load_backbone`, or a backbone itself.
        method: "dip" or "coop".
        rank, dropout: of DIP's update; CoOp has none.
        context: the words whose frozen embeddings start the prompt.
        epochs: of training; 0 keeps the words, which is zero-shot CLIP.
        lr: learning rate; None: the backbone's, 0.002 (the peers') or what its world chose.
        shots: training pictures a class, drawn at random where there are more.
        views: augmented views (random crop and flip) of each picture, cycled over the epochs; 0
            trains on the pictures as they are.
        batch: pictures a step.
        seed: of the draw, the order of pictures, the factors and the dropout.
        class_position: where the class name stands: at the "end", in the "middle" of the prompt's
            vectors, or in "front" of them.
        class_specific: whether every class has vectors of its own; such a prompt names no others.
        class_names: what it was last trained on; () after :meth:`load`, but of class-specific
            prompts.

    Raises:
        ValueError: an open_clip name without ``pretrained``: random weights would learn nothing.
    """

    backbone: str | Backbone = "photo-lite0"
    pretrained: str | None = None
    device: str = "cpu"
    method: str = "dip"
    rank: int = 1
    dropout: float = 0.5
    context: str = "a photo of a"
    epochs: int = 40
    lr: float | None = None
    shots: int = 16
    views: int = 4
    batch: int = 32
    seed: int = 1
    class_position: str = "end"
    class_specific: bool = False
    class_names: tuple[str, ...] = field(default=(), init=False)
    clip: Backbone = field(init=False, repr=False)
    _factors: tuple[Tensor, Tensor] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        name, weights = self.backbone, self.pretrained or None
        if isinstance(name, str) and not (weights or name.startswith(HUB) or backbone_source(name)):
            check_backbone(name)
            raise ValueError(f"{name} needs weights: give pretrained='openai', a tag or a file")
        self.clip = load_backbone(name, weights, self.device) if isinstance(name, str) else name

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """A (n, r) and B (r, d). Raises ValueError: nothing was trained or loaded."""
        if self._factors is None:
            raise ValueError("there is no prompt yet: call fit(folder), or load(path)")
        return self._factors

    @property
    def prompt(self) -> Tensor:
        """P = P0 + A B (n, d), or (C, n, d), merged. Raises ValueError: nothing to merge yet."""
        return low_rank_prompt(self.clip.context(self.context), *self.factors)

    def fit(self, data: str | Path | Dataset) -> PromptedClassifier:
        """Train on ``shots`` pictures of every class of a folder's (or dataset's) train split.

        A folder is read by :func:`dip_lib.data.folders.picture_folder`, which deals pictures
        without splits: half of them train. Their features are kept on disk.

        Raises:
            ValueError: fewer than two classes, what ``picture_folder`` and the backbone refuse, a
                method, rank or dropout that is not valid, a loss that is not finite.
        """
        dataset = picture_folder(data) if isinstance(data, str | Path) else data
        if len(names := dataset.class_names) < 2:
            raise ValueError(f"{dataset.name} has one class, {names[0]!r}: add a second one")
        p0 = self.clip.context(self.context)
        run = self._run(dataset)
        # refuses bad names before pictures are encoded
        self.clip.encoder(names, len(p0), self.class_specific, self.class_position)
        rows = few_shot(dataset.labels("train"), self.shots, self.seed)
        images = encode_views(self.clip, dataset, "train", range(self.views) or [None], rows)
        labels = dataset.labels("train")[rows].to(p0.device)
        training = TrainingData(names, dataset.template, images[None], labels[None])
        runs = Runs.prepare([run], self.clip, training)
        bar = tqdm(train_epochs(runs), "training", self.epochs, unit="epoch", delay=2, leave=False)
        for alive, _ in bar:
            if not alive.all():
                rate = runs.schedule.lr
                raise ValueError(f"the loss is not finite with lr = {rate}: choose a smaller one")
        base, a, b = (tensor[0].detach() for tensor in runs.state.prompts[0])
        if not run.rank:  # a full-rank prompt is its update times the identity
            a, b = torch.eye(len(p0), device=p0.device), base - p0
        self.class_names, self._factors = names, (a, b)
        return self

    def _run(self, dataset: Dataset) -> Run:
        """The run that :meth:`fit` trains."""
        update = LowRank(rank=self.rank, dropout=self.dropout)
        low_rank = {"dip": update, "coop": None}[one_of("method", self.method, ("dip", "coop"))]
        lr = self.lr or self.clip.lr
        return Run(
            data=Data(
                dataset=dataset.name,
                shots=self.shots,
                views=max(1, self.views),
                protocol="all-classes",
            ),
            tower=Tower(backbone=self.clip.name),
            method=CoOp(
                context=self.context,
                class_specific=self.class_specific,
                class_position=self.class_position,
            ),
            low_rank=low_rank,
            schedule=Schedule(epochs=self.epochs, batch=self.batch, lr=lr),
            seed=self.seed,
        )

    @torch.no_grad()
    def predict(
        self,
        images: Paths,
        class_names: Sequence[str] = (),
        top: int = 5,
        skip_unreadable: bool = False,
    ) -> list[list[tuple[str, float]]]:
        """The most probable names of each picture, best first, with their probabilities.

        Features are kept on disk: asking for other names of the same pictures is quick.

        Args:
            images: a picture file, a folder (all pictures below it), or a list of these.
            class_names: any names; default those it was trained on.
            top: names a picture.
            skip_unreadable: give a file that is no readable picture no names, []; one warning
                says what is wrong with each. Otherwise it is an error.

        Raises:
            ValueError: no prompt yet, no names, names that the backbone refuses, or that a
                class-specific prompt was not trained on, a file that is no picture, folders
                without pictures.
        """
        if not (names := tuple(class_names) or self.class_names):
            raise ValueError("class_names are missing, and a prompt file holds none: give them")
        prompt, own = self.prompt, self.class_specific
        if own:
            for name in names:
                one_of("class of a class-specific prompt", name, self.class_names)
            prompt = prompt[[self.class_names.index(name) for name in names]]
        text = self.clip.class_embeddings(prompt, names, (), own, self.class_position)  # (C, e)
        files = picture_files(images)
        encoded, faults = encode_files(self.clip, files, skip_unreadable)
        if faults:
            told = some([f"{files[i]}: {fault}" for i, fault in faults.items()])
            warnings.warn(f"unreadable pictures, {told}", stacklevel=2)
        shares = (self.clip.logit_scale * encoded @ text.T).softmax(-1)  # (M, C)
        pairs = (zip(names, row, strict=True) for row in shares.tolist())
        best = (sorted(each, key=lambda pair: -pair[1])[:top] for each in pairs)
        return [[] if i in faults else next(best) for i in range(len(files))]

    def save(self, path: str | Path) -> None:
        """Save the prompt, class-free, as safetensors: 2 kB for a DIP of CLIP's size.

        Tensors A (n, r) and B (r, d), for each class if they are class-specific; metadata: the
        words of P0, its hash, the backbone, where the class name stands. A CoOp prompt has n d
        parameters, 8 kB. The page "Your own images" reads it with plain open_clip.

        Raises:
            ValueError: nothing was trained or loaded. OSError: the file cannot be written.
        """
        a, b = (each.cpu().contiguous() for each in self.factors)
        save_prompt(Path(path), a, b, self.context, self.clip.context(self.context))
        with safe_open(path, "pt") as file:
            about = {**file.metadata(), "backbone": self.clip.name}
        about["pretrained"] = self.pretrained or ""
        if self.class_position != "end":
            about["class_position"] = self.class_position
        if self.class_specific:
            about["class_names"] = json.dumps(self.class_names)
        write_atomic(Path(path), save({"A": a, "B": b}, metadata=about))

    @classmethod
    def load(
        cls, path: str | Path, backbone: str | Backbone = "", pretrained: str = "", **more: Any
    ) -> PromptedClassifier:
        """A classifier with a saved prompt; backbone and weights default to the file's.

        Args:
            path: written by :meth:`save`.
            backbone, pretrained, more: as for the class, such as ``device="cuda"``.

        Raises:
            ValueError: a damaged file, or another backbone or other weights than its own.
        """
        try:
            with safe_open(path, "pt") as file:
                about, a, b = file.metadata() or {}, file.get_tensor("A"), file.get_tensor("B")
            words = about["words"]
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{path} is damaged or not a prompt file: {error}") from error
        name = backbone.name if isinstance(backbone, Backbone) else backbone
        saved = about.get("backbone", name)
        if name not in ("", saved):
            raise ValueError(f"{path} was trained with {saved}, and cannot be used with {name}")
        weights = pretrained or about.get("pretrained")
        names = tuple(json.loads(about.get("class_names", "[]")))
        place = {
            "class_position": about.get("class_position", "end"),
            "class_specific": bool(names),
        }
        loaded = cls(backbone or saved, weights, context=words, **more | place)
        loaded.class_names = names
        load_prompt(Path(path), loaded.clip.context(words))  # refuses other weights
        loaded._factors = (a.to(loaded.clip.device), b.to(loaded.clip.device))
        return loaded
