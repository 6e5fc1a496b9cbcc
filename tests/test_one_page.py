"""All pages as one: each name is one page's, each address holds from elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup
from tiny_book import ROOT

sys.path.append(str(ROOT / "book"))  # as when book/pdf.py is run as a program
import one_page

TOC = {
    "root": "book/index",
    "parts": [
        {
            "caption": "Use it & more",
            "chapters": [{"file": "notebooks/01", "sections": [{"file": "book/a"}]}],
        }
    ],
}
NAMES = ["book/index", "notebooks/01", "book/a"]
ARTICLE = """<html><head><link rel="stylesheet" href="../_static/a.css">
<script src="../_static/slider.js"></script>
<script defer src="../_static/tables.js"></script></head>
<body><article class="bd-article"><section id="same">
<h1>Page {name} &amp; <i>co</i><a class="headerlink" href="#same">#</a></h1>
<p><a href="#same">here</a> <a href="../notebooks/01.html#same">there</a></p>
<img src="../_images/x.svg" alt="X"><details><summary>More</summary>said</details>
<div class="slider" hidden></div><script>operate()</script>
</section></article></body></html>"""


@pytest.mark.parametrize(
    ("link", "leads"),
    [
        ("#a-section", "#notebooks/01:a-section"),
        ("01.html", "#notebooks/01"),
        ("../book/a.html", "#book/a"),
        ("../book/a.html#term-H%20mean", "#book/a:term-H%20mean"),
        ("../results/data/01/curve.csv", "https://x.org/blob/1/results/data/01/curve.csv"),
        ("https://arxiv.org/abs/1#a", "https://arxiv.org/abs/1#a"),
        ("mailto:a@b.c", "mailto:a@b.c"),
        ("../genindex.html", None),  # no page of the table of contents
        ("../_downloads/1/slurm.sh", None),
    ],
)
def test_a_link_leads_into_the_book_or_online_or_nowhere(
    link: str, leads: str | None, tmp_path: Path
) -> None:
    assert one_page.target(link, "notebooks/01", tmp_path, NAMES, "https://x.org/blob/1") == leads


@pytest.fixture
def combined(tmp_path: Path) -> BeautifulSoup:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.html").write_text(ARTICLE.replace("{name}", name), "utf-8")
    shown = one_page.Edition("commit 1 of <today>", "1")
    return BeautifulSoup(one_page.combine(ROOT, tmp_path, TOC, shown), "html.parser")


def test_pages_stand_in_the_order_of_the_contents_under_names_of_their_own(
    combined: BeautifulSoup,
) -> None:
    assert [each["id"] for each in combined.select("section.page")] == NAMES
    assert [each.get_text() for each in combined.select("nav li")] == [
        f"Page {n} & co" for n in NAMES
    ]
    assert [each.get_text() for each in combined.select("nav p")][1:] == ["Use it & more"]
    ids = [each["id"] for each in combined.select("[id]")]
    assert len(ids) == len(set(ids)) == 2 * len(NAMES)
    links = [each["href"][1:] for each in combined.select('a[href^="#"]')]
    assert set(links) <= set(ids) and len(links) == 3 * len(NAMES)


def test_what_is_loaded_has_a_whole_address_and_what_is_operated_is_left_out(
    combined: BeautifulSoup, tmp_path: Path
) -> None:
    assert {each["src"] for each in combined.select("img")} == {
        f"{tmp_path.as_uri()}/_images/x.svg"
    }
    assert [each["href"] for each in combined.select("link")] == [
        f"{tmp_path.as_uri()}/_static/a.css"
    ]
    assert [each["src"] for each in combined.select("script")] == [
        f"{tmp_path.as_uri()}/_static/tables.js"
    ]
    assert not combined.select(".slider, .headerlink")
    assert not combined.select("details")  # closed, and paper cannot be clicked


def test_the_cover_cites_and_says_which_edition_it_is(combined: BeautifulSoup) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    cover = " ".join(combined.select_one(".whole-cover").get_text().split())
    for each in (citation["title"], f"Version {citation['version']}, commit 1 of <today>."):
        assert each in cover
    for paper in citation["references"]:
        assert all(each["family-names"] in cover for each in paper["authors"])
    assert not combined.select_one(".whole-cover h1")  # the outline's entries are the pages


def test_an_edition_is_a_commit_and_its_day_or_says_that_none_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert one_page.edition(tmp_path).revision == "HEAD"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@b.c"]
    day = {"GIT_COMMITTER_DATE": "2026-01-02T12:00:00Z"}
    (tmp_path / "page").write_text("first")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], check=True, env={**os.environ, **day})
    clean = one_page.edition(tmp_path)
    assert len(clean.revision) == 40
    assert clean.words == f"commit {clean.revision[:10]} of 2026-01-02"
    (tmp_path / "page").write_text("second")
    assert "with changes" in one_page.edition(tmp_path).words
