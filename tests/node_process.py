"""Scripts of the book under Node, asked over its standard input and output."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

Ask = Callable[..., Any]
"""The answer to a task, a JSON value, given what it needs by name."""


@contextmanager
def asked(command: Sequence[str | Path]) -> Iterator[Ask]:
    """Asks a program that answers each line, a task as JSON, by a line of JSON."""
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdin and process.stdout
        lines, answers = process.stdin, process.stdout

        def answer(task: str, **job: Any) -> Any:
            print(json.dumps({"task": task} | job), file=lines, flush=True)
            line = answers.readline()
            assert line, "node ended: its error is on standard error"
            return json.loads(line)

        yield answer
        lines.close()
