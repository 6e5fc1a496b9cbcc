"""Oracles: the peers' methods as ordinary modules, one run each, written from their formulas.

Nothing here is fast: texts are read at full length through the causal mask, images block by block.
Parameters start at a test's state dict, named as the peer names them.

Symbols: n context vectors, d text width, w image width, e embedding size, C classes, B batch.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import zip_longest

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dip_lib.clip.backbone import Backbone

Start = Mapping[str, Tensor]
Prompts = Iterable[Tensor]
Names = Sequence[str]
unit = partial(F.normalize, dim=-1)


def text_features(
    clip: Backbone, names: Names, context: Tensor, deep: Prompts = (), words: str | None = None
) -> Tensor:
    """Text features (C, e), not normalised, of the prompt "``words`` name.".

    ``context`` (n, d) takes the place of the first n tokens of ``words`` (None: of all), and
    ``deep[i]`` (n, d) that of its states before block i + 1.
    """
    model, n = clip.model, len(context)
    before = " ".join(["a"] * n) if words is None else words
    texts = [f"{before} {name.replace('_', ' ')}." for name in names]
    ids = clip.tokenizer(texts).to(clip.device)

    def put(states: Tensor, rows: Tensor) -> Tensor:
        return torch.cat([states[:, :1], rows.expand(len(ids), -1, -1), states[:, 1 + n :]], dim=1)

    x = put(model.token_embedding(ids), context) + model.positional_embedding
    mask = torch.full((ids.shape[1], ids.shape[1]), -math.inf, device=clip.device).triu(1)
    for block, rows in zip_longest(model.transformer.resblocks, (None, *deep)):
        x = block(x if rows is None else put(x, rows), attn_mask=mask)
    # the end token has the largest id of all
    x = x[torch.arange(len(ids)), ids.argmax(dim=-1)]
    return model.ln_final(x) @ model.text_projection


def image_features(
    clip: Backbone, images: Tensor, prompt: Tensor | None = None, deep: Prompts = ()
) -> Tensor:
    """Image features (B, e) of a vision transformer, not normalised, from (B, 3, S, S).

    ``prompt`` (n, w) joins at the end of the sequence, after the positions and before the first
    layer norm; ``deep[i]`` (n, w) takes the place of its states before block i + 1.
    """
    tower, count = clip.model.visual, len(images)

    def at_end(states: Tensor, rows: Tensor) -> Tensor:
        return torch.cat([states, rows.expand(count, -1, -1)], dim=1)

    patches = tower.conv1(images).flatten(2).transpose(1, 2)
    first = tower.class_embedding.expand(count, 1, -1)
    x = torch.cat([first, patches], dim=1) + tower.positional_embedding
    own = x.shape[1]
    x = tower.ln_pre(x if prompt is None else at_end(x, prompt))
    for block, rows in zip_longest(tower.transformer.resblocks, (None, *deep)):
        x = block(x if rows is None else at_end(x[:, :own], rows))
    return tower.ln_post(x[:, 0]) @ tower.proj


class CoOp(nn.Module):
    """``ctx`` (n, d) before the names, trained by cross-entropy.

    Images are pixels (B, 3, S, S), or what the plain image tower made of them (B, e).
    """

    words: str | None = None  # before the name; ctx takes the place of the first n
    head_rate = 1.0  # the rate of all but ctx, as a multiple of the run's

    def __init__(
        self, clip: Backbone, names: Names, start: Start, templates: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.clip, self.names = clip, tuple(names)
        self.ctx = nn.Parameter(start["ctx"].clone())
        self.build(start)
        self.load_state_dict(start)  # strict: a test that forgets a parameter fails
        if templates:
            texts = [[t.replace("{}", n.replace("_", " ")) for n in names] for t in templates]
            each = [clip.model.encode_text(clip.tokenizer(t).to(clip.device)) for t in texts]
            # averaged as they are, and only then normalised
            self.teacher = unit(torch.stack(each).mean(dim=0)).detach()

    def build(self, start: Start) -> None:
        """Parameters beside ``ctx``, of the shapes in ``start``."""

    def images(self, images: Tensor) -> Tensor:
        """Features (B, e), not normalised."""
        return image_features(self.clip, images) if images.dim() == 4 else images

    def texts(self, names: Names) -> Tensor:
        """Features (C, e), not normalised."""
        return text_features(self.clip, names, self.ctx, self.deep(), self.words)

    def deep(self) -> Prompts:
        """Prompts of the text tower's blocks after the first."""
        return ()

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        return self.clip.model.logit_scale.exp() * unit(images) @ unit(texts).T

    def forward(self, images: Tensor, names: Names | None = None) -> Tensor:
        """Logits (B, C) as at test time, of the trained classes or of others."""
        return self.similarity(self.images(images), self.texts(names or self.names))

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self(images), labels)

    def backward(self, images: Tensor, labels: Tensor) -> float:
        """Fill ``.grad`` of every parameter; the loss."""
        loss = self.loss(images, labels)
        loss.backward()
        return loss.item()


class CoCoOp(CoOp):
    """Each image shifts the context by what a small network makes of its unit features."""

    def build(self, start: Start) -> None:
        hidden, e = start["meta_net.linear1.weight"].shape
        first, second = nn.Linear(e, hidden), nn.Linear(hidden, self.ctx.shape[1])
        self.meta_net = nn.Sequential(OrderedDict(linear1=first, relu=nn.ReLU(), linear2=second))

    def forward(self, images: Tensor, names: Names | None = None) -> Tensor:
        def logits(image: Tensor) -> Tensor:
            context = self.ctx + self.meta_net(unit(image))
            return self.similarity(image, text_features(self.clip, names or self.names, context))

        return torch.stack([logits(image) for image in self.images(images)])


class KgCoOp(CoOp):
    """CoOp held near the features of a hand-written template."""

    weight = 8.0

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        near = (unit(self.texts(self.names)) * self.teacher).sum(dim=1)
        return super().loss(images, labels) + self.weight * (1 - near.mean())


class ProGrad(CoOp):
    """CoOp whose gradient may not go against that of imitating zero-shot CLIP."""

    strength = 1.0

    def imitation(self, images: Tensor) -> Tensor:
        """Cross-entropy with zero-shot CLIP's probabilities as targets."""
        zero_shot = self.similarity(self.images(images), self.teacher)
        return F.cross_entropy(self(images), zero_shot.softmax(dim=1))

    def backward(self, images: Tensor, labels: Tensor) -> float:
        loss, prompts = self.loss(images, labels), list(self.parameters())  # of a DIP: its factors
        wanted = torch.autograd.grad(loss, prompts)
        general = torch.autograd.grad(self.imitation(images), prompts)
        for prompt, own, other in zip(prompts, wanted, general, strict=True):
            direction = other / other.norm()
            along = (own * direction).sum()
            prompt.grad = own - self.strength * along * direction if along < 0 else own
        return loss.item()


def listed(prefix: str, start: Start) -> nn.ParameterList:
    return nn.ParameterList([value.clone() for name, value in start.items() if prefix in name])


class MaPLe(CoOp):
    """Prompts in both towers and their first blocks; the image tower's are made from the texts'."""

    words = "a photo of a"  # with n = 2, a frozen "of a" stays between the context and the name

    def build(self, start: Start) -> None:
        d, w = self.ctx.shape[1], len(start["proj.bias"])
        self.proj = nn.Linear(d, w)
        self.compound_prompts_text = deep = listed("compound_prompts_text.", start)
        self.compound_prompt_projections = nn.ModuleList([nn.Linear(d, w) for _ in deep])

    def deep(self) -> Prompts:
        return self.compound_prompts_text

    def images(self, images: Tensor) -> Tensor:
        pairs = zip(self.compound_prompt_projections, self.compound_prompts_text, strict=True)
        deep = [project(prompt) for project, prompt in pairs]
        return image_features(self.clip, images, self.proj(self.ctx), deep)


class PromptSRC(CoOp):
    """Prompts of their own in both towers, held near the features and logits of plain CLIP."""

    words, text_weight, image_weight = "a photo of a", 25.0, 10.0

    def build(self, start: Start) -> None:
        self.VPT = nn.Parameter(start["VPT"].clone())
        self.VPT_shallow_text = listed("VPT_shallow_text.", start)
        self.VPT_shallow_image = listed("VPT_shallow_image.", start)

    def deep(self) -> Prompts:
        return self.VPT_shallow_text

    def images(self, images: Tensor) -> Tensor:
        return image_features(self.clip, images, self.VPT, self.VPT_shallow_image)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        shown, texts = self.images(images), self.texts(self.names)
        logits = self.similarity(shown, texts)
        plain = image_features(self.clip, images)
        zero_shot = self.similarity(plain, self.teacher).log_softmax(dim=1)
        divergence = zero_shot.exp() * (zero_shot - logits.log_softmax(dim=1))
        return (
            F.cross_entropy(logits, labels)
            + self.text_weight * (unit(texts) - self.teacher).abs().mean()
            + self.image_weight * (unit(shown) - unit(plain)).abs().mean()
            + divergence.mean()  # over images and classes
        )


class DePT(CoOp):
    """CoOp beside a linear classifier of scaled and shifted features, not normalised."""

    weight, head_rate = 0.7, 6.5

    def build(self, start: Start) -> None:
        classes, e = start["linear_probe_proj.weight"].shape
        films = [{"scale": torch.ones(e), "bias": torch.zeros(e)} for _ in range(2)]
        self.film_lp_img, self.film_lp_text = map(nn.ParameterDict, films)
        self.linear_probe_proj = nn.Linear(e, classes)

    def linear(self, features: Tensor, film: nn.ParameterDict) -> Tensor:
        return self.linear_probe_proj(film["scale"] * features + film["bias"])

    def forward(self, images: Tensor, names: Names | None = None) -> Tensor:
        """Both classifiers' logits for the trained classes, CoOp's for others."""
        if names is not None:
            return super().forward(images, names)
        own = super().forward(images)
        linear = self.linear(self.images(images), self.film_lp_img)
        return (1 - self.weight) * own + self.weight * linear

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        shown, texts = self.images(images), self.texts(self.names)
        of_texts = self.linear(texts[labels], self.film_lp_text)
        both = torch.cat([of_texts, self.linear(shown, self.film_lp_img)])
        own = F.cross_entropy(self.similarity(shown, texts), labels)
        return (1 - self.weight) * own + self.weight * F.cross_entropy(both, labels.repeat(2))


def gaussian_weights(epochs: int, mean: float = 15.0, std: float = 1.0) -> list[float]:
    """PromptSRC's weights of the prompts at the end of epochs 1, 2, ...; they add up to 1."""
    heights = [math.exp(-0.5 * ((k - mean) / std) ** 2) for k in range(1, epochs + 1)]
    return [height / sum(heights) for height in heights]


def train(
    module: CoOp,
    batches: Sequence[tuple[Tensor, Tensor]],
    lr: float | Sequence[float],
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    average: Sequence[float] = (),
    after: Callable[[], None] = lambda: None,
) -> list[float]:
    """A step for each batch (images, labels), in place, then ``after``; the losses before them.

    ``lr``: one rate, or one a step. ``average``: weights of the epochs' ends, to end at their sum.
    """
    rates = [lr] * len(batches) if isinstance(lr, float) else list(lr)
    groups = [{"params": [p], "name": name} for name, p in module.named_parameters()]
    optimiser = torch.optim.SGD(groups, 0.0, momentum, weight_decay=weight_decay)
    losses, ends = [], []
    for step, ((images, labels), rate) in enumerate(zip(batches, rates, strict=True), start=1):
        for group in optimiser.param_groups:
            group["lr"] = rate * (1 if "ctx" in group["name"] else module.head_rate)
        optimiser.zero_grad()
        losses.append(module.backward(images, labels))
        optimiser.step()
        after()
        if average and step % (len(batches) // len(average)) == 0:
            ends.append({name: p.clone() for name, p in module.state_dict().items()})
    if average:
        pairs = list(zip(average, ends, strict=True))
        module.load_state_dict({k: sum(q * end[k] for q, end in pairs) for k in ends[0]})
    return losses
