"""All pages of the built book as one page, which :mod:`pdf` prints.

Sphinx's own builder of a single page (``singlehtml``) would not do: sections of several pages have
one name, and what the book's directives write leads to files from where their page lies. Here each
built page is read, and its names and addresses become those of a page among many. Scripts that make
pages interactive are left out, so that what stands without them is shown.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from worlds_apart import take_apart

SCRIPTS = ("MathJax", "mathjax", "tables.js")
"""Scripts that paper needs: formulas, and tables that fit."""
OPERATED = "script, .headerlink, .train, .ask-data, .explore, .slider, details:not([open], .hide)"
"""What a page has for its reader to operate; folded code (.hide) is left out by ``print.css``."""


@dataclass(frozen=True)
class Page:
    """A page of the book: its name in the table of contents, its heading, its content."""

    name: str
    title: str
    article: str


def contents(toc: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Each part's caption ("" for none) with the names of its pages, in reading order."""

    def names(chapters: list[dict[str, Any]]) -> list[str]:
        return [n for each in chapters for n in (each["file"], *names(each.get("sections", [])))]

    yield "", [toc["root"], *names(toc.get("chapters", []))]
    for part in toc.get("parts", []):
        yield part["caption"], names(part["chapters"])


def place(name: str, fragment: str = "") -> str:
    """The id that ``fragment`` of a page has among all pages."""
    return f"{name}:{fragment}" if fragment else name


def target(link: str, name: str, html: Path, names: Collection[str], online: str) -> str | None:
    """Where a link of a page leads from the PDF: into it, online, or (None) nowhere."""
    here, whole = f"{html.resolve().as_uri()}/", urlsplit(link)
    if whole.scheme:
        return link
    parts = urlsplit(urljoin(f"{here}{name}.html", link))
    path = unquote(parts._replace(fragment="").geturl().removeprefix(here))
    if (page := path.removesuffix(".html")) in names:
        return f"#{place(page, parts.fragment)}"
    return f"{online}/{path}" if path.startswith("results/") else None


def page(name: str, html: Path, names: Collection[str], online: str) -> Page:
    """A built page, with addresses that hold in a file elsewhere."""
    article = parsed(html, name).select_one("article.bd-article")
    assert article, name
    for each in article.select(OPERATED):
        each.decompose()
    title = article.select_one("h1")
    assert title, name
    for each in article.select("[id]"):
        each["id"] = place(name, str(each["id"]))
    for each in article.select("a[href]"):
        if found := target(str(each["href"]), name, html, names, online):
            each["href"] = found
        else:
            del each["href"]
    with_files(article, name, html)
    take_apart(article)
    return Page(name, title.get_text(), str(article))


def parsed(html: Path, name: str) -> BeautifulSoup:
    return BeautifulSoup((html / f"{name}.html").read_text("utf-8"), "html.parser")


def with_files(tag: Tag, name: str, html: Path) -> None:
    """Make the addresses of what is loaded whole ones."""
    base = (html / f"{name}.html").resolve().as_uri()
    for attribute, selector in (("src", "[src]"), ("href", "link[href]")):
        for each in tag.select(selector):
            each[attribute] = urljoin(base, str(each[attribute]))


def head(html: Path, name: str) -> str:
    """The styles of a built page, and those of its scripts that paper needs."""
    found = parsed(html, name).head
    assert found
    with_files(found, name, html)
    scripts = [each for each in found.select("script") if any(s in str(each) for s in SCRIPTS)]
    return "\n".join(map(str, [*found.select("link[rel~=stylesheet]"), *scripts]))


@dataclass(frozen=True)
class Edition:
    """Which state of a checkout is printed: in words, and as git names it ("HEAD", if unknown)."""

    words: str
    revision: str


def edition(root: Path) -> Edition:
    """The edition of a checkout."""
    git = ["git", "-C", str(root)]
    asked = (["log", "-1", "--format=%H %cs"], ["status", "--porcelain", "-uno"])
    try:
        said = [
            subprocess.check_output([*git, *each], text=True, stderr=subprocess.DEVNULL).strip()
            for each in asked
        ]
    except (OSError, subprocess.CalledProcessError):
        return Edition("from sources without their history", "HEAD")
    commit, day = said[0].split()
    changed = " with changes" if said[1] else ""
    return Edition(f"commit {commit[:10]}{changed} of {day}", commit)


def combine(root: Path, html: Path, toc: Mapping[str, Any], edition: Edition) -> str:
    """The pages of a table of contents, built in ``html`` from the checkout ``root``, as one."""
    url = yaml.safe_load((root / "_config.yml").read_text("utf-8"))["repository"]["url"]
    online = f"{url}/blob/{edition.revision}"
    names = {name for _, part in contents(toc) for name in part}
    parts = [
        (caption, [page(name, html, names, online) for name in part])
        for caption, part in contents(toc)
    ]
    loader = FileSystemLoader(root / "book")
    templates = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return templates.get_template("pdf.html").render(
        citation=yaml.safe_load((root / "CITATION.cff").read_text("utf-8")),
        edition=edition.words,
        head=head(html, toc["root"]),
        parts=parts,
    )
