"""Pre-train the two small CLIPs: ``python -m dip_lib.glyphs.pretrain [glyph-resnet glyph-vit]``.

Plain InfoNCE stays at chance on a corpus this small. It takes off with two helps: an auxiliary
loss against one learnt prototype a character (weight falling from 1 to 0.2, table discarded), and
batches of which half are runs of neighbouring code points, so that look-alikes meet. The ViT then
learns against the ResNet's locked text tower, with its image features as a second target.

Step s draws everything from (seed, s), so a killed run resumes with the same batches.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from torch import Tensor, nn
from tqdm import tqdm

from dip_lib.glyphs.captions import FONT_WORDS, caption, tokenizer, vocabulary
from dip_lib.glyphs.draw import masks
from dip_lib.glyphs.models import CARD, EMBEDDING, build, normalise, pack, weights_path
from dip_lib.glyphs.styles import GENERIC, render
from dip_lib.glyphs.world import FONTS, PRETRAINING_FONTS, characters, full_name
from dip_lib.paths import home


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


RECIPES = {
    "glyph-resnet": Recipe(steps=1000),
    "glyph-vit": Recipe(steps=800, teacher="glyph-resnet", compiled=True),
}


@dataclass(frozen=True)
class Batch:
    images: Tensor  # (B, 3, 48, 48), normalised
    tokens: Tensor  # (B, L) rows of the compact vocabulary
    character: Tensor  # (B,)


class Corpus:
    """All masks of the pre-training fonts, ready to be drawn and captioned."""

    def __init__(self) -> None:
        drawn = masks()
        usable = drawn.font < len(PRETRAINING_FONTS)
        order = np.argsort(drawn.character[usable], kind="stable")
        self.pixels = torch.from_numpy(drawn.pixels[usable][order])
        self.font = drawn.font[usable][order]
        self.count = len(characters())
        # masks of character c are rows start[c] : start[c + 1]
        self.start = np.searchsorted(drawn.character[usable][order], np.arange(self.count + 1))
        ids = vocabulary()
        self.row = {int(token): row for row, token in enumerate(ids)}
        self.ends = self.row[tokenizer().sot_token_id], self.row[tokenizer().eot_token_id]

    def tokens(self, texts: list[str]) -> Tensor:
        """Rows of the compact vocabulary, padded to the longest text, (B, L)."""
        first, last = self.ends
        rows = [[first, *(self.row[t] for t in tokenizer().encode(x)), last] for x in texts]
        width = max(map(len, rows))
        return torch.tensor([row + [0] * (width - len(row)) for row in rows])

    def batch(self, recipe: Recipe, step: int) -> Batch:
        """The batch of step ``step``: half random characters, half runs of neighbours."""
        random = np.random.default_rng([recipe.seed, step])
        source = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        free = random.permutation(self.count)[: recipe.batch // 2]
        starts = random.integers(0, self.count, 4)
        runs = [(s + np.arange(recipe.batch // 8)) % self.count for s in starts]
        chosen = np.unique(np.concatenate([free, *runs]))
        size = self.start[chosen + 1] - self.start[chosen]
        mask = self.start[chosen] + (random.random(len(chosen)) * size).astype(int)
        images, tags = render(self.pixels[torch.from_numpy(mask)], GENERIC, source)
        texts = []
        for b, c in enumerate(chosen):
            looks = [word for word, applies in tags.items() if applies[b]]
            looks.append(FONT_WORDS[FONTS[self.font[mask[b]]]])
            texts.append(caption(characters()[c], looks, random))
        return Batch(normalise(images), self.tokens(texts), torch.from_numpy(chosen))


def text_features(model: CLIP, tokens: Tensor) -> Tensor:
    """Unit text features; as the model's own, without the padding up to 32 positions."""
    length = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    x = x[torch.arange(len(tokens)), tokens.argmax(-1)] @ model.text_projection
    return F.normalize(x.float(), dim=-1)


def _load_teacher(name: str) -> CLIP:
    """The finished teacher with the compact vocabulary, frozen."""
    from dip_lib.glyphs.models import load_glyph_clip

    whole, _ = load_glyph_clip(name)
    teacher = build(name, len(vocabulary()))
    state = whole.state_dict()
    state["token_embedding.weight"] = state["token_embedding.weight"][vocabulary()]
    teacher.load_state_dict(state, strict=False)
    return teacher.eval().requires_grad_(False)


def _optimiser(model: CLIP, prototypes: Tensor, recipe: Recipe) -> torch.optim.AdamW:
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    matrices = [p for n, p in named if p.ndim >= 2 and "embedding" not in n]
    rest = [p for n, p in named if p.ndim < 2 or "embedding" in n]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": [*rest, prototypes], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98), eps=1e-6)


def train(name: str, recipe: Recipe, device: str = "cpu", every: int = 50) -> tuple[CLIP, float]:
    """Pre-train ``name``; returns the model (compact vocabulary) and the seconds it took.

    A checkpoint is kept every ``every`` steps under the live results; an interrupted call goes on
    from it. The checkpoint of another recipe is ignored.
    """
    torch.manual_seed(recipe.seed)
    corpus, model = Corpus(), build(name, len(vocabulary()))
    prototypes = nn.Parameter(0.1 * torch.randn(corpus.count, EMBEDDING))
    teacher = _load_teacher(recipe.teacher).to(device) if recipe.teacher else None
    if teacher is not None:
        text = {k: v for k, v in teacher.state_dict().items() if not k.startswith("visual.")}
        model.load_state_dict(text, strict=False)
        for key, parameter in model.named_parameters():
            parameter.requires_grad_(key.startswith("visual.") or key == "logit_scale")
    model, prototypes = model.to(device).train(), nn.Parameter(prototypes.to(device))
    convolutional = name == "glyph-resnet"
    if convolutional:
        model.visual.to(memory_format=torch.channels_last)
    optimiser = _optimiser(model, prototypes, recipe)
    encode = model.encode_image
    if recipe.compiled:
        whole = torch.compile(model.encode_image, dynamic=False)

        def encode(images: Tensor) -> Tensor:
            # batches differ a little in size, and another size would compile anew: fill it up
            filled = F.pad(images, (0, 0, 0, 0, 0, 0, 0, recipe.batch - len(images)))
            return whole(filled)[: len(images)]

    saved = home() / "pretrain" / f"{name}.pt"
    first, spent = 0, 0.0
    if saved.is_file():
        state = torch.load(saved, weights_only=True, map_location=device)
        if state["recipe"] == asdict(recipe):
            model.load_state_dict(state["model"])
            optimiser.load_state_dict(state["optimiser"])
            prototypes.data.copy_(state["prototypes"])
            first, spent = state["step"], state["seconds"]
            tqdm.write(f"{name}: going on from step {first} ({saved})")

    began = time.perf_counter()
    bar = tqdm(range(first, recipe.steps), name, recipe.steps, initial=first, mininterval=5)
    for step in bar:
        done = step / recipe.steps
        lr = recipe.lr * min(1, (step + 1) / recipe.warmup_steps)
        lr *= 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimiser.param_groups:
            group["lr"] = lr
        batch = corpus.batch(recipe, step)
        images, tokens = batch.images.to(device), batch.tokens.to(device)
        character = batch.character.to(device)
        if convolutional:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=convolutional):
            image = F.normalize(encode(images).float(), dim=-1)  # (B, e)
        with torch.set_grad_enabled(teacher is None):
            words = text_features(model, tokens)  # (B, e)
        logits = model.logit_scale.exp() * image @ words.T
        target = torch.arange(len(images), device=device)
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        help_weight = 1 - 0.8 * min(1, 1.5 * done)
        table = recipe.prototype_scale * F.normalize(prototypes, dim=-1).T
        loss = loss + help_weight * F.cross_entropy(image @ table, character)
        if teacher is None:
            loss = loss + help_weight * F.cross_entropy(words @ table, character)
        else:
            with torch.no_grad():
                goal = F.normalize(teacher.encode_image(images), dim=-1)
            loss = loss + recipe.distillation * (1 - (image * goal).sum(1)).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        model.logit_scale.data.clamp_(0, math.log(100))
        if (step + 1) % every == 0:
            accuracy = (logits.argmax(1) == target).float().mean().item()
            scale = model.logit_scale.exp().item()
            bar.set_postfix(loss=f"{loss.item():.2f}", top1=f"{accuracy:.2f}", scale=f"{scale:.1f}")
            saved.parent.mkdir(parents=True, exist_ok=True)
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
            state |= {"prototypes": prototypes.data, "recipe": asdict(recipe), "step": step + 1}
            seconds = spent + time.perf_counter() - began
            torch.save(state | {"seconds": seconds}, part := saved.with_suffix(".part"))
            part.replace(saved)
    return model.cpu().eval(), spent + time.perf_counter() - began


@torch.no_grad()
def accuracy(model: CLIP, fonts: tuple[str, ...], draws: int = 10, seed: int = 99) -> float:
    """Zero-shot top-1, %, over all characters' full names, on fresh draws in the generic look."""
    corpus, drawn = Corpus(), masks()
    words = text_features(
        model, corpus.tokens([f"a photo of a {full_name(p)}." for p in characters()])
    )
    rows = np.nonzero(np.isin(drawn.font, [FONTS.index(f) for f in fonts]))[0]
    source, correct = torch.Generator().manual_seed(seed), []
    chosen = torch.from_numpy(np.random.default_rng(seed).choice(rows, draws * corpus.count))
    for part in chosen.split(500):
        images, _ = render(torch.from_numpy(drawn.pixels)[part], GENERIC, source)
        best = (model.encode_image(normalise(images)) @ words.T).argmax(1)
        correct.append(best == torch.from_numpy(drawn.character)[part])
    return 100 * torch.cat(correct).float().mean().item()


def publish(name: str, model: CLIP, recipe: Recipe, seconds: float) -> Path:
    """Write the weights file and its entry in the model card; returns the file."""
    path, data = weights_path(name), pack(model, vocabulary())
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    card = json.loads(CARD.read_text()) if CARD.is_file() else {}
    card[name] = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "recipe": asdict(recipe),
        "seconds": round(seconds),
        "threads": torch.get_num_threads(),
        "logit_scale": round(model.logit_scale.exp().item(), 2),
        "top1_of_981": {
            "pretraining fonts": round(accuracy(model, PRETRAINING_FONTS), 1),
            "other fonts": round(accuracy(model, FONTS[len(PRETRAINING_FONTS) :]), 1),
        },
    }
    CARD.write_text(json.dumps(card, indent=2, sort_keys=True) + "\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Pre-train the CLIPs of Glyph World.")
    parser.add_argument("names", nargs="*", default=list(RECIPES), help=" ".join(RECIPES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-compile", action="store_true", help="without a C++ compiler")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.names:
        recipe = RECIPES[name]
        if options.no_compile:
            recipe = replace(recipe, compiled=False)
        model, seconds = train(name, recipe, options.device)
        path = publish(name, model, recipe, seconds)
        print(f"{path}: {json.dumps(json.loads(CARD.read_text())[name])}")


if __name__ == "__main__":
    main()
