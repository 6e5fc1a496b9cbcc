"""One file over HTTP: a download resumes where it was cut, also in another process."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request

from tqdm import tqdm

from dip_lib.fetch.archives import amount, require
from dip_lib.fetch.secure import opened
from dip_lib.files import write_atomic

TRIES = 5
"""Connections in a row that may fail without any progress."""
HTML = (b"<html", b"<!doc")
NETWORK = (HTTPException, URLError, ConnectionError, TimeoutError)


def fetch(
    url: str,
    target: Path,
    size: int = 0,
    timeout: float = 60,
    pause: float = 1,
    checked: bool = False,
) -> None:
    """Download a file, resuming where an earlier try, or an earlier process, was cut.

    ``target.part`` is what has arrived, ``target.part.json`` tells of which version of the file.
    A server that cannot resume, or whose file has changed, is asked for all of it.

    Args:
        size: bytes expected; 0 if unknown.
        timeout: seconds of silence after which a connection counts as dead.
        pause: seconds before the second try; doubled each time.
        checked: whether the file's checksum is known, so that it may come over plain http.

    Raises:
        InsecureAddressError: neither https, nor of this machine, nor ``checked``.
        ConnectionError: not found, or five connections in a row without progress.
        OSError: a web page instead, a file of another size, disk full.
    """
    part = target.with_name(f"{target.name}.part")
    failures, best = 0, 0
    while not target.exists():
        try:
            _connect(url, part, size, timeout, checked)
            part.replace(target)
        except NETWORK as error:
            done = part.stat().st_size if part.exists() else 0
            failures, best = 1 if done > best else failures + 1, max(best, done)
            code = error.code if isinstance(error, HTTPError) else 500
            if code == 416 and done:  # the file is shorter than what we have: it has changed
                part.unlink()
            elif failures == TRIES or code not in (408, 429, *range(500, 600)):
                raise ConnectionError(f"{url}: {error} ({amount(done)} arrived)") from error
            time.sleep(pause * 2 ** (failures - 1))
    part.with_name(f"{part.name}.json").unlink(missing_ok=True)


def _connect(url: str, part: Path, size: int, timeout: float, checked: bool) -> None:
    """Bring ``part`` to its end over one connection."""
    about, known = part.with_name(f"{part.name}.json"), None
    with suppress(OSError, ValueError):
        known = json.loads(about.read_text("utf-8"))
    start = part.stat().st_size if known and part.exists() else 0
    if known and start == known[2] > 0:
        return
    headers = {"User-Agent": "dip-lib"} | ({"Range": f"bytes={start}-"} if start else {})
    with opened(Request(url, headers=headers), timeout, checked) as response:
        head, partial = response.headers, response.status == 206
        length = head["Content-Range" if partial else "Content-Length"] or "0"
        total = int(length.rpartition("/")[2].replace("*", "0"))
        version = [head["ETag"], head["Last-Modified"], total]
        if partial and (version != known or not length.startswith(f"bytes {start}-")):
            part.unlink()
            raise ConnectionError("the file has changed")
        block = response.read1(1 << 18)
        if "text/html" in (head["Content-Type"] or "") or block.lstrip()[:5].lower() in HTML:
            title = block.decode("utf-8", "replace").partition("<title>")[2].partition("<")[0]
            raise OSError(f"{url} is a web page ({title.strip()!r}), not a file")
        if size and total and size != total:
            raise OSError(f"{url} is {total} bytes long, not {size}: it has changed")
        require(part.parent, (total or size) - start * partial)
        with open(part, "ab" if partial else "wb") as file:
            write_atomic(about, json.dumps(version).encode())
            bar = {"desc": part.stem, "initial": file.tell(), "mininterval": 1}
            with tqdm.wrapattr(file, "write", total or None, **bar) as bar_file:
                bar_file.write(block)
                shutil.copyfileobj(response, bar_file)
    if (done := part.stat().st_size) < total:
        raise ConnectionError(f"cut after {done} of {total} bytes")
