"""What Chromium wrote into a PDF, read by hand: its objects are plain, and no package is needed."""

from __future__ import annotations

import re
import unicodedata
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

CODES = re.compile(rb"<([0-9A-F]{4})> <([0-9A-F]{4})>(?: <([0-9A-F]+)>)?")
SHOWN = re.compile(rb"/(F\d+) [\d.]+ Tf|<([0-9A-F]+)> Tj")


def plain(text: str) -> str:
    """Letters without spaces, which a PDF has not where lines end; ligatures taken apart."""
    return "".join(unicodedata.normalize("NFKC", text).split())


@dataclass(frozen=True)
class Printed:
    """A PDF's objects by number."""

    objects: dict[int, bytes]

    @classmethod
    def read(cls, path: Path) -> Printed:
        found = re.finditer(rb"\n(\d+) 0 obj\n(.*?)\nendobj", path.read_bytes(), re.DOTALL)
        return cls({int(each[1]): each[2] for each in found})

    def one(self, holder: bytes, name: str) -> int | None:
        """The number of the object that ``holder`` calls ``name``."""
        found = re.search(rf"/{name} \[?(\d+) 0 R".encode(), holder)
        return int(found[1]) if found else None

    def stream(self, number: int) -> bytes:
        return zlib.decompress(self.objects[number].split(b"stream\n", 1)[1])

    @cached_property
    def pages(self) -> list[int]:
        """The numbers of the pages' objects, in their order."""
        return [n for n, each in sorted(self.objects.items()) if re.search(rb"/Type /Page\b", each)]

    def outline(self) -> list[tuple[str, int]]:
        """The uppermost entries of the outline: titles, and on which page (from 0) each is."""
        (root,) = (each for each in self.objects.values() if b"/Type /Catalog" in each)
        entry = self.one(self.objects[self.one(root, "Outlines") or 0], "First")
        entries = []
        while entry is not None:
            about = self.objects[entry]
            title = re.search(rb"/Title (?:\((.*?)(?<!\\)\)|<(\w+)>)\n", about, re.DOTALL)
            page = self.one(about, "Dest")
            assert title and page is not None
            wide = bytes.fromhex((title[2] or b"").decode()).decode("utf-16")
            entries.append(((title[1] or b"").decode() or wide, self.pages.index(page)))
            entry = self.one(about, "Next")
        return entries

    def _letters(self, font: int) -> dict[str, str]:
        """Code -> letters of a font."""
        table = self.one(self.objects[font], "ToUnicode")
        found: dict[str, str] = {}
        if table is None:
            return found
        for first, last, to in CODES.findall(self.stream(table)):
            start = int(to or last, 16)
            for k in range(int(last, 16) - int(first, 16) + 1 if to else 1):
                found[f"{int(first, 16) + k:04X}"] = chr(start + k)
        return found

    def text(self, page: int) -> str:
        """The text of a page (from 0), as :func:`plain` has it."""
        about = self.objects[self.pages[page]]
        named = re.findall(rb"/(F\d+) (\d+) 0 R", about)
        fonts = {name: self._letters(int(number)) for name, number in named}
        letters: dict[str, str] = {}
        said = []
        for font, codes in SHOWN.findall(self.stream(self.one(about, "Contents") or 0)):
            letters = fonts[font] if font else letters
            each = codes.decode()
            said += [letters.get(each[k : k + 4], "") for k in range(0, len(each), 4)]
        return plain("".join(said))

    def links(self) -> tuple[int, set[str]]:
        """How many links lead into the PDF itself, and where the others lead."""
        notes = [each for each in self.objects.values() if b"/Subtype /Link" in each]
        found = (re.search(rb"/URI \((.*?)(?<!\\)\)", each) for each in notes)
        return sum(b"/Dest" in each for each in notes), {m[1].decode() for m in found if m}
