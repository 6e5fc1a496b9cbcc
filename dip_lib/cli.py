"""The command ``dip``: what of the photo datasets is there, and getting what is missing."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dip_lib import download
from dip_lib.archives import amount

EXAMPLES = """examples:
  dip data status --data pictures           what is there, what is missing, how large it is
  dip data get eurosat dtd --data pictures  fetch, check, unpack; goes on where it was cut
DIP_MIRROR=URL: fetch URL/folder/file instead of the published addresses."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 if all is well, 1 if something is missing or failed; a wrong usage exits with 2.
    """
    look: dict[str, Any] = {"epilog": EXAMPLES, "formatter_class": argparse.RawTextHelpFormatter}
    parser = argparse.ArgumentParser("dip", description=__doc__, **look)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    data = commands.add_parser("data", help="the photo datasets on this disk", **look)
    actions = data.add_subparsers(required=True, metavar="ACTION")
    status = actions.add_parser("status", help="what is there, what is missing", **look)
    status.add_argument("--json", action="store_true", help="for programs")
    get = actions.add_parser("get", help="fetch, check and unpack what is missing", **look)
    get.add_argument("names", nargs="+", metavar="NAME", choices=download.sources())
    for action, run in ((status, _status), (get, _get)):
        folder, help = os.environ.get("DATA"), "the folder of all datasets (default: $DATA)"
        action.add_argument("--data", type=Path, default=folder, required=not folder, help=help)
        action.set_defaults(run=run)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except (OSError, KeyboardInterrupt) as error:
        sys.exit(f"dip: {str(error) or 'interrupted; run the command again to go on'}")


def _status(options: argparse.Namespace) -> int:
    found = {n: download.status(each, options.data) for n, each in download.sources().items()}
    if options.json:
        print(json.dumps(found, indent=1))
    for name, each in found.items() if not options.json else ():
        begun = f", {amount(each['begun'])} of it begun" if each["begun"] else ""
        state = f"missing, {amount(each['download'])} to download{begun}"
        print(f"{name:16}{state if each['missing'] else 'complete'}  ({each['folder']})")
        for file in each["missing"]:
            hand = f"  by hand: `dip data get {name}` says how" if file["by_hand"] else ""
            print(f"{'':16}- {file['path']}{hand}")
    return int(any(each["missing"] for each in found.values()))


def _get(options: argparse.Namespace) -> int:
    failed, mirror = 0, os.environ.get("DIP_MIRROR", "")
    for name in dict.fromkeys(options.names):
        try:
            download.get(download.sources()[name], options.data, mirror)
            print(f"{name}: complete")
        except (LookupError, OSError, ValueError) as error:
            failed = 1
            print(f"dip: {name}: {error}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
