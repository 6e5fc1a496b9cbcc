"""The code that a book's summary was computed with, by one digest of its files."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

PACKAGES = ("dip_lib", "dip_study", "glyph_world", "photo_world")
SUFFIXES = (".py", ".toml", ".json", ".safetensors")


def code_digest(root: Path) -> str:
    """12 digits that change with any file of the packages in the checkout ``root``."""
    files = [p for name in PACKAGES for p in (root / name).rglob("*") if p.suffix in SUFFIXES]
    total = sha256()
    for path in sorted(files):
        total.update(f"{path.relative_to(root).as_posix()}\0".encode())
        total.update(sha256(path.read_bytes()).digest())
    return total.hexdigest()[:12]
