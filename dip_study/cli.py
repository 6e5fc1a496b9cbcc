"""The command ``dip``; what it does is in :mod:`dip_study.commands`."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

INTERRUPTED = 130
"""Exit code of a program that Ctrl-C has ended, by the shell's convention."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 if all is well, 1 if something is missing or failed, 130 after Ctrl-C; a wrong usage exits
        with 2.
    """
    prepare_streams()
    try:
        from dip_study import commands  # takes seconds, in which Ctrl-C is likely, too

        return commands.run(arguments)
    except KeyboardInterrupt:
        print("dip: interrupted; run the command again to resume", file=sys.stderr)
        return INTERRUPTED


def prepare_streams() -> None:
    """What a terminal cannot show is escaped, and bars are for terminals alone.

    Names can be in letters that an ASCII terminal lacks, or file names that are not UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if "tqdm" not in sys.modules and not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")


if __name__ == "__main__":
    sys.exit(main())
