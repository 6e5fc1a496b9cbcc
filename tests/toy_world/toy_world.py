"""A world of one's own, as a package brings it: coloured squares, a CLIP with random weights."""

import open_clip
import torch
from open_clip.model import CLIP

from dip_lib.clip import Backbone, BackboneSource
from dip_lib.data import DatasetSource

COLOURS = {"blue": (0, 0, 1), "green": (0, 1, 0), "red": (1, 0, 0), "yellow": (1, 1, 0)}
COUNT = {"train": 4, "val": 2, "test": 5}
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 32, "head_width": 16, "layers": 1},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


class Colours:
    """Squares of one colour each, darker from image to image."""

    name, fingerprint, template = "toy-colours", "1", "a photo of a {}."
    class_names = tuple(COLOURS)

    def labels(self, split):
        return torch.arange(len(COLOURS)).repeat_interleave(COUNT[split])

    def groups(self, split):
        return ["all"] * len(self.labels(split))

    def batches(self, split, views=(None,), rows=None, size=None, device="cpu"):
        labels = self.labels(split)
        rows = range(len(labels)) if rows is None else rows
        shades = torch.tensor([[*COLOURS.values()][labels[i]] for i in rows]) * torch.tensor(
            [[1 - 0.1 * (i % COUNT[split])] for i in rows]
        )
        square = shades[:, :, None, None].expand(-1, -1, size or 16, size or 16)
        yield torch.stack([square] * len(views)).to(device)


def load(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIP(**CONFIG).eval().requires_grad_(False)
    tokenizer = open_clip.SimpleTokenizer()
    transform = open_clip.image_transform(16, is_train=False)
    return Backbone(name, model, tokenizer, transform, (0.5,) * 3, (0.5,) * 3, None, "random")


DATASETS = DatasetSource("Toy World", ("toy-colours",), lambda name, style: Colours())
BACKBONES = BackboneSource("Toy World", {"toy-clip": CONFIG}, load, lambda name: "random")
