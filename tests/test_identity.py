"""A method's identity changes with what its code does, and with nothing else."""

from __future__ import annotations

import ast
import hashlib
import importlib
import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest
from few_glyphs import Bench, few, run

from dip_lib.methods import METHODS, identity, kgcoop, prograd
from dip_lib.methods.identity import code_identity, normalised
from dip_lib.store.store import Store
from dip_lib.training.run import Run
from dip_lib.training.trainer import train

SAMPLE = '''
"""Everything a method's file may hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

NUMBERS = (0.1, 1e-300, 10**30, 2 - 3j, 0x10, 1_000)
WORDS = "ä 🙂 \\u0378 \\x00 'one' \\"two\\"" "joined", b"bytes\\xff", ..., None, True


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A class."""

    weight: float = 1.0
    names: tuple[str, ...] = ("a", "b")
    rows: list[int] = field(default_factory=lambda: [1, 2])

    @property
    def text(self) -> str:
        width = 8
        return f"{self.weight!r:>{width}.3f} {self.names=} {'nested ' f'{width:{width}}'}" f"{{}}"

    @staticmethod
    def nested(first, /, *rest, scale=2, **more) -> Callable[[int], int]:
        """A function with a function in it."""

        def inner(x, y=lambda z=3: z + 1):
            if (n := len(rest)) > 1 and not more:
                return [i**2 for i in range(n) if i % 2] + [*rest]
            return x if scale is None else -x @ y()

        return inner


def matched(value):
    match value:
        case {"a": [1, 2, *others], **rest} if others:
            return rest
        case Sample(weight=0.5 | 1.5) | (None as value):
            return value
        case [str(), -1, _]:
            return 1
        case _:
            try:
                raise ValueError(value)
            except* (ValueError, TypeError) as group:
                del group.message
            else:
                "no docstring"
            finally:
                pass


async def later(items):
    async with items as each:
        async for one in each:
            yield (await one)[1:-1:2, ...], {*items}, {**one}
    global NUMBERS
    for x, *_ in items: x += 1
    while x: break
    assert x, "x"
'''
DIGEST = "29f27e0d695b"
"""sha256 of the normalised sample."""


# ---- what counts --------------------------------------------------------------------------------

TOY = '''
from dataclasses import dataclass

from dip_lib.methods import CoOp


@dataclass(frozen=True, kw_only=True)
class Toy(CoOp):
    """A method."""

    name = "toy"
    label = "Toy"
    weight: float = 2.0

    def loss(self, learned, frozen, batch: object) -> object:
        # a comment
        term = self.weight * learned.prompts[0].square().mean((1, 2))
        return super().loss(learned, frozen, batch) + term
'''


@pytest.fixture
def module_of(tmp_path: Path) -> Iterator[Callable[[Mapping[str, str]], ModuleType]]:
    """Writes modules into a folder of their own and imports the one called "toy"."""
    before, path, count = set(sys.modules), list(sys.path), itertools.count()

    def forget() -> None:
        for name in set(sys.modules) - before:
            if name.split(".")[0].startswith("toy"):
                del sys.modules[name]

    def imported(files: Mapping[str, str]) -> ModuleType:
        forget()
        room = tmp_path / str(next(count))
        for file, text in files.items():
            (room / file).parent.mkdir(parents=True, exist_ok=True)
            (room / file).write_text(text, "utf-8")
        sys.path[:] = [str(room), str(room / "elsewhere"), *path]
        importlib.invalidate_caches()
        return importlib.import_module("toy")

    yield imported
    forget()
    sys.path[:] = path


@pytest.fixture
def toy(module_of: Callable[[Mapping[str, str]], ModuleType]) -> Callable[..., str]:
    """The identity of class Toy in ``toy.py``, beside other files."""

    def digits(source: str = TOY, files: Mapping[str, str] | None = None) -> str:
        return code_identity(module_of({**(files or {}), "toy.py": source}).Toy)

    return digits


def edited(source: str, old: str, new: str) -> str:
    assert old in source
    return source.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another\n        # and one more"),
        ("        # a comment\n", ""),
        ('    """A method."""\n', '    """What it does, at length."""\n'),
        ('    """A method."""\n', ""),
        ("batch: object) -> object", "batch) -> float"),
        ("weight: float = 2.0", "weight: int = 2.0"),
        ('"toy"', "'toy'"),
        ("2.0", "2.00"),
        (
            "learned, frozen, batch)",
            "\n            learned,\n            frozen, batch\n        )",
        ),
        ("term = self.weight * ", "term = (self.weight)  *  "),
        ("\n\n\n@dataclass", "\n@dataclass"),
    ],
)
def test_looks_are_no_part_of_it(toy: Callable[..., str], old: str, new: str) -> None:
    assert toy(edited(TOY, old, new)) == toy()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2.0", "2.1"),
        ("self.weight *", "self.weight /"),
        (".square()", ".abs()"),
        ('name = "toy"', 'name = "toy "'),
        ("(1, 2)", "(2, 1)"),
        ("prompts[0]", "prompts[-1]"),
        ("frozen=True", "frozen=True, repr=False"),
        ("batch: object", "batch=None"),
        ("super().loss", "self.loss"),
        ("        return super", "        term = term\n        return super"),
        ("from dip_lib.methods import CoOp", "from dip_lib.methods import PromptMethod as CoOp"),
    ],
)
def test_what_the_code_does_is_part_of_it(toy: Callable[..., str], old: str, new: str) -> None:
    assert toy(edited(TOY, old, new)) != toy()


IMPORTS = (
    "from toy_terms import term",
    "import toy_terms",
    "from toy_between import term",  # which imports it in turn
)


@pytest.mark.parametrize("line", IMPORTS)
def test_a_module_beside_it_that_it_imports_is_part_of_it(
    toy: Callable[..., str], line: str
) -> None:
    def digits(terms: str, unread: str = "X = 1\n") -> str:
        between = "from toy_terms import term\n"
        files = {"toy_terms.py": terms, "toy_between.py": between, "toy_unread.py": unread}
        return toy(f"{line}\n{TOY}", files)

    plain = digits("def term(x):\n    return x + 1\n")
    assert plain == digits("def term(x):  # a comment\n    return x + 1\n")
    assert plain == digits("def term(x):\n    return x + 1\n", unread="X = 2\n")
    assert plain != digits("def term(x):\n    return x + 2\n")


def test_modules_of_a_package_are_found_by_relative_imports(
    module_of: Callable[[Mapping[str, str]], ModuleType],
) -> None:
    def digits(terms: str) -> str:
        inside = f"from .toy_terms import term\nfrom . import toy_more\n{TOY}"
        files = {"toys/__init__.py": "", "toys/toy_more.py": "", "toys/method.py": inside}
        files |= {"toys/toy_terms.py": terms, "toy.py": "from toys.method import Toy\n"}
        return code_identity(module_of(files).Toy)

    assert digits("term = 1\n") == digits("term = 1  # one\n") != digits("term = 2\n")


def test_the_module_of_a_base_class_is_part_of_it_wherever_it_lies(toy: Callable[..., str]) -> None:
    derived = edited(TOY, "from dip_lib.methods import CoOp", "from toy_base import Base as CoOp")
    base = "from dip_lib.methods import CoOp\n\nclass Base(CoOp):\n    factor = 1.0\n"

    def digits(text: str) -> str:
        return toy(derived, {"elsewhere/toy_base.py": text})

    assert digits(base) == digits(f"{base}# a comment\n")
    assert digits(base) != digits(edited(base, "1.0", "1.5"))


def test_a_library_method_that_it_builds_on_is_part_of_it(
    toy: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    used = f"from dip_lib.methods.prograd import without_conflict\n{TOY}"
    before, unused, real = toy(used), toy(), identity._source

    def with_an_edit(of: ModuleType | type) -> str:
        return real(of) + ("EDIT = 1\n" if of is prograd else "")

    monkeypatch.setattr(identity, "_source", with_an_edit)
    assert toy(used) != before
    assert toy() == unused


def test_what_every_method_shares_is_not_part_of_it() -> None:
    for kind in METHODS.values():
        names = identity._sources(kind)
        assert names
        assert not {name.split(".")[-1] for name in names} & {"method", "prompts", "identity"}
        assert all(name.startswith("dip_lib.methods.") for name in names)


def test_a_class_without_a_file_stands_for_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # as a cell of a notebook: a module without a file, whose source Python knows all the same
    class Cell:
        weight = 1

    monkeypatch.setitem(sys.modules, "cell", ModuleType("cell"))
    Cell.__module__ = "cell"
    monkeypatch.setattr(identity.inspect, "getsource", lambda of: "class Cell:\n    weight = 1\n")
    first = code_identity(Cell)
    monkeypatch.setattr(identity.inspect, "getsource", lambda of: "class Cell:\n    weight = 2\n")
    assert code_identity(Cell) != first


# ---- the same on every Python -------------------------------------------------------------------

PROGRAM = """
import hashlib, runpy, sys
text = runpy.run_path(sys.argv[1])["normalised"](open(sys.argv[2], encoding="utf-8").read())
print(hashlib.sha256(text.encode()).hexdigest()[:12], *sys.version_info[:2])
"""


def test_the_digest_of_a_fixed_text_is_fixed() -> None:
    assert hashlib.sha256(normalised(SAMPLE).encode()).hexdigest()[:12] == DIGEST


def python(version: str) -> str | None:
    """An interpreter of this version, if the machine has one."""
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}*/bin/python"))
    for candidate in (shutil.which(f"python{version}"), *map(str, pyenv)):
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True).returncode == 0:
            return candidate
    return None


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_another_python_gives_the_same_digest(version: str, tmp_path: Path) -> None:
    if not (interpreter := python(version)):
        pytest.skip(f"no Python {version} on this machine")
    (tmp_path / "sample.py").write_text(SAMPLE, "utf-8")
    given = [str(Path(identity.__file__)), str(tmp_path / "sample.py")]
    done = subprocess.run([interpreter, "-c", PROGRAM, *given], capture_output=True, text=True)
    assert done.stdout.split() == [DIGEST, *version.split(".")], done.stderr


def test_the_sample_holds_what_it_says() -> None:
    kinds = {type(node) for node in ast.walk(ast.parse(SAMPLE))}
    wanted = {ast.JoinedStr, ast.NamedExpr, ast.Match, ast.Lambda, ast.AnnAssign, ast.TryStar}
    assert wanted <= kinds
    functions = [n for n in ast.walk(ast.parse(SAMPLE)) if isinstance(n, ast.FunctionDef)]
    assert any(each.decorator_list for each in functions)
    assert any(isinstance(e, ast.FunctionDef) for each in functions for e in each.body)


# ---- an edited method is measured anew ----------------------------------------------------------


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


def test_an_edited_method_is_measured_anew_and_a_mended_one_is_not(
    bench: Bench,
    module_of: Callable[[Mapping[str, str]], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    source = Path(kgcoop.__file__).read_text("utf-8")
    store = Store(tmp_path / "store")

    def run_by(text: str) -> Run:
        """The run of KgCoOp whose file is this."""
        kind = module_of({"toy.py": edited(text, 'name = "kgcoop"', 'name = "toy"')}).KgCoOp
        monkeypatch.setitem(METHODS, "toy", kind)
        return run("toy")

    def measured(each: Run) -> float:
        (result,) = train([each], bench.clip, bench.dataset, bench.features)
        store.put(result.record, result.tensors)
        loss: float = result.record["checkpoints"][-1]["loss"]
        return loss

    plain = run_by(source)
    loss = measured(plain)
    assert store.get(plain)
    old = 'frozen.per_run["weight"] * distance'
    wrong = run_by(edited(source, old, f"1e4 * {old}"))
    assert wrong.to_dict() == plain.to_dict()
    assert wrong.key() != plain.key()
    assert store.missing([wrong]) == [wrong]
    assert [record["key"] for record in store.outdated()] == [plain.key()]
    assert abs(measured(wrong) - loss) > 1
    mended = run_by(f"{source}\n# the factor of 10,000 was wrong\n")
    assert mended.key() == plain.key()
    record = store.get(mended)
    assert record is not None
    assert record["checkpoints"][-1]["loss"] == loss
    assert [record["key"] for record in store.outdated()] == [wrong.key()]
