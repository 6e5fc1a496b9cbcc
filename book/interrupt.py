"""Ctrl-C in programs that start others."""

from __future__ import annotations

import signal


def without_ctrl_c() -> None:
    """In a child: leave Ctrl-C to the parent, which ends the child without a traceback of its."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
