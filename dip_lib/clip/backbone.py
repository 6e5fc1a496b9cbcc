"""A frozen CLIP with one interface for all sources: see :mod:`dip_lib.clip.loading`.

Symbols: n context vectors, d text width, e embedding size, C classes, R contexts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dip_lib.checks import plain_context, plain_names, shown
from dip_lib.clip.encoder import Encoder
from dip_lib.clip.layout import before_name
from dip_lib.clip.onednn import fast_linear
from dip_lib.clip.vision_encoder import VisionEncoder
from dip_lib.data.names import check_class_names, check_tokens
from dip_lib.errors import BadValueError, UnknownWordsError

if TYPE_CHECKING:
    from open_clip.model import CLIP


@dataclass(eq=False)
class Backbone:
    """A frozen CLIP: :func:`dip_lib.load_backbone` makes them.

    Attributes:
        name: as given to :func:`dip_lib.load_backbone`.
        model: the open_clip module, in eval mode, without gradients.
        tokenizer: text -> token ids (T, context length).
        preprocess: PIL image -> model input (3, S, S).
        mean, std: normalisation of images in 0..1.
        known_tokens: token ids the text encoder was trained on; None = all of them.
        fingerprint: changes when the weights change; part of every run's key.
        templates: hand-written templates for ensembles, in words that it was trained on; () =
            methods take those of their papers.
        lr: learning rate at which prompts train well on it, where a caller names none (CoOp's).
        memory: bytes that the activations of one pass through the text encoder may take; more
            classes go through in parts.
        image_fingerprint: changes when the image encoder or its projection changes; backbones that
            share these share image features. "": there is only the fingerprint.
        unrounded: what names the image features of the same encoder in fp32; "": its own.
    """

    name: str
    model: CLIP
    tokenizer: Any
    preprocess: Callable[..., Tensor]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    known_tokens: frozenset[int] | None
    fingerprint: str
    templates: tuple[str, ...] = ()
    lr: float = 0.002
    memory: int = 3 * 2**29
    image_fingerprint: str = ""
    unrounded: str = ""
    _encoders: dict[tuple[tuple[str, ...], int, bool, str], Encoder] = field(
        default_factory=dict, repr=False
    )
    # mean and std on each device: a copy to a GPU waits for what is under way there
    _scales: dict[torch.device, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        # encoders of many convolutions are 5-30% faster this way; a ViT, with one, gains nothing
        if sum(isinstance(module, nn.Conv2d) for module in self.model.visual.modules()) > 1:
            self.model.visual.to(memory_format=torch.channels_last)

    @property
    def encodes_as(self) -> str:
        """What names its image features: two backbones with the same give the same."""
        return self.image_fingerprint or self.fingerprint

    @property
    def device(self) -> torch.device:
        return self.model.logit_scale.device

    @property
    def image_size(self) -> int:
        """S: the encoder reads images (3, S, S)."""
        size = self.model.visual.image_size
        return size if isinstance(size, int) else size[0]

    @cached_property
    def image_tower(self) -> VisionEncoder:
        """The image encoder block by block. Raises ValueError: one without blocks, as a ResNet."""
        from dip_lib.clip.frozen_vision import frozen_vision_encoder

        return frozen_vision_encoder(self.model, self.name)

    @cached_property
    def logit_scale(self) -> float:
        """The trained inverse temperature, exp of the stored logarithm."""
        return float(self.model.logit_scale.exp())

    def tokens(self, words: str) -> list[int]:
        """Token ids of ``words``, without start and end.

        Raises:
            ValueError: a word that the text encoder was never trained on, by name, and the nearest
                words that it knows.
        """
        ids: list[int] = self.tokenizer.encode(words)
        known = self.known_tokens
        if known is not None and not known.issuperset(ids):
            each = [word.strip(".,") for word in words.split()]
            unknown = [w for w in each if not known.issuperset(self.tokenizer.encode(w))]
            near = sorted({n for w in unknown for n in get_close_matches(w, self.known_words)})
            raise UnknownWordsError(self.name, unknown or [words], words, near)
        return ids

    @cached_property
    def known_words(self) -> list[str]:
        """The words of one token that the text encoder was trained on, sorted; [] if of all."""
        pieces = (self.tokenizer.decoder[token] for token in self.known_tokens or ())
        return sorted(piece.removesuffix("</w>") for piece in pieces if piece.endswith("</w>"))

    def context(self, words: str) -> Tensor:
        """Frozen embeddings of ``words``: (n, d), float32. The start of a prompt, P0.

        Raises:
            ValueError: blank words, a template ("a photo of a {}."), words that the text encoder
                was not trained on.
        """
        ids = torch.tensor(self.tokens(plain_context(words)), device=self.device)
        return self.model.token_embedding.weight[ids].detach().float().clone()

    def as_read(self, context: Tensor) -> Tensor:
        """Context vectors before the class name as the text encoder's first block reads them.

        Args:
            context: (..., n, d), as :meth:`class_embeddings` takes it.

        Returns:
            (..., n, d), fp32: the vectors with the positional embeddings of places 1 to n added;
            the start token has place 0. CLIP's text encoder has no LayerNorm before its blocks.
        """
        places = self.model.positional_embedding[1 : 1 + context.shape[-2]]
        return context.float() + places.detach().float()

    def normalise(self, images: Tensor) -> Tensor:
        """Images (..., 3, S, S) in 0..1 to the model's input."""
        if images.device not in self._scales:
            both = torch.tensor((self.mean, self.std), device=images.device)
            self._scales[images.device] = both.view(2, 3, 1, 1)
        mean, std = self._scales[images.device]
        return (images - mean) / std

    @torch.no_grad()
    @fast_linear()
    def encode_image(self, batch: Tensor) -> Tensor:
        """Unit image embeddings of a preprocessed batch: (B, 3, S, S) -> (B, e), float32."""
        weight = next(self.model.visual.parameters())
        return F.normalize(self.model.encode_image(batch.to(weight)).float(), dim=-1)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str], unit: bool = True) -> Tensor:
        """Text embeddings by open_clip's own full-length forward: (T, e), float32.

        Args:
            unit: scaled to unit length; else as long as they leave the encoder.

        Raises:
            ValueError: one string in place of a list, a text longer than the encoder's positions
                (open_clip would cut it), or a word that the text encoder was not trained on.
        """
        if isinstance(texts, str):
            raise BadValueError("texts", shown(texts), f"a list of texts, such as [{shown(texts)}]")
        positions = len(self.model.positional_embedding)
        for line in texts:
            if (needed := len(self.tokens(line)) + 2) > positions:
                raise ValueError(
                    f"{line!r} needs {needed} of the {positions} text positions of {self.name}. "
                    "Shorten it."
                )
        ids = self.tokenizer(list(texts)).to(self.device)
        features = self.model.encode_text(ids).float()
        return F.normalize(features, dim=-1) if unit else features

    def encoder(
        self,
        class_names: Sequence[str],
        n: int,
        per_class: bool = False,
        class_position: str = "end",
    ) -> Encoder:
        """The encoder of ``class_names`` with ``n`` context vectors; kept by names.

        Raises:
            ValueError: names that are blank, the same, or the same tokens, or one string in place
                of a list; a word that the text encoder was not trained on; names that do not fit
                beside the context; an unknown position.
        """
        asked = n, per_class, class_position
        try:  # a tuple that has been checked, as in every step of a training
            return self._encoders[cast(Any, class_names), *asked]
        except (KeyError, TypeError):  # others, and what cannot be a key
            names = plain_names(class_names)
        if kept := self._encoders.get((names, *asked)):
            return kept
        before = before_name(class_position, n)
        check_class_names(names)
        end = self.tokenizer.eot_token_id
        # as the peers: underscores are spaces, a full stop closes the prompt
        plain = [name.replace("_", " ") for name in names]
        suffixes = [[*self.tokens(f"{name}."), end] for name in plain]
        check_tokens(names, suffixes)
        positions = len(self.model.positional_embedding)
        if too_long := [
            f"{name!r} ({len(suffix)})"
            for name, suffix in zip(names, suffixes, strict=True)
            if 1 + n + len(suffix) > positions
        ]:
            raise ValueError(
                f"{self.name} has {positions} text positions; the start token and {n} context "
                f"vectors leave {max(0, positions - 1 - n)}, and these names need more tokens: "
                f"{', '.join(too_long[:5])}{' …' * (len(too_long) > 5)}. "
                "Shorten the context or the names."
            )
        start = self.tokenizer.sot_token_id
        # a name ends where it does without the full stop, as in CoOp's PromptLearner
        lengths = [len(self.tokens(name)) for name in plain] if before < n else []
        encoder = Encoder(self.model, suffixes, n, start, per_class, self.memory, before, lengths)
        self._encoders[names, *asked] = encoder
        return encoder

    def class_embeddings(
        self,
        context: Tensor,
        class_names: Sequence[str],
        deep: Sequence[Tensor] = (),
        per_class: bool = False,
        class_position: str = "end",
    ) -> Tensor:
        """Class embeddings for a learnable context, exact and differentiable in it.

        Args:
            context: (n, d), or (R, n, d) for R prompts at once; with ``per_class`` (C, n, d) or
                (R, C, n, d), a context for each class.
            class_names: C different names.
            deep: prompts of deeper blocks, each shaped as ``context``: ``deep[i]`` replaces the
                context's states before block i + 1 (MaPLe, PromptSRC).
            per_class: whether every class has a context of its own (CoOp's "class-specific").
            class_position: where the class name stands: behind the context ("end"), between its
                first n // 2 vectors and the others ("middle"), or before it ("front").

        Returns:
            (C, e) or (R, C, e), fp32, unit length.

        Raises:
            ValueError: names that :meth:`encoder` refuses, a context or deep prompt of another
                shape, more deep prompts than blocks, too many positions, an unknown position.
        """
        if not isinstance(class_names, tuple):
            class_names = plain_names(class_names)
        width = self.model.positional_embedding.shape[1]
        single, classes = 2 + per_class, len(class_names)
        fits = context.dim() in (single, single + 1) and context.shape[-1] == width
        if not fits or (per_class and context.shape[-3] != classes):
            shape = f"({classes}, n, {width})" if per_class else f"(n, {width})"
            raise ValueError(
                f"{self.name} needs a context {shape} or (R, {shape[1:]}, got "
                f"{tuple(context.shape)}"
            )
        if len(deep) >= (blocks := len(self.model.transformer.resblocks)):
            raise ValueError(
                f"{len(deep)} deep prompts for the {blocks} blocks of {self.name}: the first block "
                f"reads the context itself, so at most {blocks - 1} fit"
            )
        if other := [tuple(p.shape) for p in deep if p.shape != context.shape]:
            raise ValueError(
                f"deep prompts need the context's shape {tuple(context.shape)}, got {other[0]}"
            )
        encoder = self.encoder(class_names, context.shape[-2], per_class, class_position)
        if context.dim() > single:
            return encoder(context, deep)
        return encoder(context[None], [p[None] for p in deep])[0]
