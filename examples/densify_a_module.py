"""Make a prompt learner that is not ours a DIP, and an ordinary module again.

The learner is written the way CoOp's public trainers are, over open_clip's own text
encoder. It knows nothing of this library, and no line of it is changed.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from open_clip import CLIP, SimpleTokenizer
from torch import Tensor, nn

from dip_lib import densify, few_shot, load_backbone, load_dataset, singular_values


class PromptLearner(nn.Module):
    """Start token, n vectors that train, class name and end token, of C classes."""

    token_prefix: Tensor
    token_suffix: Tensor

    def __init__(
        self, model: CLIP, tokenizer: SimpleTokenizer, names: list[str]
    ) -> None:
        super().__init__()
        words = "a photo of a"
        self.tokens = tokenizer([f"{words} {name}." for name in names])  # (C, length)
        embedding = model.token_embedding(self.tokens).detach()  # (C, length, d)
        name = 1 + len(tokenizer.encode(words))
        self.ctx = nn.Parameter(embedding[0, 1:name].clone())  # (n, d)
        self.register_buffer("token_prefix", embedding[:, :1])
        self.register_buffer("token_suffix", embedding[:, name:])

    def forward(self) -> Tensor:
        context = self.ctx.expand(len(self.tokens), -1, -1)
        return torch.cat([self.token_prefix, context, self.token_suffix], dim=1)


def encode_text(model: CLIP, learner: PromptLearner) -> Tensor:
    """Unit class embeddings (C, e), read at each end token after the whole encoder."""
    x = learner() + model.positional_embedding
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask))
    ends = x[torch.arange(len(x)), learner.tokens.argmax(dim=1)]
    return F.normalize(ends @ model.text_projection, dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rank", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("learner.pt"))
    given = parser.parse_args()
    clip, dataset = load_backbone("glyph-vit"), load_dataset("greek")

    # features of 16 pictures of each of the first 16 classes
    names, every = list(dataset.class_names[:16]), dataset.labels("train")
    rows = sorted(r for r in few_shot(every, shots=16, seed=1) if every[r] < len(names))
    batches = dataset.batches("train", rows=rows)  # (1, B, 3, S, S) each
    images = torch.cat([clip.encode_image(clip.normalise(b[0])) for b in batches])
    labels = every[rows]

    learner = PromptLearner(clip.model, clip.tokenizer, names)
    start, keys = learner.ctx.detach().clone(), list(learner.state_dict())
    handle = densify(learner, "ctx", rank=given.rank, dropout=0.5, seed=1)
    trainable = sum(factor.numel() for factor in handle.parameters())
    print(f"{start.numel()} parameters of the prompt are now {trainable}")

    optimiser = torch.optim.SGD(handle.parameters(), lr=0.01, momentum=0.9)
    for step in range(given.steps):
        logits = (
            clip.logit_scale * images @ encode_text(clip.model, learner).T
        )  # (N, C)
        loss = F.cross_entropy(logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        handle.step()  # the next dropout mask
        if step % 10 == 0:
            print(f"step {step:3}, loss {loss:.3f}")

    evaluated = learner.eval().ctx.detach().clone()  # evaluation mode: no dropout
    handle.merge()  # an ordinary parameter again
    change = singular_values(learner.ctx.detach() - start)
    print("singular values of the change:", *(f"{value:.3f}" for value in change))
    print(
        "the merged prompt is the evaluated one:", torch.equal(learner.ctx, evaluated)
    )
    print("state_dict as before:", list(learner.state_dict()) == keys, keys)
    torch.save(learner.state_dict(), given.out)


if __name__ == "__main__":
    main()
