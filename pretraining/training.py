"""How a small CLIP is pre-trained: the loss, the loop and its checkpoints.

Plain InfoNCE stays at chance on a corpus this small. Two additions make it learn: an auxiliary
loss against one learned prototype a character (weight falling from 1 to 0.2, table discarded), and
batches of which half are runs of neighbouring code points, so that look-alikes meet. The first ViT
learns against the ResNet's locked text encoder, with its image features as a second target; a ViT
with a text encoder of its own reaches them through a learned linear map, so that the space it
shares with its words is its own.

The logit scale moves by at most the learning rate in a step of AdamW: by a factor of 1.65 in a
thousand steps of the cosine, from 14.3. A faster rate lets it go where the loss wants it, and a
rising floor takes it further.

Step s draws everything from (seed, s), so a killed run resumes with the same batches.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from corpus import Corpus
from encoders import compact, convolutional, image_encoder, precision, text_features
from open_clip.model import CLIP
from torch import Tensor, nn
from tqdm import tqdm

from dip_lib.paths import home
from glyph_world.captions import vocabulary
from glyph_world.models import EMBEDDING, build
from glyph_world.world import characters

LARGEST_SCALE = 100
"""Of the logits, as CLIP's."""


@dataclass(frozen=True)
class Recipe:
    """What a pre-training depends on, besides the world itself.

    Attributes:
        teacher: a finished backbone, whose image features are a second target; "" for none.
        own_text: whether the text encoder is trained, too, beside a teacher.
        scale_rate: learning rate of the logit scale, over that of everything else.
        scale_floor: the smallest logit scale in the second half; it rises from 1 in the first.
        bf16: whether the matrix products of both encoders are taken in bf16; a ResNet's always are.
    """

    steps: int
    batch: int = 512
    lr: float = 1e-3
    weight_decay: float = 0.1
    warmup_steps: int = 100
    seed: int = 0
    prototype_scale: float = 16.0
    teacher: str = ""
    distillation: float = 8.0
    compiled: bool = False
    scale_rate: float = 1.0
    scale_floor: float = 0.0
    own_text: bool = False
    bf16: bool = False

    @property
    def locked(self) -> bool:
        """Whether the text encoder is the teacher's, and stays as it is."""
        return bool(self.teacher) and not self.own_text


@dataclass
class Training:
    """Everything that a checkpoint holds; ``bridge`` (e, e) maps image features to a teacher's."""

    model: CLIP
    prototypes: nn.Parameter
    bridge: nn.Parameter
    optimiser: torch.optim.AdamW
    recipe: Recipe
    step: int = 0
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        state |= {"prototypes": self.prototypes.data, "bridge": self.bridge.data}
        state |= {"recipe": asdict(self.recipe)}
        state |= {"step": self.step, "seconds": self.seconds}
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, part := path.with_suffix(".part"))
        part.replace(path)

    def resume(self, path: Path) -> None:
        """Resume from a checkpoint, if there is one of the same recipe."""
        if not path.is_file():
            return
        device = self.prototypes.device
        state = torch.load(path, weights_only=True, map_location=device)
        if state["recipe"] == asdict(self.recipe):
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.prototypes.data.copy_(state["prototypes"])
            self.bridge.data.copy_(state["bridge"])
            self.step, self.seconds = state["step"], state["seconds"]
            tqdm.write(f"resuming from step {self.step} ({path})")


def _begin(name: str, recipe: Recipe, teacher: CLIP | None, device: str) -> Training:
    """Untrained model and optimiser; the teacher's text encoder, if the recipe locks it."""
    torch.manual_seed(recipe.seed)
    model = build(name, len(vocabulary()))
    prototypes = nn.Parameter((0.1 * torch.randn(len(characters()), EMBEDDING)).to(device))
    bridge = nn.Parameter((torch.randn(EMBEDDING, EMBEDDING) * EMBEDDING**-0.5).to(device))
    if teacher is not None and recipe.locked:
        text = {k: v for k, v in teacher.state_dict().items() if not k.startswith("visual.")}
        model.load_state_dict(text, strict=False)
        for key, parameter in model.named_parameters():
            parameter.requires_grad_(key.startswith("visual.") or key == "logit_scale")
    model.to(device).train()
    if convolutional(name):
        model.visual.to(memory_format=torch.channels_last)
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    matrices = [p for n, p in named if p.ndim >= 2 and "embedding" not in n]
    rest = [p for n, p in named if n != "logit_scale" and (p.ndim < 2 or "embedding" in n)]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay, "rate": 1.0},
        {"params": [*rest, prototypes, bridge], "weight_decay": 0.0, "rate": 1.0},
        {"params": [model.logit_scale], "weight_decay": 0.0, "rate": recipe.scale_rate},
    ]
    optimiser = torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98), eps=1e-6)
    return Training(model, prototypes, bridge, optimiser, recipe)


def _log_floor(recipe: Recipe, step: int) -> float:
    """Log of the smallest logit scale after a step: it rises over the first half of training."""
    rise = min(1, 2 * step / recipe.steps)
    return rise * math.log(max(1, recipe.scale_floor))


def _loss(
    run: Training, teacher: CLIP | None, images: Tensor, image: Tensor, words: Tensor, which: Tensor
) -> tuple[Tensor, Tensor]:
    """The loss of a batch and its top-1 accuracy within the batch.

    Args:
        images: (B, 3, 48, 48). image, words: (B, e) unit features. which: (B,) characters.
    """
    recipe, progress = run.recipe, run.step / run.recipe.steps
    logits = run.model.logit_scale.exp() * image @ words.T
    target = torch.arange(len(image), device=image.device)
    loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    help_weight = 1 - 0.8 * min(1, 1.5 * progress)
    table = recipe.prototype_scale * F.normalize(run.prototypes, dim=-1).T
    loss = loss + help_weight * F.cross_entropy(image @ table, which)
    if not recipe.locked:
        loss = loss + help_weight * F.cross_entropy(words @ table, which)
    if teacher is not None:
        with torch.no_grad(), precision(recipe.bf16, images.device.type):
            goal = F.normalize(teacher.encode_image(images).float(), dim=-1)
        shown = image if recipe.locked else F.normalize(image @ run.bridge, dim=-1)
        loss = loss + recipe.distillation * (1 - (shown * goal).sum(1)).mean()
    return loss, (logits.argmax(1) == target).float().mean()


def train(
    name: str,
    recipe: Recipe,
    device: str = "cpu",
    every: int = 50,
    start: Callable[[Training], None] = lambda run: None,
) -> tuple[CLIP, float]:
    """Pre-train ``name``; returns the model (compact vocabulary) and the seconds it took.

    A checkpoint is kept every ``every`` steps under the live results; an interrupted call resumes
    from it. The checkpoint of another recipe is ignored. ``start`` changes the untrained model.
    """
    corpus = Corpus()
    teacher = compact(recipe.teacher).to(device) if recipe.teacher else None
    run = _begin(name, recipe, teacher, device)
    start(run)
    encode = image_encoder(run.model, recipe.compiled, recipe.batch)
    saved = home() / "pretrain" / f"{name}.pt"
    run.resume(saved)
    before, began = run.seconds, time.perf_counter()
    bar = tqdm(range(run.step, recipe.steps), name, recipe.steps, initial=run.step, mininterval=5)
    for step in bar:
        lr = recipe.lr * min(1, (step + 1) / recipe.warmup_steps)
        lr *= 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        for group in run.optimiser.param_groups:
            group["lr"] = lr * group["rate"]
        batch = corpus.batch(recipe.batch, recipe.seed, step)
        images, which = batch.images.to(device), batch.character.to(device)
        if convolutional(name):
            images = images.contiguous(memory_format=torch.channels_last)
        with precision(recipe.bf16 or convolutional(name), device):
            image = F.normalize(encode(images).float(), dim=-1)  # (B, e)
        with torch.set_grad_enabled(not recipe.locked), precision(recipe.bf16, device):
            words = text_features(run.model, batch.tokens.to(device))  # (B, e)
        loss, top1 = _loss(run, teacher, images, image, words, which)
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
        run.optimiser.step()
        run.model.logit_scale.data.clamp_(_log_floor(recipe, step), math.log(LARGEST_SCALE))
        run.step, run.seconds = step + 1, before + time.perf_counter() - began
        if run.step % every == 0:
            bar.set_postfix(loss=f"{loss.item():.2f}", top1=f"{top1.item():.2f}")
            run.save(saved)
    return run.model.cpu().eval(), run.seconds
