"""A real HTTP server that cuts, stalls, redirects, forgets ranges or serves web pages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Site:
    """What the server serves, how it misbehaves, and what it was asked.

    Attributes:
        files: content by path.
        ranges: whether it can go on in the middle of a file.
        cuts: the next answers end after so many bytes; then all goes well.
        silence: seconds of silence in the place of a cut.
        pace: seconds after every 64 kB, to be killed meanwhile.
        moved: where a path redirects to.
        answers: status codes of the next answers; then all goes well.
        kind: Content-Type.
        measured: whether it says how long a file is.
        asked: (path, start of the range asked for, or 0), in order.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    silence: float = 0
    pace: float = 0
    moved: dict[str, str] = field(default_factory=dict)
    answers: list[int] = field(default_factory=list)
    kind: str = "application/octet-stream"
    measured: bool = True
    asked: list[tuple[str, int]] = field(default_factory=list)


def handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = int((self.headers["Range"] or "bytes=0-")[6:-1])
            site.asked.append((self.path, wanted))
            if site.answers:
                return self.send_error(site.answers.pop(0))
            if self.path in site.moved:
                self.send_response(302)
                self.send_header("Location", site.moved[self.path])
                return self.end_headers()
            if self.path not in site.files:
                return self.send_error(404)
            data = site.files[self.path]
            start = wanted if site.ranges else 0
            if start and start >= len(data):
                return self.send_error(416)
            self.send_response(206 if start else 200)
            self.send_header("Content-Type", site.kind)
            self.send_header("ETag", sha256(data).hexdigest())
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            if site.measured:
                self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.body(data[start:])

        def body(self, data: bytes) -> None:
            end = site.cuts.pop(0) if site.cuts else None
            for first in range(0, len(data[:end]), 1 << 16):
                self.wfile.write(data[:end][first : first + (1 << 16)])
                time.sleep(site.pace)
            if end is not None:
                time.sleep(site.silence)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def serving(**files: bytes) -> Iterator[Site]:
    """A server on this machine, in threads of its own, until the end of the block."""
    site = Site(files={f"/{name}": data for name, data in files.items()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(site)) as server:
        server.handle_error = lambda *_: None  # a client that hangs up is what is tested
        server.daemon_threads = True
        site.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield site
        finally:
            server.shutdown()
