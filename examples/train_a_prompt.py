"""Train a prompt from nothing: DIP's two thin factors or, with --full, CoOp's matrix.

The classes are halved: one half trains, the other is only classified.
"""

import argparse
import math
from pathlib import Path
from statistics import mean

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from dip_lib import (
    LowRankPrompt,
    base_new,
    few_shot,
    information_density,
    load_backbone,
    load_dataset,
)


class FullPrompt(nn.Module):
    """CoOp's prompt: every number of the matrix P (n, d) trains."""

    def __init__(self, init: Tensor) -> None:
        super().__init__()
        self.P = nn.Parameter(init.clone())

    def forward(self) -> Tensor:
        return self.P


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="train CoOp's full matrix")
    parser.add_argument("--dataset", default="greek", help="a family of Glyph World")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("prompt.safetensors"))
    given = parser.parse_args()
    torch.manual_seed(1)
    clip, dataset = load_backbone("glyph-vit"), load_dataset(given.dataset)

    def pictures(
        split: str, names: list[str], rows: list[int]
    ) -> tuple[Tensor, Tensor]:
        """Features (N, e) of the pictures of some classes, and their labels (N,)."""
        truth = [dataset.class_names[label] for label in dataset.labels(split)]
        rows = sorted(row for row in rows if truth[row] in names)
        batches = dataset.batches(split, rows=rows)  # (1, B, 3, S, S) each
        features = [clip.encode_image(clip.normalise(images[0])) for images in batches]
        return torch.cat(features), torch.tensor([names.index(truth[r]) for r in rows])

    # the image encoder does not train, so every picture is encoded once
    base, new = base_new(dataset.class_names)
    drawn = few_shot(dataset.labels("train"), shots=16, seed=1)
    images, labels = pictures("train", base, drawn)
    every = list(range(len(dataset.labels("test"))))
    tests = [(names, *pictures("test", names, every)) for names in (base, new)]

    start = clip.context("a photo of a")  # P0 (n, d)
    prompt = FullPrompt(start) if given.full else LowRankPrompt(start, 1, dropout=0.5)
    parameters = list(prompt.parameters())
    count = sum(each.numel() for each in parameters)
    print(f"{len(base)} base and {len(new)} new classes, {count} trainable parameters")

    def schedule(epoch: int) -> float:
        """CoOp's: an epoch at a 200th of the learning rate, then a cosine."""
        cosine = math.cos(math.pi * (epoch - 1) / given.epochs)
        return 0.5 * (1 + cosine) if epoch else 1 / 200

    optimiser = torch.optim.SGD(parameters, lr=0.03, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule)
    print("epoch   loss   ID_1   base    new")
    for epoch in range(1, given.epochs + 1):
        losses = []
        prompt.train()
        for batch in torch.randperm(len(labels)).split(128):
            text = clip.class_embeddings(prompt(), base)  # (C, e), differentiable
            logits = clip.logit_scale * images[batch] @ text.T  # (B, C)
            loss = F.cross_entropy(logits, labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        scheduler.step()

        prompt.eval()  # no dropout: the prompt as it will be used
        with torch.no_grad():
            matrix = prompt()  # (n, d)
            row = f"{epoch:5} {mean(losses):6.3f} {information_density(matrix):6.3f}"
            for names, features, truth in tests:
                best = (features @ clip.class_embeddings(matrix, names).T).argmax(dim=1)
                row += f"{100 * (best == truth).float().mean():7.1f}"
        print(row)

    save_file({"prompt": matrix}, given.out)


if __name__ == "__main__":
    main()
