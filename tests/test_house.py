"""The house: its public names are the design's, its files name nobody's machine and owe nothing.

Which room may import which is held by the contracts of import-linter in ``pyproject.toml``.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import dip_lib
from dip_lib import load_backbone

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dip_lib", "dip_study", "dip_book", "glyph_world", "photo_world")
SOURCES = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]


def test_nobodys_folders_are_named() -> None:
    # written so that this file does not match itself
    pattern = re.compile(r"(?<![\w.])/(?:wor[k]|roo[t]|tm[p]|hom[e]/\w+)/\w|\.\./share[d]")
    texts = [
        *SOURCES,
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "notebooks").glob("*.ipynb"),
    ]
    named = [path.name for path in texts if pattern.search(path.read_text("utf-8"))]
    assert not named


def test_nothing_is_left_for_later() -> None:
    marks = ("TOD" + "O", "FIXM" + "E", "NotImplemente" + "dError", "type: " + "ignore")
    left = [path.name for path in SOURCES if any(m in path.read_text("utf-8") for m in marks)]
    assert not left


def test_the_packages_say_they_are_typed() -> None:
    assert all((folder / "py.typed").is_file() for folder in map(ROOT.joinpath, PACKAGES))


def test_the_public_names_are_the_designs() -> None:
    signatures = {
        "information_density": ["prompt", "k=1", "power=1"],
        "load_dataset": ["name", "style='default'"],
        "singular_values": ["prompt"],
        "LowRankPrompt": ["init", "rank=1", "dropout=0.5"],
        "densify": ["module", "name='ctx'", "rank=1", "dropout=0.5"],
        "load_backbone": ["name", "pretrained=None", "device='cpu'", "precision=None"],
        "PromptedClassifier": ["backbone='photo-lite0'", "pretrained=None", "device='cpu'"],
        "few_shot": ["labels", "shots", "seed", "val_labels=None"],
        "base_new": ["labels", "split=0"],
        "harmonic_mean": ["base", "new"],
        "select_prompt": [
            *("backbone", "prompts", "images", "labels", "class_names", "other_names=None"),
            *("start='a photo of a'", "rule='one standard error'"),
        ],
    }
    assert sorted(dip_lib.__all__) == sorted(signatures)
    for name, expected in signatures.items():
        found = inspect.signature(getattr(dip_lib, name)).parameters.values()
        shown = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in found]
        assert shown[: len(expected)] == expected
    for thing in (getattr(dip_lib, name) for name in signatures):
        assert inspect.getdoc(thing)


def test_every_public_name_is_imported_on_first_use_and_no_sooner() -> None:
    code = """
import sys, dip_lib
from dip_lib import errors, paths
assert "torch" not in sys.modules
assert set(dir(dip_lib)) == set(dip_lib.__all__)
from dip_lib import *
assert LowRankPrompt is dip_lib.LowRankPrompt
assert not hasattr(dip_lib, "low_rank_promp")
import dip_study.commands  # every call of dip waits for what these import
assert not {"pandas", "httpx2"} & set(sys.modules)
import dip_book.notebook  # a page of stored runs needs no CLIP: what brings it takes seconds
from dip_study import study
assert not {"open_clip", "timm", "torchvision"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_backbone_offers_the_designs_names() -> None:
    clip = load_backbone("glyph-resnet")
    names = ("context", "encode_image", "encode_text", "class_embeddings")
    assert all(callable(getattr(clip, name)) for name in names)
    assert callable(clip.preprocess)
    assert clip.logit_scale > 1
    assert not clip.model.training
