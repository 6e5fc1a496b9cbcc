"""The command ``dip``; what it does is in :mod:`dip_study.commands`."""

from __future__ import annotations

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
    try:
        from dip_study import commands  # takes seconds, in which Ctrl-C is likely, too

        return commands.run(arguments)
    except KeyboardInterrupt:
        print("dip: interrupted; run the command again to resume", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
