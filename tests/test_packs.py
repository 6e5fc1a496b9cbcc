"""Feature packs as files: what is written is read, what is rounded is bounded, damage is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor

from dip_lib.data.names import Twin, check_class_names
from dip_lib.data.pack_files import read_header, read_pack, write_pack
from dip_lib.data.packs import (
    ENCODINGS,
    FORMAT,
    FeaturePack,
    Header,
    as_json,
    content_hash,
    decode,
    encode,
    pack,
)
from dip_lib.errors import NotPackedError, PackError, UnknownNameError
from dip_lib.files import write_atomic

SIZES = {"train": 9, "val": 6, "test": 7}
ROWS = {"train": [1, 2, 5, 8], "val": [0, 3]}
WIDTH, VIEWS = 32, 3


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(
        torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(seed)), dim=-1
    )


FEATURES = {"train": unit(VIEWS, 4), "val": unit(2, seed=1), "test": unit(7, seed=2)}
LABELS = {split: torch.arange(size) % 3 for split, size in SIZES.items()}


def made(encoding: str = "int8", **changes: object) -> FeaturePack:
    header = Header(
        dataset="noise",
        class_names=("one", "two", "three"),
        template="a photo of a {}.",
        fingerprint="pictures",
        image_fingerprint="encoder",
        encoder="RN50 openai",
        views=VIEWS,
        encoding=encoding,
        loss={"points": 0.125},
        licence="CC0",
    )
    return pack(replace(header, **changes), LABELS, ROWS, FEATURES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "noise.RN50.safetensors"
    write_pack(path, made())
    return path


# ---- encodings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [16, 128, 512, 1024])
@pytest.mark.parametrize("outlier", [0.0, 3.0, 1000.0])
def test_int8_keeps_every_row_within_the_bound_that_half_a_step_gives(
    width: int, outlier: float
) -> None:
    rows = torch.randn(2000, width, generator=torch.Generator().manual_seed(width))
    rows[:, 3] += outlier
    rows = F.normalize(rows, dim=1)
    found = decode(*encode(rows, "int8"))
    cosines = (rows.double() * found.double()).sum(1)
    most = rows.double().abs().amax(1)  # an entry is off by most / 254 at most
    bound = (1 - width * (most / 254) ** 2).clamp(min=0).sqrt()
    assert bool((cosines >= bound - 1e-6).all())
    if not outlier:  # no entry is much larger than others
        assert float(cosines.min()) >= 0.9999
    assert found.norm(dim=1) == pytest.approx(1, abs=1e-6)


def test_codes_are_symmetric_and_their_scale_gives_the_features_back() -> None:
    rows = unit(50)
    codes, scale = encode(rows, "int8")
    assert (codes.dtype, scale.shape) == (torch.int8, (50,))
    assert int(codes.max()) == 127 and int(codes.min()) >= -127
    assert torch.equal(encode(-rows, "int8")[0], -codes)
    torch.testing.assert_close(codes * scale[:, None], rows, atol=float(scale.max()) / 2, rtol=0)


def test_fp16_and_rows_without_or_with_one_entry() -> None:
    assert float((decode(*encode(unit(99), "fp16")) * unit(99)).sum(1).min()) > 1 - 1e-6
    for encoding in ENCODINGS:
        one = torch.eye(WIDTH)
        torch.testing.assert_close(decode(*encode(one, encoding)), one)
        assert not decode(*encode(torch.zeros(2, WIDTH), encoding)).any()


# ---- round trip ---------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_is_written_is_read(tmp_path: Path, encoding: str) -> None:
    path, written = tmp_path / "new" / "noise.safetensors", made(encoding)
    write_pack(path, written)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    found = read_pack(path)
    assert found.header == written.header == read_header(path)
    for split in SIZES:
        assert torch.equal(found.labels(split), LABELS[split])
        assert found.groups(split) == ["all"] * SIZES[split]
    views = {"train": range(VIEWS), "val": [None], "test": [None]}
    for split, rows in (ROWS | {"test": [*range(7)]}).items():
        assert found.rows(split).tolist() == rows
        expected = decode(*encode(FEATURES[split], encoding))
        read = found.features(split, views[split], rows)
        assert torch.equal(read, expected if split == "train" else expected[None])
        assert read.dtype == torch.float32
    some = found.features("train", [2, 0, 2], [8, 1, 8])
    assert torch.equal(some, decode(*encode(FEATURES["train"], encoding))[[2, 0, 2]][:, [3, 0, 3]])
    assert found.features("train", [0], []).shape == (1, 0, WIDTH)


def test_the_same_pack_is_the_same_file(path: Path, tmp_path: Path) -> None:
    write_pack(tmp_path / "again", made())
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert load_file(path)["train"].dtype == torch.int8
    assert read_pack(path) is read_pack(path)  # kept while the file stays


def test_what_is_not_packed_is_said_beside_what_is(path: Path) -> None:
    found = read_pack(path)
    asked = (
        ("train", [0, 3], [1, 2], "view 3 of 'train'"),
        ("train", [None], [1], "the plain view of 'train'"),
        ("train", [0], [1, 0, 3, 4, 6], "4 of 5 images of 'train' (rows 0, 3, 4, …)"),
        ("val", [None], [0, 1], "1 of 2 images of 'val' (rows 1)"),
        ("test", [0], [0], "view 0 of 'test'"),
    )
    for split, views, rows, missing in asked:
        with pytest.raises(NotPackedError) as caught:
            found.features(split, views, rows)
        assert caught.value.missing == missing
        assert "RN50 openai holds 4 images of 'train' in 3 views" in caught.value.holds
    with pytest.raises(UnknownNameError, match="'train'"):
        found.labels("trian")


def test_groups_and_a_name_given_twice_come_back(tmp_path: Path) -> None:
    header = replace(made().header, class_names=("missile", "tench", Twin("missile")))
    groups = {split: ["b", *"aab"] + ["c"] * (size - 4) for split, size in SIZES.items()}
    write_pack(tmp_path / "pack", pack(header, LABELS, ROWS, FEATURES, groups))
    found = read_pack(tmp_path / "pack")
    assert found.header.groups == ("a", "b", "c")
    assert {split: found.groups(split) for split in SIZES} == groups
    check_class_names(found.header.class_names)


def test_nothing_is_packed_of_a_dataset_that_only_tests(tmp_path: Path) -> None:
    labels = {"train": torch.empty(0), "val": torch.empty(0), "test": torch.arange(7) % 3}
    empty = {"train": torch.empty(0, 0, WIDTH), "val": torch.empty(0, WIDTH)}
    none = pack(replace(made().header, views=0), labels, {"train": [], "val": []}, FEATURES | empty)
    write_pack(tmp_path / "pack", none)
    assert read_pack(tmp_path / "pack").features("test", [None], [6, 0]).shape == (1, 2, WIDTH)
    assert read_pack(tmp_path / "pack").labels("train").tolist() == []


@pytest.mark.parametrize(
    ("rows", "shape"), [([2, 1, 5, 8], (3, 4)), ([1, 2, 5], (3, 4)), ([1, 2, 5, 8], (2, 4))]
)
def test_rows_and_features_that_do_not_belong_together_are_refused(
    rows: list[int], shape: tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match="'train'"):
        pack(made().header, LABELS, ROWS | {"train": rows}, FEATURES | {"train": unit(*shape)})


# ---- damage -------------------------------------------------------------------------------------


def flipped(data: bytes) -> bytes:
    """The last byte changed: of a feature, or of a label."""
    return data[:-1] + bytes([data[-1] ^ 1])


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "rubbish": lambda data: b"\xff" * 500,
    "a web page": lambda data: b"<html>" + data,
    "no pack": lambda data: save({"features": torch.zeros(3)}),
    "one bit": flipped,
    "another licence": lambda data: data.replace(b"CC0", b"CC1"),
    "a renamed tensor": lambda data: data.replace(b'"val.rows"', b'"val.roes"'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_pack_is_refused_by_name_with_a_remedy(
    path: Path, damage: Callable[[bytes], bytes]
) -> None:
    read_pack(path)  # what was read before is not what is there now
    write_atomic(path, damage(path.read_bytes()))
    with pytest.raises(PackError) as caught:
        read_pack(path)
    assert caught.value.path == str(path)
    assert "dip features get" in str(caught.value)


def test_a_pack_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="nowhere"):
        read_pack(tmp_path / "nowhere")


def forged(path: Path, header: Header) -> None:
    """The pack with another header, whose content hash is right."""
    tensors = load_file(path)
    header = replace(header, sha256=content_hash(header, tensors))
    write_atomic(path, save(tensors, metadata={"pack": as_json(header)}))


def test_a_newer_format_says_to_update(path: Path) -> None:
    values = json.loads(as_json(read_header(path))) | {"format": FORMAT + 1, "colour": "new"}
    write_atomic(path, save(load_file(path), metadata={"pack": json.dumps(values)}))
    with pytest.raises(PackError, match=f"format is {FORMAT + 1}.*pip install --upgrade"):
        read_header(path)


def test_labels_of_another_split_than_the_declared_one_are_refused(path: Path) -> None:
    forged(path, replace(read_header(path), split_sha256="0" * 64))
    with pytest.raises(PackError, match="another split"):
        read_pack(path)
    forged(path, replace(made().header, class_names=("two", "one", "three")))
    with pytest.raises(PackError, match="another split"):
        read_pack(path)


def test_a_header_without_its_fields_is_refused(path: Path) -> None:
    values = json.loads(as_json(read_header(path)))
    del values["template"]
    write_atomic(path, save(load_file(path), metadata={"pack": json.dumps(values)}))
    with pytest.raises(PackError, match="template"):
        read_header(path)
