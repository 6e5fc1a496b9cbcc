"""The file of a classifier's prompt: a prompt file that also names the backbone it belongs to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dip_lib.prompt.prompt_file import read_prompt_file, save_prompt


@dataclass(frozen=True)
class SavedPrompt:
    """A trained prompt, and what it is used with.

    Attributes:
        a, b: factors (n, r) and (r, d); (C, n, r) and (C, r, d) where every class has its own.
        words: the words of P0.
        backbone: its name; "": the file does not say.
        pretrained: its tag or file of weights; "" for one that carries its own.
        class_position: where the class name stands.
        class_names: of a class-specific prompt, C; () of others, which name any classes.
    """

    a: Tensor
    b: Tensor
    words: str
    backbone: str
    pretrained: str
    class_position: str = "end"
    class_names: tuple[str, ...] = ()


def write_classifier_file(path: Path, saved: SavedPrompt, p0: Tensor) -> None:
    """Write a prompt as :func:`dip_lib.prompt.save_prompt`, with more metadata.

    Args:
        p0: P0 (n, d), the embeddings of the words.

    Raises:
        OSError: the file cannot be written.
    """
    about = {"backbone": saved.backbone, "pretrained": saved.pretrained}
    if saved.class_position != "end":
        about["class_position"] = saved.class_position
    if saved.class_names:
        about["class_names"] = json.dumps(saved.class_names)
    save_prompt(path, saved.a, saved.b, saved.words, p0, about)


def read_classifier_file(path: str | Path) -> SavedPrompt:
    """What :func:`write_classifier_file` or :func:`dip_lib.prompt.save_prompt` wrote.

    Raises:
        ValueError: a damaged file, or another one. OSError: none is there.
    """
    a, b, about = read_prompt_file(Path(path))
    names = json.loads(about.get("class_names", "[]"))
    tower = about.get("backbone", ""), about.get("pretrained", "")
    return SavedPrompt(
        a, b, about["words"], *tower, about.get("class_position", "end"), tuple(names)
    )
