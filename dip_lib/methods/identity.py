"""The identity of a method's code: it changes with what the code does, not with how it looks.

A run's key holds it, so an edited method is measured again and never reads its old runs. It is a
hash of the syntax tree of the modules that define the method's classes, and of the modules of the
same folder that these import. Comments, docstrings, layout, quotes and annotations do not count.
The digest is the same on Python 3.11 to 3.14. What all methods share (the trainer, the towers, the
data) is not in it: a recipe version, guarded by golden runs, stands for that
(:data:`dip_lib.training.run.RECIPE`).
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterator
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
    return _text(tree)


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is a bare string: a docstring."""
    value = getattr(node, "value", None)
    return (
        isinstance(node, ast.Expr)
        and isinstance(value, ast.Constant)
        and isinstance(value.value, str)
    )


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
    return repr(value)


def code_identity(cls: type) -> str:
    """12 digits of the code that defines a class, its bases and what they import beside them."""
    sources = {
        name: normalised(inspect.getsource(of)) for name, of in sorted(_sources(cls).items())
    }
    text = "\n".join(f"{name}: {source}" for name, source in sources.items())
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _sources(cls: type) -> dict[str, ModuleType | type]:
    """What defines a class and its bases, by name: modules, with their imports from their folder.

    A class that was written into a notebook or at a prompt has no module file: it stands for
    itself.
    """
    found: dict[str, ModuleType | type] = {}
    waiting: list[str] = []
    for base in cls.__mro__:
        if getattr(sys.modules[base.__module__], "__file__", None):
            waiting.append(base.__module__)
        elif base is not object:
            found[base.__qualname__] = base
    while waiting:
        name = waiting.pop()
        if name not in found and name not in SHARED and name.split(".")[0] not in STANDARD:
            module = sys.modules[name]
            found[name] = module
            waiting += _neighbours(module)
    return found


def _neighbours(module: ModuleType) -> Iterator[str]:
    """Loaded modules of the module's folder that it imports; a package itself is not one."""
    folder = Path(str(module.__file__)).parent
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            file = getattr(sys.modules.get(name), "__file__", None)
            if file and Path(file).parent == folder and Path(file).name != "__init__.py":
                yield name
