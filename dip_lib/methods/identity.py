"""The identity of a method's code: a hash that ignores comments and layout.

A run's key holds it, so an edited method is measured again and never reads its old runs. It is a
hash of the syntax tree of the modules that define the method's classes, and of the modules beside
them, or among the library's methods, that these import. Comments, docstrings, layout, quotes and
annotations do not count. The digest is the same on Python 3.11 to 3.14. What all methods share (the
trainer, the encoders, the data) is not in it: a recipe version, guarded by golden runs, stands for
that (:data:`dip_lib.training.run.RECIPE`).
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType

STANDARD = sys.stdlib_module_names
SHARED = tuple(f"dip_lib.methods.{name}" for name in ("method", "prompts", "identity"))
"""Modules that every method uses; they belong to what the recipe version stands for."""
IGNORED = {
    *("lineno", "col_offset", "end_lineno", "end_col_offset", "ctx", "kind", "type_comment"),
    *("annotation", "returns"),
}
"""Fields of the syntax tree that change no result, or that not every Python has."""


def normalised(source: str) -> str:
    """The syntax tree of a module as text: the same for code that differs in looks alone."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [each for each in body if not _is_text(each)]
        if isinstance(node, ast.JoinedStr):
            # Python 3.12 ends some formats of f-strings with an empty part
            node.values = [part for part in node.values if not _is_empty(part)]
    return _text(tree)


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is a bare string: a docstring."""
    value = getattr(node, "value", None)
    return (
        isinstance(node, ast.Expr)
        and isinstance(value, ast.Constant)
        and isinstance(value.value, str)
    )


def _is_empty(part: ast.AST) -> bool:
    return isinstance(part, ast.Constant) and part.value == ""


def _text(value: object) -> str:
    if isinstance(value, ast.AST):
        # fields that are empty are left out: later Pythons have more of them
        parts = [
            f"{name}={_text(field)}"
            for name, field in ast.iter_fields(value)
            if name not in IGNORED and field is not None and field != []
        ]
        return f"{type(value).__name__}({','.join(parts)})"
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return ascii(value)  # which letters repr() writes as they are depends on the Python


def code_identity(cls: type) -> str:
    """12 digits of the code that defines a class, its bases and what they import beside them."""
    sources = {name: normalised(_source(of)) for name, of in sorted(_sources(cls).items())}
    text = "\n".join(f"{name}: {source}" for name, source in sources.items())
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def module_identity(module: ModuleType) -> str:
    """12 digits of the code of one module."""
    return hashlib.sha256(normalised(_source(module)).encode()).hexdigest()[:12]


def _source(of: ModuleType | type) -> str:
    """The text of a module's file; of a class without one, its own."""
    if isinstance(of, ModuleType):
        return Path(str(of.__file__)).read_text("utf-8")
    return inspect.getsource(of)


def _sources(cls: type) -> dict[str, ModuleType | type]:
    """What defines a class and its bases, by name: modules, with their imports from their folder.

    A class that was written into a notebook or at a prompt has no module file: it stands for
    itself.
    """
    sources: dict[str, ModuleType | type] = {}
    waiting: list[str] = []
    for base in cls.__mro__:
        if getattr(sys.modules[base.__module__], "__file__", None):
            waiting.append(base.__module__)
        elif base is not object:
            sources[base.__qualname__] = base
    while waiting:
        name = waiting.pop()
        if name not in sources and name not in SHARED and name.split(".")[0] not in STANDARD:
            module = sys.modules[name]
            sources[name] = module
            waiting += _neighbours(module)
    return sources


def _neighbours(module: ModuleType) -> Iterator[str]:
    """Loaded modules beside a module, or among the library's methods, that it imports.

    A package itself is not one.
    """
    folders = Path(str(module.__file__)).parent, Path(__file__).parent
    for node in ast.walk(ast.parse(_source(module))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            origin = resolve_name(origin, module.__package__) if node.level else origin
            names = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            file = getattr(sys.modules.get(name), "__file__", None)
            if file and Path(file).parent in folders and Path(file).name != "__init__.py":
                yield name
