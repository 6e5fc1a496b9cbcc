"""Own pictures: fit a prompt to a folder, predict any class names, keep a file of 2 kB.

A prompt is independent of classes: names are given when pictures are classified, and may differ
from those that it was trained on.

Symbols: n context vectors, d text width, r rank, e embedding size.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dip_lib.checks import plain_context, plain_names, positive, shown, whole
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import encode_split, encode_views
from dip_lib.clip.given import encode_given
from dip_lib.clip.layout import POSITIONS
from dip_lib.clip.loading import backbone_source, check_backbone, load_backbone
from dip_lib.clip.weights import HUB
from dip_lib.data import Dataset, few_shot, in_memory
from dip_lib.data.folders import picture_folder
from dip_lib.data.names import some
from dip_lib.errors import BadValueError, NoWeightsError, one_of
from dip_lib.methods import CoOp
from dip_lib.prompt import load_prompt, low_rank_prompt
from dip_lib.prompt.classifier_file import SavedPrompt, read_classifier_file, write_classifier_file
from dip_lib.training.batch_data import TrainingData
from dip_lib.training.confusion import HeldOut, confusion
from dip_lib.training.one_run import train_prompt
from dip_lib.training.run import Data, LowRank, Run, Schedule, Tower


def _dataset(data: str | Path | Dataset) -> Dataset:
    if isinstance(data, str | Path):
        return picture_folder(data)
    if not hasattr(data, "class_names"):
        raise BadValueError("data", shown(data), "a folder of class folders, or a dataset")
    return data


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
        ValueError: an open_clip name without ``pretrained``: random weights would learn nothing;
            a setting that is out of range or no number.
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
        self._check()
        name, weights = self.backbone, self.pretrained or None
        if isinstance(name, str) and not (weights or name.startswith(HUB) or backbone_source(name)):
            check_backbone(name)
            raise NoWeightsError(name, "", "random ones would learn nothing")
        self.clip = load_backbone(name, weights, self.device) if isinstance(name, str) else name

    def _check(self) -> None:
        """Refuse settings out of range. They can be set at any time, so each fit asks again."""
        for name, least in {"epochs": 0, "views": 0, "shots": 1, "batch": 1, "rank": 1}.items():
            setattr(self, name, whole(name, getattr(self, name), least))
        self.seed, self.context = whole("seed", self.seed), plain_context(self.context)
        if self.lr is not None:
            self.lr = positive("lr", self.lr)
        one_of("method", self.method, ("dip", "coop"))
        one_of("class_position", self.class_position, POSITIONS)
        LowRank(rank=self.rank, dropout=self.dropout)

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
                setting that is not valid, a loss that is not finite.
        """
        self._check()
        dataset = _dataset(data)
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
        self._factors = train_prompt(run, self.clip, training, p0)
        self.class_names = names
        return self

    def _run(self, dataset: Dataset) -> Run:
        """The run that :meth:`fit` trains."""
        update = LowRank(rank=self.rank, dropout=self.dropout)
        low_rank = {"dip": update, "coop": None}[self.method]
        lr = self.clip.lr if self.lr is None else self.lr
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
        images: in_memory.Given,
        class_names: Sequence[str] | None = None,
        top: int = 5,
        skip_unreadable: bool = False,
    ) -> list[list[tuple[str, float]]]:
        """The most probable names of each picture, best first, with their probabilities.

        Features of files are kept on disk: asking for other names of the same pictures is quick.

        Args:
            images: a picture file, a folder (all pictures below it), a PIL image, an array
                (H, W, 3) or (N, H, W, 3), a tensor (3, H, W) or (N, 3, H, W), or a list of these;
                numbers are uint8, or floats in 0..1 (``dip_lib.data.in_memory``).
            class_names: any names; default those it was trained on.
            top: names a picture.
            skip_unreadable: give a file that is no readable picture no names, []; one warning
                says what is wrong with each. Otherwise it is an error.

        Raises:
            ValueError: no prompt yet, no names, names that the backbone refuses, or that a
                class-specific prompt was not trained on; what is no picture, folders without one.
        """
        if class_names is None or (isinstance(class_names, list | tuple) and not class_names):
            if not self.class_names:
                raise ValueError("class_names are missing, and a prompt file holds none: give them")
            class_names = self.class_names
        names, top = plain_names(class_names), whole("top", top, 1)
        given = in_memory.in_order(images)
        text = self._class_embeddings(names)  # (C, e)
        encoded, faults = encode_given(self.clip, given, skip_unreadable)
        if faults:
            told = some([f"{given[i]}: {fault}" for i, fault in faults.items()])
            warnings.warn(f"unreadable pictures, {told}", stacklevel=3)
        shares = (self.clip.logit_scale * encoded @ text.T).softmax(-1)  # (M, C)
        pairs = (zip(names, row, strict=True) for row in shares.tolist())
        best = (sorted(each, key=lambda pair: -pair[1])[:top] for each in pairs)
        return [[] if i in faults else next(best) for i in range(len(given))]

    @torch.no_grad()
    def evaluate(self, data: str | Path | Dataset, split: str = "test") -> HeldOut:
        """What held-out pictures are taken for: by the prompt, and by its words alone (zero-shot).

        Args:
            data: as for :meth:`fit`, which trains on nothing but the split "train".
            split: "test" or "val".

        Zero-shot has the class name behind the words, wherever it stands in the prompt.

        Raises:
            ValueError: no prompt yet, an unknown split, what :meth:`fit` refuses of ``data``, a
                class that a class-specific prompt was not trained on.
        """
        dataset, words = _dataset(data), self.clip.context(self.context)
        names, labels = dataset.class_names, dataset.labels(split)
        texts = [self._class_embeddings(names), self.clip.class_embeddings(words, names)]
        encoded = encode_split(self.clip, dataset, split)
        named = [(encoded @ text.T).argmax(-1) for text in texts]
        return HeldOut(names, *(confusion(each, labels, len(names)) for each in named))

    def _class_embeddings(self, names: Sequence[str]) -> Tensor:
        """(C, e) of any names, or of some of those that a class-specific prompt has."""
        prompt, own = self.prompt, self.class_specific
        if own:
            for name in names:
                one_of("class of a class-specific prompt", name, self.class_names)
            prompt = prompt[[self.class_names.index(name) for name in names]]
        return self.clip.class_embeddings(prompt, names, (), own, self.class_position)

    def save(self, path: str | Path) -> None:
        """Save the prompt, class-free, as safetensors: 2 kB for a DIP of CLIP's size.

        Tensors A (n, r) and B (r, d), for each class if they are class-specific; metadata: the
        words of P0, its hash, the backbone, where the class name stands. A CoOp prompt has n d
        parameters, 8 kB. The page "Your own images" reads it with plain open_clip.

        Raises:
            ValueError: nothing was trained or loaded. OSError: the file cannot be written.
        """
        names = self.class_names if self.class_specific else ()
        tower = self.clip.name, self.pretrained or ""
        saved = SavedPrompt(*self.factors, self.context, *tower, self.class_position, names)
        write_classifier_file(Path(path), saved, self.clip.context(self.context))

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
        saved = read_classifier_file(path)
        name = backbone.name if isinstance(backbone, Backbone) else backbone
        if name and saved.backbone not in ("", name):
            raise ValueError(
                f"{path} was trained with {saved.backbone}, and cannot be used with {name}"
            )
        tower = backbone or saved.backbone, pretrained or saved.pretrained
        more |= {"class_position": saved.class_position, "class_specific": bool(saved.class_names)}
        loaded = cls(*tower, context=saved.words, **more)
        loaded.class_names = saved.class_names
        load_prompt(Path(path), loaded.clip.context(saved.words))  # refuses other weights
        loaded._factors = (saved.a.to(loaded.clip.device), saved.b.to(loaded.clip.device))
        return loaded
