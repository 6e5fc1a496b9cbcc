"""Prints how many lines of code each package has: no blank lines, comments or docstrings.

``make test`` shows the counts; no test asserts them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from tokenize import COMMENT, DEDENT, ENDMARKER, INDENT, NEWLINE, NL, generate_tokens

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dip_lib", "dip_study", "dip_book", "glyph_world", "photo_world")
LAYOUT = (COMMENT, NL, NEWLINE, INDENT, DEDENT, ENDMARKER)


def code_lines(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        text, coded, documented = path.read_text("utf-8"), set[int](), set[int]()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                documented.update(range(node.lineno, (node.end_lineno or 0) + 1))
        for token in generate_tokens(StringIO(text).readline):
            if token.type not in LAYOUT:
                coded.update(range(token.start[0], token.end[0] + 1))
        total += len(coded - documented)
    return total


if __name__ == "__main__":
    counts = {name: code_lines((ROOT / name).rglob("*.py")) for name in PACKAGES}
    print("lines of code:", ", ".join(f"{name} {count:,}" for name, count in counts.items()))
