"""How a small CLIP is pre-trained: the loss, the loop and its checkpoints.

Plain InfoNCE stays at chance on a corpus this small. Two additions make it learn: an auxiliary
loss against one learned prototype a character (weight falling from 1 to 0.2, table discarded), and
batches of which half are runs of neighbouring code points, so that look-alikes meet. The ViT then
learns against the ResNet's locked text encoder, with its image features as a second target.

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
from open_clip.model import CLIP
from torch import Tensor, nn
from tqdm import tqdm

from dip_lib.paths import home
from glyph_world.captions import vocabulary
from glyph_world.models import EMBEDDING, build, load_glyph_clip
from glyph_world.world import characters


@dataclass(frozen=True)
class Recipe:
    """What a pre-training depends on, besides the world itself."""

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


def text_features(model: CLIP, tokens: Tensor) -> Tensor:
    """Unit text features; as the model's own, without the padding up to 32 positions."""
    length = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    x = x[torch.arange(len(tokens)), tokens.argmax(-1)] @ model.text_projection
    return F.normalize(x.float(), dim=-1)


def _load_teacher(name: str) -> CLIP:
    """The finished teacher with the compact vocabulary, frozen."""
    whole, _ = load_glyph_clip(name)
    teacher = build(name, len(vocabulary()))
    state = whole.state_dict()
    state["token_embedding.weight"] = state["token_embedding.weight"][vocabulary()]
    teacher.load_state_dict(state, strict=False)
    return teacher.eval().requires_grad_(False)


@dataclass
class Training:
    """Everything that a checkpoint holds."""

    model: CLIP
    prototypes: nn.Parameter
    optimiser: torch.optim.AdamW
    recipe: Recipe
    step: int = 0
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        state |= {"prototypes": self.prototypes.data, "recipe": asdict(self.recipe)}
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
            self.step, self.seconds = state["step"], state["seconds"]
            tqdm.write(f"resuming from step {self.step} ({path})")


def _begin(name: str, recipe: Recipe, teacher: CLIP | None, device: str) -> Training:
    """Untrained model and optimiser; with a teacher its text encoder, locked."""
    torch.manual_seed(recipe.seed)
    model = build(name, len(vocabulary()))
    prototypes = nn.Parameter((0.1 * torch.randn(len(characters()), EMBEDDING)).to(device))
    if teacher is not None:
        text = {k: v for k, v in teacher.state_dict().items() if not k.startswith("visual.")}
        model.load_state_dict(text, strict=False)
        for key, parameter in model.named_parameters():
            parameter.requires_grad_(key.startswith("visual.") or key == "logit_scale")
    model.to(device).train()
    if _convolutional(name):
        model.visual.to(memory_format=torch.channels_last)
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    matrices = [p for n, p in named if p.ndim >= 2 and "embedding" not in n]
    rest = [p for n, p in named if p.ndim < 2 or "embedding" in n]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": [*rest, prototypes], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98), eps=1e-6)
    return Training(model, prototypes, optimiser, recipe)


def _convolutional(name: str) -> bool:
    return name == "glyph-resnet"


def _image_encoder(model: CLIP, recipe: Recipe) -> Callable[[Tensor], Tensor]:
    if not recipe.compiled:
        return model.encode_image
    whole = torch.compile(model.encode_image, dynamic=False)

    def encode(images: Tensor) -> Tensor:
        # batches differ a little in size, and another size would compile anew: fill it up
        filled = F.pad(images, (0, 0, 0, 0, 0, 0, 0, recipe.batch - len(images)))
        return whole(filled)[: len(images)]

    return encode


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
    if teacher is None:
        loss = loss + help_weight * F.cross_entropy(words @ table, which)
    else:
        with torch.no_grad():
            goal = F.normalize(teacher.encode_image(images), dim=-1)
        loss = loss + recipe.distillation * (1 - (image * goal).sum(1)).mean()
    return loss, (logits.argmax(1) == target).float().mean()


def train(name: str, recipe: Recipe, device: str = "cpu", every: int = 50) -> tuple[CLIP, float]:
    """Pre-train ``name``; returns the model (compact vocabulary) and the seconds it took.

    A checkpoint is kept every ``every`` steps under the live results; an interrupted call resumes
    from it. The checkpoint of another recipe is ignored.
    """
    corpus = Corpus()
    teacher = _load_teacher(recipe.teacher).to(device) if recipe.teacher else None
    run = _begin(name, recipe, teacher, device)
    encode = _image_encoder(run.model, recipe)
    saved = home() / "pretrain" / f"{name}.pt"
    run.resume(saved)
    before, began = run.seconds, time.perf_counter()
    bar = tqdm(range(run.step, recipe.steps), name, recipe.steps, initial=run.step, mininterval=5)
    for step in bar:
        lr = recipe.lr * min(1, (step + 1) / recipe.warmup_steps)
        lr *= 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        for group in run.optimiser.param_groups:
            group["lr"] = lr
        batch = corpus.batch(recipe.batch, recipe.seed, step)
        images, which = batch.images.to(device), batch.character.to(device)
        if _convolutional(name):
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=_convolutional(name)):
            image = F.normalize(encode(images).float(), dim=-1)  # (B, e)
        with torch.set_grad_enabled(teacher is None):
            words = text_features(run.model, batch.tokens.to(device))  # (B, e)
        loss, top1 = _loss(run, teacher, images, image, words, which)
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
        run.optimiser.step()
        run.model.logit_scale.data.clamp_(0, math.log(100))
        run.step, run.seconds = step + 1, before + time.perf_counter() - began
        if run.step % every == 0:
            bar.set_postfix(loss=f"{loss.item():.2f}", top1=f"{top1.item():.2f}")
            run.save(saved)
    return run.model.cpu().eval(), run.seconds
