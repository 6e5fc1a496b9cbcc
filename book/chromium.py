"""Chromium without a window, asked in its DevTools protocol over two pipes, without a package."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    "--no-sandbox",  # of which root has none; what is opened are the book's own files
)
PIPES = 'exec "$0" "$@" 3<&0 4>&1 </dev/null >&2'
"""The protocol reads from 3 and writes to 4, which the shell makes of its own 0 and 1."""


def find() -> str | None:
    """The program, or None where none is installed."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Tab:
    """An open page of a running browser."""

    def __init__(self, browser: subprocess.Popen[bytes]) -> None:
        assert browser.stdin and browser.stdout
        self._out, self._in, self._asked = browser.stdin, browser.stdout, 0
        self._session: dict[str, str] = {}
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one command of the protocol.

        Raises:
            RuntimeError: it was refused, or the browser has ended.
        """
        self._asked += 1
        question = {"id": self._asked, "method": method, "params": params, **self._session}
        self._out.write(json.dumps(question).encode() + b"\0")
        self._out.flush()
        for message in self._messages():
            if message.get("id") == self._asked:
                if "error" in message:
                    raise RuntimeError(f"Chromium refuses {method}: {message['error']}")
                return message["result"]
        raise RuntimeError(f"Chromium has ended during {method}")

    def _messages(self) -> Iterator[dict[str, Any]]:
        rest = b""
        while more := os.read(self._in.fileno(), 1 << 20):
            *whole, rest = (rest + more).split(b"\0")
            yield from map(json.loads, whole)

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True}
        answer = self.ask("Runtime.evaluate", **asked)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script[:60]}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def open(self, page: Path) -> None:
        """Open a file and wait until it is loaded."""
        self.ask("Page.navigate", url=page.resolve().as_uri())
        while (
            self.evaluate("document.readyState + location") != f"complete{page.resolve().as_uri()}"
        ):
            time.sleep(0.1)

    def pdf(self, **options: Any) -> bytes:
        """The open page as a PDF, by ``Page.printToPDF`` with these options."""
        return base64.b64decode(self.ask("Page.printToPDF", **options)["data"])


@contextmanager
def tab(program: str) -> Iterator[Tab]:
    """A tab of a browser of its own, which ends with the block."""
    with tempfile.TemporaryDirectory() as profile, tempfile.TemporaryFile() as log:
        flags = [*FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        words = ["sh", "-c", PIPES, program, *flags]
        pipe = subprocess.PIPE
        browser = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=log)
        try:
            yield Tab(browser)
        finally:
            browser.terminate()
            browser.wait(60)
