"""Photo World's photographs encoded again, where the variable DATA has them: the packs, nearly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from dip_lib import load_backbone
from dip_lib.clip.features import encode_split
from dip_lib.data.pack_files import read_pack
from dip_lib.data.pictures import Pictures
from photo_world import datasets
from photo_world.datasets import DECLARED, PACKS

DATA = Path(os.environ.get("DATA", "nowhere"))
SMALL = ("photo-dtd10", "photo-resisc14", "photo-grocery81")
"""A minute of encoding together; the largest move of int8 is among them."""


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("name", SMALL)
def test_photographs_encoded_again_are_their_pack_within_what_it_states(
    name: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (DATA / DECLARED[name].folder).is_dir():
        pytest.skip(f"the variable DATA names no folder that holds {DECLARED[name].folder}/")
    monkeypatch.setenv("DATA", str(DATA))
    monkeypatch.setenv("DIP_HOME", str(tmp_path))
    dataset, pack = datasets.load(name), read_pack(PACKS / f"{name}.photo-lite0.safetensors")
    assert isinstance(dataset, Pictures)
    assert dataset.fingerprint == pack.header.fingerprint
    clip, stated = load_backbone("photo-lite0", precision=precision), pack.header.loss
    rows = range(len(dataset.labels("test")))
    again, packed = encode_split(clip, dataset, "test"), pack.features("test", (None,), rows)[0]
    cosines = (again * packed).sum(-1)
    words = [dataset.template.format(each.replace("_", " ")) for each in dataset.class_names]
    text, truth = clip.encode_text(words), dataset.labels("test")
    right = [int(((each @ text.T).argmax(1) == truth).sum()) for each in (again, packed)]
    if precision == "bf16":  # the packs'; another processor may sum in another order
        assert cosines.min() > stated["least_cosine"] - 1e-3
        assert right[1] - right[0] == pytest.approx(stated["pictures"], abs=2)
    else:  # what int8 moves, and what bf16 does, which is stated of a sample
        assert cosines.mean() == pytest.approx(stated["bf16_mean_cosine"], abs=5e-4)
        expected = stated["pictures"] + stated["bf16_pictures"] * len(truth) / stated["bf16_of"]
        noise = 3 * (len(truth) * 2 / stated["bf16_of"]) ** 0.5 + 2
        assert right[1] - right[0] == pytest.approx(expected, abs=noise)
    assert torch.equal(dataset.labels("test"), pack.labels("test"))
