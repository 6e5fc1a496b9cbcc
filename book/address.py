"""Set the repository's address everywhere: what make address calls.

    python book/address.py https://github.com/owner/name

The address is one value, ``repository.url`` in ``_config.yml``; ``REPEATS`` are the files that have
to repeat it, because Binder, Colab and pip read it there.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import yaml

SITE = "https://github.com/"
REPEATS = ("*.md", "*.cff", "*.toml", ".github/**/*.yml", "book/**/*.md", "notebooks/*.ipynb")
"""Where the address may stand, beside ``_config.yml``."""
BEFORE = r"(?P<before>https://github\.com/|mybinder\.org/v2/gh/|research\.google\.com/github/)"
OWNER, NAME = r"[A-Za-z0-9](?:-?[A-Za-z0-9])*", r"[\w.-]*[\w-]"


def owner_and_name(url: str) -> str:
    """The "owner/name" of an address.

    Raises:
        ValueError: ``url`` is not https://github.com/owner/name.
    """
    match = re.fullmatch(rf"{re.escape(SITE)}({OWNER}/{NAME})", url, re.ASCII)
    if not match or url.endswith(".git"):
        raise ValueError(
            f"URL={url!r} is no address of a repository: give it as {SITE}owner/name, "
            "without .git and without a slash at its end"
        )
    return match[1]


def replaced(text: str, old: str, new: str) -> tuple[str, int]:
    """``text`` with each address of ``old`` made one of ``new`` ("owner/name"), and their count."""
    after = r"(?![\w-]|\.(?!git\b)\w)"  # another name that begins alike is another repository
    pattern = rf"{BEFORE}{re.escape(old)}{after}"
    return re.subn(pattern, lambda match: f"{match['before']}{new}", text, flags=re.ASCII)


def set_address(root: Path, url: str) -> dict[str, int]:
    """Write ``url`` into the checkout at ``root``; only the address changes, byte for byte.

    The settings come last, so that an interrupted call is completed by the next.

    Returns:
        The changed files and the number of places in each; empty when all is set already.

    Raises:
        ValueError: ``url``, or the address in ``_config.yml``, is none; or a file that must repeat
            the address names neither the earlier nor the new one.
    """
    new, config = owner_and_name(url), root / "_config.yml"
    old = owner_and_name(yaml.safe_load(config.read_text("utf-8"))["repository"]["url"])
    files = sorted({path for pattern in REPEATS for path in root.glob(pattern)})
    changed = dict[str, int]()
    for path in [*files, config]:
        before = path.read_bytes().decode()  # as it is: line ends, too
        text, count = replaced(before, old, new)
        if path.name in ("README.md", "CITATION.cff") and new not in text:
            raise ValueError(
                f"{path.name} names neither {old} nor {new}: give repository.url in _config.yml "
                f"the address that {path.name} has, and run this again"
            )
        if text != before:
            path.write_bytes(text.encode())
            changed[str(path.relative_to(root))] = count
    return changed


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(f"usage: make address URL={SITE}owner/name")
    try:
        changed = set_address(Path(__file__).resolve().parents[1], sys.argv[1])
    except ValueError as error:
        sys.exit(str(error))
    for name, count in changed.items():
        print(f"{name}: {count}")
    print("The address is set." if changed else "The address was set already.")


if __name__ == "__main__":
    main()
