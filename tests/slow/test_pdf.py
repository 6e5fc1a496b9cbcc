"""A small part of the book, printed: what a reader of the PDF finds, and what is refused."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup
from fresh import ROOT
from printed import Printed, plain

sys.path.append(str(ROOT / "book"))  # as when book/pdf.py is run as a program
import chromium
import one_page
import pdf

TOC = {
    "root": "book/method",
    "parts": [
        {
            "caption": "Figures and tables",
            "chapters": [
                {"file": "notebooks/01_glyph_world", "sections": [{"file": "book/train_here"}]},
                {"file": "book/references"},
            ],
        }
    ],
}


@dataclass(frozen=True)
class Small:
    """The small book: as one page, and printed."""

    source: Path
    program: str
    printed: Printed

    @property
    def page(self) -> BeautifulSoup:
        return BeautifulSoup(self.source.read_text("utf-8"), "html.parser")


@pytest.fixture(scope="module")
def small(html: Path, tmp_path_factory: pytest.TempPathFactory) -> Small:
    program = chromium.find()
    if not program:
        if os.environ.get("CI"):
            pytest.fail("CI needs chromium (apt-get install chromium)")
        pytest.skip("no chromium here: no PDF was printed")
    folder = tmp_path_factory.mktemp("pdf")
    source, out = folder / "book.html", folder / "book.pdf"
    source.write_text(one_page.combine(ROOT, html, TOC, one_page.edition(ROOT)), "utf-8")
    pdf.write(source, out, program)
    return Small(source, program, Printed.read(out))


def test_a_cover_says_what_it_is_of_whom_and_of_which_commit(small: Small) -> None:
    cite = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    (paper,) = cite["references"]
    cover = small.printed.text(0)
    said = (cite["title"], cite["authors"][0]["name"], cite["version"], paper["title"])
    for each in (*said, one_page.edition(ROOT).words):
        assert plain(each) in cover, each


def test_every_page_is_in_the_outline_and_has_its_text(small: Small) -> None:
    sections = small.page.select("section.page")
    outline = small.printed.outline()
    assert [each["id"] for each in sections] == [
        n for _, part in one_page.contents(TOC) for n in part
    ]
    titles = [each.select_one("h1").get_text() for each in sections]
    assert [plain(title) for title, _ in outline] == [*map(plain, titles)]
    ends = [*(first for _, first in outline[1:]), len(small.printed.pages)]
    for section, (_, first), end in zip(sections, outline, ends, strict=True):
        text = "".join(map(small.printed.text, range(first, end)))
        said = [e for e in section.select("h2, p, pre, td") if not e.find_parent(class_="hide")]
        assert len(said) > 10
        for each in said:
            for words in each.stripped_strings:  # formulas are drawn otherwise than written
                assert words.startswith("\\") or plain(words) in text, words


def test_pages_are_numbered_but_for_the_cover(small: Small) -> None:
    texts = [*map(small.printed.text, range(len(small.printed.pages)))]
    assert len(texts) > 8
    assert not texts[0].startswith("1")
    assert [n for n, text in enumerate(texts[1:], 2) if not text.startswith(str(n))] == []


def test_folded_code_and_what_a_reader_operates_is_not_printed(small: Small) -> None:
    text = "".join(map(small.printed.text, range(len(small.printed.pages))))
    (folded,) = small.page.select("#notebooks\\/01_glyph_world details.hide pre")[:1]
    assert plain(folded.get_text())[:60] not in text
    assert plain("Show the code") not in text
    assert small.page.select(".train-still img") and not small.page.select("form, canvas, .slider")


def test_links_lead_into_the_pdf_or_to_the_network_and_ids_are_one_each(small: Small) -> None:
    inside, outside = small.printed.links()
    ids = [each["id"] for each in small.page.select("[id]")]
    assert len(ids) == len(set(ids))
    wanted = {each["href"][1:] for each in small.page.select('a[href^="#"]')}
    assert wanted and wanted <= set(ids)
    assert inside >= len(wanted)
    assert outside and all(each.startswith("http") for each in outside)


def test_a_picture_that_cannot_be_shown_is_refused(small: Small, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    image = '<img src="nowhere.svg" alt="A picture that is not there">'
    broken.write_text(f"<!DOCTYPE html><title>Broken</title>{image}", "utf-8")
    with pytest.raises(ValueError, match=r"nowhere\.svg"):
        pdf.write(broken, tmp_path / "broken.pdf", small.program)
    assert not (tmp_path / "broken.pdf").exists()
