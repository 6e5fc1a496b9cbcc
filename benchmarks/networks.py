"""Where processes run: here, or each in a network of its own on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A network's address of this machine, and what a command there begins with."""

    host: str
    prefix: tuple[str, ...] = ()


HERE = Place("127.0.0.1")


@dataclass(frozen=True)
class Networks:
    """Two network namespaces that a cable joins; neither has another way out."""

    places: tuple[Place, Place]

    @staticmethod
    @contextmanager
    def made() -> Iterator[Networks | None]:
        """Them, until the block is left; None where this user may not make any (Linux, root)."""
        tag = f"{os.getpid():x}"
        names, cables = [f"dip{tag}{side}" for side in "ab"], [f"v{tag}{side}" for side in "ab"]
        hosts = [f"10.213.7.{number}" for number in (1, 2)]
        with ExitStack() as stack:
            if not shutil.which("ip") or not _ip("netns", "add", names[0]):
                yield None
                return
            stack.callback(_ip, "netns", "del", names[0])
            _ip("netns", "add", names[1])
            stack.callback(_ip, "netns", "del", names[1])
            _ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
            for name, cable, host in zip(names, cables, hosts, strict=True):
                _ip("link", "set", cable, "netns", name)
                _ip("-n", name, "addr", "add", f"{host}/30", "dev", cable)
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("-n", name, "link", "set", cable, "up")
            at = ("ip", "netns", "exec")
            yield Networks((Place(hosts[0], (*at, names[0])), Place(hosts[1], (*at, names[1]))))


def _ip(*arguments: str) -> bool:
    return subprocess.run(["ip", *arguments], capture_output=True).returncode == 0
