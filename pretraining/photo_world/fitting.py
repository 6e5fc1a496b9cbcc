"""How a text encoder is trained against the frozen image encoder (locked-image tuning).

Two losses. Contrast: a batch of names in templates against images of these classes, where images
and texts of the same class all count as matching. Regression: sentences and words are pulled to
the places that the sentence teacher gives them, which teaches contexts and words without images.

Step s draws everything from (seed, s), so a killed run resumes with the same batches.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from concepts import Concept
from open_clip.model import CLIP
from torch import Tensor, nn
from tqdm import tqdm

from photo_world.models import EMBEDDING, TEXT, tokenizer


@dataclass(frozen=True)
class Recipe:
    """What a pre-training depends on, besides photographs and texts."""

    web_photos: int
    seed: int = 0
    steps: int = 600
    pairs: int = 96
    sentences: int = 64
    words: int = 48
    web_share: float = 1.2 / 2.2
    sentence_weight: float = 3.2
    word_weight: float = 1.0
    lr: float = 1.5e-3
    weight_decay: float = 0.1
    warmup_steps: int = 50


@dataclass(frozen=True)
class Material:
    """What a text encoder learns from.

    Attributes:
        imagenet, web: the classes with images.
        sentences, words: texts with places (T, e) in image space.
        token_ids: (V,) ascending tokens of all texts.
    """

    imagenet: Sequence[Concept]
    web: Sequence[Concept]
    sentences: tuple[Sequence[str], Tensor]
    words: tuple[Sequence[str], Tensor]
    token_ids: np.ndarray


class CompactText:
    """Texts as rows of a compact embedding table."""

    def __init__(self, token_ids: np.ndarray) -> None:
        self.row = {int(token): row for row, token in enumerate(token_ids)}

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(T, L) rows, padded to the longest text; the end token has the largest."""
        first, last = tokenizer().sot_token_id, tokenizer().eot_token_id
        tokens = [[first, *tokenizer().encode(text), last] for text in texts]
        width = max(map(len, tokens))
        rows = [[self.row[token] for token in each] + [0] * (width - len(each)) for each in tokens]
        return torch.tensor(rows)


def build_text(rows: int, seed: int) -> CLIP:
    """An untrained text encoder with a compact embedding table; its image side is a dummy."""
    torch.manual_seed(seed)
    dummy = {"image_size": 32, "patch_size": 32, "width": 64, "layers": 1}
    return CLIP(embed_dim=EMBEDDING, vision_cfg=dummy, text_cfg=TEXT | {"vocab_size": rows})


def text_features(model: CLIP, rows: Tensor) -> Tensor:
    """Unit text features (T, e); as the model's own, without the padding up to 32 positions."""
    length = rows.shape[1]
    x = model.token_embedding(rows) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    x = x[torch.arange(len(rows)), rows.argmax(-1)] @ model.text_projection
    return F.normalize(x, dim=-1)


def _pairs(material: Material, recipe: Recipe, random: np.random.Generator) -> tuple:
    """A batch of texts, images (B, e) and classes (B,)."""
    texts, images, classes = [], [], []
    for _ in range(recipe.pairs):
        web = random.random() < recipe.web_share
        group = material.web if web else material.imagenet
        row = int(random.integers(len(group)))
        concept = group[row]
        template = concept.templates[random.integers(len(concept.templates))]
        texts.append(template.format(concept.name))
        images.append(concept.images[random.integers(len(concept.images))])
        classes.append(row + web * len(material.imagenet))
    return texts, torch.stack(images), torch.tensor(classes)


def contrast(logits: Tensor, classes: Tensor) -> Tensor:
    """Symmetric cross-entropy, (): all texts of an image's class match it.

    Args:
        logits: (B, B) of images (rows) and texts. classes: (B,).
    """
    same = (classes[:, None] == classes).float()
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _regression(model: CLIP, texts: Tensor, places: Tensor) -> Tensor:
    """Mean distance 1 - cosine of texts from their places, ()."""
    return (1 - (text_features(model, texts) * places).sum(1)).mean()


def _optimiser(model: CLIP, recipe: Recipe) -> torch.optim.AdamW:
    named = [(n, p) for n, p in model.named_parameters() if not n.startswith("visual.")]
    matrices = [p for n, p in named if p.ndim >= 2 and "embedding" not in n]
    rest = [p for n, p in named if p.ndim < 2 or "embedding" in n]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98))


@dataclass
class Training:
    """Everything that a checkpoint holds; ``seconds`` are of the processor.

    ``identity`` is of the recipe and of what is learned from.
    """

    model: nn.Module
    optimiser: torch.optim.AdamW
    identity: dict[str, object]
    step: int = 0
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        state: dict[str, object] = {"model": self.model.state_dict()}
        state |= {"optimiser": self.optimiser.state_dict()}
        state |= {"identity": self.identity, "step": self.step, "seconds": self.seconds}
        torch.save(state, part := path.with_suffix(".part"))
        part.replace(path)

    def resume(self, path: Path) -> None:
        """Resume from a checkpoint, if there is one of the same identity."""
        if not path.is_file():
            return
        state = torch.load(path, weights_only=True, map_location="cpu")
        if state["identity"] == self.identity:
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seconds = state["step"], state["seconds"]
            tqdm.write(f"resuming from step {self.step} ({path})")


def rate_at(step: int, lr: float, steps: int, warmup_steps: int) -> float:
    """The learning rate of a step: a linear rise to ``lr``, then a cosine down to a fiftieth."""
    rate = lr * min(1, (step + 1) / warmup_steps)
    return rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def fit(
    name: str, recipe: Recipe, material: Material, digest: str, saved: Path, every: int = 50
) -> tuple[CLIP, float]:
    """Train a text encoder; returns it (compact vocabulary) and the processor's seconds.

    Args:
        digest: of the material; a checkpoint of another recipe or material is ignored.
        saved: the checkpoint, written every ``every`` steps.
    """
    model = build_text(len(material.token_ids), recipe.seed).train()
    identity = asdict(recipe) | {"material": digest}
    run = Training(model, _optimiser(model, recipe), identity)
    run.resume(saved)
    rows = CompactText(material.token_ids)
    before, began = run.seconds, time.process_time()
    bar = tqdm(range(run.step, recipe.steps), name, recipe.steps, initial=run.step, mininterval=5)
    for step in bar:
        random = np.random.default_rng([recipe.seed, step])
        for group in run.optimiser.param_groups:
            group["lr"] = rate_at(step, recipe.lr, recipe.steps, recipe.warmup_steps)
        texts, images, classes = _pairs(material, recipe, random)
        scores = model.logit_scale.exp() * images @ text_features(model, rows(texts)).T
        loss = matching = contrast(scores, classes)
        for (given, places), count, weight in (
            (material.sentences, recipe.sentences, recipe.sentence_weight),
            (material.words, recipe.words, recipe.word_weight),
        ):
            drawn = random.integers(len(given), size=count)
            loss = loss + weight * _regression(
                model, rows([given[i] for i in drawn]), places[drawn]
            )
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        run.optimiser.step()
        model.logit_scale.data.clamp_(0, math.log(100))
        run.step, run.seconds = step + 1, before + time.process_time() - began
        if run.step % every == 0:
            bar.set_postfix(loss=f"{loss.item():.2f}", contrast=f"{matching.item():.2f}")
            run.save(saved)
    return model.eval(), run.seconds
