"""The house: rooms import one way, stay small, and name nobody's machine."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from tokenize import COMMENT, DEDENT, ENDMARKER, INDENT, NEWLINE, NL, generate_tokens

import pytest

import dip_lib
from dip_lib import load_backbone

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "dip_lib"
STUDY = ROOT / "dip_study"
BOOK = ROOT / "dip_book"
WORLD = ROOT / "glyph_world"
FILES = sorted(PACKAGE.rglob("*.py"))
STUDIES = sorted(STUDY.rglob("*.py"))
PAGES = sorted(BOOK.rglob("*.py"))
GLYPHS = sorted(WORLD.rglob("*.py"))
PROGRAMS = ("book", "examples", "benchmarks", "pretraining")
"""Folders of programs that use the library and are not part of it."""

# A room may import the rooms before it and nothing else of the library.
ORDER = (
    *("errors", "paths", "randomness", "spec"),
    *("density", "prompt", "machine", "products", "files", "archives", "download"),
    "datasets",
    *("layout", "text", "encoder", "weights", "backbone", "loading"),
    *("features", "protocols", "accuracy", "vision"),
    *("methods", "judge", "replay", "step", "transfer", "trainer", "classifier"),
    *("visual", "store"),
)
STUDY_ORDER = (
    "profiles",
    "gate",
    "measure",
    "runs",
    "visual",
    "study",
    "plan",
    "provenance",
    "cli",
)
"""The same for ``dip_study``, which may also import any room of the library."""
PAGES_ORDER = (
    "statistics",
    "frame",
    "tables",
    "correlations",
    "claims",
    "plots",
    "figures",
    "costs",
    "notebook",
    "pages",
)
"""The same for ``dip_book``, which may also import any room of the other two."""
CORE = (
    "prompt",
    "density",
    "layout",
    "text",
    "encoder",
    "backbone",
    "features",
    "replay",
    "step",
    "trainer",
)


def room(path: Path) -> str:
    """The room a file lies in: "prompt", "glyphs", ..."""
    return path.relative_to(ROOT).with_suffix("").parts[1]


def imported_rooms(path: Path, package: str = "dip_lib") -> Iterator[str]:
    """Rooms of a package that a file names in any import, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            whole = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            module, whole = "", [alias.name for alias in node.names]
        else:
            continue
        for name in [module, *whole] if module != package else whole:
            if name.startswith(f"{package}."):
                yield name.split(".")[1]


def lines(paths: list[Path]) -> int:
    return sum(len(path.read_text("utf-8").splitlines()) for path in paths)


def code_lines(paths: list[Path]) -> int:
    """Lines that hold code: no blank lines, no comments, no docstrings."""
    layout = (COMMENT, NL, NEWLINE, INDENT, DEDENT, ENDMARKER)
    total = 0
    for path in paths:
        text, coded, documented = path.read_text("utf-8"), set[int](), set[int]()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                documented.update(range(node.lineno, (node.end_lineno or 0) + 1))
        for token in generate_tokens(StringIO(text).readline):
            if token.type not in layout:
                coded.update(range(token.start[0], token.end[0] + 1))
        total += len(coded - documented)
    return total


def test_every_room_has_its_place() -> None:
    assert {room(path) for path in FILES} - {"__init__"} == set(ORDER)
    assert len(set(ORDER)) == len(ORDER)
    assert {room(path) for path in STUDIES} - {"__init__"} == set(STUDY_ORDER)
    assert {room(path) for path in PAGES} - {"__init__"} == set(PAGES_ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        return  # the front door shows what all rooms offer
    mine = ORDER.index(room(path))
    later = {name for name in imported_rooms(path) if ORDER.index(name) > mine}
    assert not later, f"{path.relative_to(ROOT)} imports {sorted(later)}, which come after it"


def test_no_package_imports_one_that_stands_on_it() -> None:
    above = {"dip_lib": ("dip_study", "dip_book"), "dip_study": ("dip_book",)}
    above["glyph_world"] = above["dip_lib"]
    for files in (FILES, STUDIES, GLYPHS):
        for path in files:
            for package in above[path.relative_to(ROOT).parts[0]]:
                assert not [*imported_rooms(path, package)], path.name
    for path in GLYPHS:  # the world knows nothing of the library but how it refuses a name
        assert {*imported_rooms(path)} <= {"errors"}
    for package, files, order in (
        ("dip_study", STUDIES, STUDY_ORDER),
        ("dip_book", PAGES, PAGES_ORDER),
    ):
        for path in files:
            for name in imported_rooms(path, package):
                assert order.index(name) <= order.index(room(path)), path.name


def test_the_library_stays_small(capsys: pytest.CaptureFixture[str]) -> None:
    kernel = [PACKAGE / f"{name}.py" for name in CORE]
    core, package = code_lines(kernel), code_lines(FILES)
    world, studies, pages = (code_lines(files) for files in (GLYPHS, STUDIES, PAGES))
    with capsys.disabled():
        print(
            f"\ndip_lib: core {core} of 1000 lines of code ({lines(kernel)} with docstrings), "
            f"package {package} of 4000 ({lines(FILES)}); "
            f"glyph_world {world} of 1000 ({lines(GLYPHS)}), "
            f"dip_study {studies} of 1000 ({lines(STUDIES)}), "
            f"dip_book {pages} ({lines(PAGES)})"
        )
    assert core <= 1000
    assert package <= 4000
    assert world <= 1000
    assert studies <= 1000


def test_files_read_in_one_sitting() -> None:
    programs = [p for name in PROGRAMS for p in (ROOT / name).rglob("*.py")]
    every = [*FILES, *STUDIES, *GLYPHS, *PAGES, *programs]
    long = {str(path.relative_to(ROOT)): lines([path]) for path in every if lines([path]) >= 300}
    assert not long


def test_nobodys_folders_are_named() -> None:
    # written so that this file does not match itself
    pattern = re.compile(r"(?<![\w.])/(?:wor[k]|roo[t]|tm[p]|hom[e]/\w+)/\w|\.\./share[d]")
    texts = [
        *FILES,
        *STUDIES,
        *GLYPHS,
        *PAGES,
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "notebooks").glob("*.ipynb"),
    ]
    named = [path.name for path in texts if pattern.search(path.read_text("utf-8"))]
    assert not named


def test_nothing_is_left_for_later() -> None:
    marks = ("TOD" + "O", "FIXM" + "E", "NotImplemente" + "dError", "type: " + "ignore")
    left = [
        path.name
        for path in [*FILES, *STUDIES, *GLYPHS, *PAGES]
        if any(m in path.read_text("utf-8") for m in marks)
    ]
    assert not left


def test_the_packages_say_they_are_typed() -> None:
    assert all((folder / "py.typed").is_file() for folder in (PACKAGE, STUDY, BOOK, WORLD))


def test_the_public_names_are_the_designs() -> None:
    signatures = {
        "information_density": ["prompt", "k=1", "power=1"],
        "singular_values": ["prompt"],
        "LowRankPrompt": ["init", "rank=1", "dropout=0.5"],
        "densify": ["module", "name='ctx'", "rank=1", "dropout=0.5"],
        "load_backbone": ["name", "pretrained=None", "device='cpu'", "precision=None"],
        "PromptedClassifier": ["backbone='glyph-vit'", "pretrained=None", "device='cpu'"],
        "few_shot": ["labels", "shots", "seed", "val_labels=None"],
        "base_new": ["labels"],
        "harmonic_mean": ["base", "new"],
    }
    assert sorted(dip_lib.__all__) == sorted(signatures)
    for name, expected in signatures.items():
        found = inspect.signature(getattr(dip_lib, name)).parameters.values()
        shown = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in found]
        assert shown[: len(expected)] == expected
    for thing in (getattr(dip_lib, name) for name in signatures):
        assert inspect.getdoc(thing)


def test_a_backbone_offers_the_designs_names() -> None:
    clip = load_backbone("glyph-resnet")
    names = ("context", "encode_image", "encode_text", "class_embeddings")
    assert all(callable(getattr(clip, name)) for name in names)
    assert callable(clip.preprocess)
    assert clip.logit_scale > 1
    assert not clip.model.training
