"""The committed book in a real browser: every page, phone and desktop, light and dark, offline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text("utf-8")
FIRST, LATER, HTML = 3_500_000, 600_000, 150_000
"""Bytes of the first page, of what a later one adds with its figures, of a page's HTML."""
LEAST = 9.0
"""Pixels of the smallest text of a figure on a phone."""

# What a page must not do, asked of the page itself.
CONTENT = "return document.documentElement.scrollWidth"
IMAGES = """return [...document.images]
.filter(i => !i.alt.trim() || i.alt.includes('_images/') || !i.naturalWidth).map(i => i.src)"""
MATHS = """return [...document.querySelectorAll('.math')]
.filter(m => !m.querySelector('mjx-container')).map(m => m.textContent)"""
WIDTHS = """return [...document.querySelectorAll('.cell_output img, .method-picture')]
.map(i => [i.src || '', i.getBoundingClientRect().width])"""
READY = """const done = arguments[0], maths = window.MathJax && MathJax.startup;
const shown = [...document.images].map(i => { i.loading = 'eager'; return i.decode(); });
Promise.allSettled([maths && maths.promise, ...shown]).then(() => setTimeout(done, 50))"""
FAULTS = """const done = arguments[0];
axe.run(document, {resultTypes: ['violations'], preload: false}).then(found => done(found.violations
.filter(v => v.impact === 'serious' || v.impact === 'critical')
.flatMap(v => v.nodes.map(n => `${v.id}: ${n.target} ${n.html.slice(0, 120)}`))))"""

BROWSERS_OWN = ("chrome:", "chrome-untrusted:")  # its new tab, still on its way out


def asked(browser: Any) -> set[str]:
    """Addresses that the browser has asked for since the last call."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return {params["request"]["url"] for params in sent}


def external(browser: Any) -> set[str]:
    """Those that left for the network."""
    own = ("file:", "data:", "blob:", *BROWSERS_OWN)
    return {url for url in asked(browser) if not url.startswith(own)}


def pages(html: Path) -> list[Path]:
    """All pages but the first, which only leads to book/index.html."""
    start = html / "index.html"
    assert "url=book/index.html" in start.read_text("utf-8")
    found = (page for page in sorted(html.rglob("*.html")) if page != start)
    return [page for page in found if "_static" not in page.parts]


def look(browser: Any, width: int, mode: str) -> None:
    """Every page from now on is seen at this width, as a reader of this colour scheme sees it."""
    media = {"features": [{"name": "prefers-color-scheme", "value": mode}]}
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def opened(browser: Any, page: Path, query: str = "") -> Any:
    from selenium.common.exceptions import TimeoutException

    try:
        browser.get(page.as_uri() + query)
    except TimeoutException:  # now and then Chromium misses the end of a load
        browser.get(page.as_uri() + query)
    browser.execute_async_script(READY)
    return browser


def smallest(picture: Path) -> float:
    """Size of the smallest text of an SVG as a share of the picture's width; indices not counted.

    Matplotlib draws text as outlines of a hundredth of the font's size: ``scale(0.1 -0.1)`` is
    ten units. An SVG with real text says ``font-size``.
    """
    text = picture.read_text("utf-8")
    (width,) = re.findall(r'<svg[^>]*viewBox="[\d.-]+ [\d.-]+ ([\d.]+)', text)[:1]
    outlines = [100 * float(size) for size in re.findall(r"scale\(([\d.]+) -[\d.]+\)", text)]
    sizes = [*outlines, *map(float, re.findall(r"font-size[:=]\s*\"?([\d.]+)", text))]
    return min(sizes, default=float(width)) / float(width)


@pytest.mark.parametrize(
    ("width", "mode"), [(360, "light"), (360, "dark"), (1440, "light"), (1440, "dark")]
)
def test_every_page_is_quiet_offline_legible_and_fits(
    html: Path, browser: Any, width: int, mode: str
) -> None:
    look(browser, width, mode)
    assert len(pages(html)) >= 20
    faults = []
    for page in pages(html):
        opened(browser, page)
        found = {
            "console": [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"],
            "external": sorted(external(browser)),
            "overflow": max(0, browser.execute_script(CONTENT) - width),
            "images": browser.execute_script(IMAGES),
            "maths": browser.execute_script(MATHS),
        }
        name = str(page.relative_to(html))
        if width < 500:
            shown = ((Path(urlparse(s).path), w) for s, w in browser.execute_script(WIDTHS) if s)
            texts = {p.name: smallest(p) * w for p, w in shown if p.suffix == ".svg"}
            found["small text"] = {name: px for name, px in texts.items() if round(px, 1) < LEAST}
        if (width < 500) == (mode == "dark"):  # each mode once, each width once
            browser.execute_script(AXE)
            found["accessibility"] = browser.execute_async_script(FAULTS)
        faults += [f"{name}: {kind} {fault}" for kind, fault in found.items() if fault]
        if page.parent != html:  # the search page and the index of names
            assert browser.execute_script("return document.documentElement.dataset.theme") == mode
    assert not faults, "\n".join(faults)


def test_pages_are_light(html: Path, browser: Any) -> None:
    look(browser, 1440, "light")
    first = html / "book" / "index.html"
    inner = [page for page in pages(html) if page.parent != html]  # no search, no index of names
    asked(browser)  # what earlier tests have loaded
    seen: set[Path] = set()
    over = []
    for page in [first, *(page for page in inner if page != first)]:
        opened(browser, page)
        addresses = [urlparse(url) for url in asked(browser)]
        loaded = {Path(unquote(each.path)) for each in addresses if each.scheme == "file"}
        assert page in loaded and len(loaded) > 20  # styles and scripts, too
        size = sum(path.stat().st_size for path in loaded - seen)
        name = str(page.relative_to(html))
        if size > (LATER if seen else FIRST):
            over.append(f"{name}: {size:,} bytes")
        if page.stat().st_size > HTML:
            over.append(f"{name}: {page.stat().st_size:,} bytes of HTML")
        print(f"{name}: {size:,} bytes")  # shown by pytest -s, or when it fails
        seen |= loaded
    assert not over, "\n".join(over)


class Links(HTMLParser):
    """The ids and the links of one page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.ids |= {found[name] or "" for name in ("id", "name") if name in found}
        if tag == "a" and (link := found.get("href")):
            self.links.append(link)


def broken(html: Path) -> Iterator[str]:
    """Links of the book to files or places that are not there."""
    known = {page: Links(page) for page in pages(html)}
    for page, links in known.items():
        for link in links.links:
            parts = urlparse(link)
            if parts.scheme or link == "#":
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            place = unquote(parts.fragment)
            if not target.is_file() or (
                place and target in known and place not in known[target].ids
            ):
                yield f"{page.relative_to(html)}: {link}"


def test_every_link_inside_the_book_leads_somewhere(html: Path) -> None:
    assert not sorted(set(broken(html.resolve())))


def keys(browser: Any, *pressed: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*pressed).perform()


def test_the_keyboard_is_enough(html: Path, browser: Any) -> None:
    from selenium.webdriver import ActionChains, Keys

    look(browser, 1440, "light")
    index = html / "book" / "index.html"
    active = "return document.activeElement"

    opened(browser, index)
    keys(browser, Keys.TAB)
    assert "skip" in browser.execute_script(f"{active}.textContent").lower()
    keys(browser, Keys.ENTER)
    assert browser.execute_script("return location.hash") == "#main-content"

    ActionChains(browser).key_down(Keys.CONTROL).send_keys("k").key_up(Keys.CONTROL).perform()
    assert browser.execute_script(f"{active}.type") == "search"
    keys(browser, "tolerance", Keys.ENTER)
    found = "return [...document.querySelectorAll('#search-results li a')].map(a => a.href)"
    for _ in range(50):
        there = browser.execute_script("return location.pathname").endswith("search.html")
        if there and any("glossary.html" in link for link in browser.execute_script(found)):
            break
        browser.execute_async_script("setTimeout(arguments[0], 100)")
    else:
        pytest.fail("searching for 'tolerance' does not find the glossary")

    opened(browser, index)
    rows = (
        "return [...document.querySelectorAll('table.claims tbody tr[id]')]"
        ".filter(r => r.offsetParent)"
    )
    every = browser.execute_script(f"{rows}.length")
    browser.execute_script("document.querySelector('.claims-filter input').focus()")
    keys(browser, Keys.ARROW_RIGHT)
    cells = (
        f"{rows}.map(r => [...r.querySelectorAll('td[data-verdict]')]"
        ".map(cell => [cell.dataset.world, cell.dataset.verdict]))"
    )
    shown = browser.execute_script(cells)
    assert all("reproduced" in dict(row).values() for row in shown)
    left = browser.execute_script(f"{rows}.length")
    said = "return document.querySelector('.claims-filter output').textContent"
    assert browser.execute_script(said) == f"{left} of {every} claims" and left < every
    keys(browser, Keys.TAB, Keys.SPACE, Keys.ARROW_RIGHT)  # the first world, with that verdict
    glyphs = browser.execute_script(cells)
    assert glyphs and all(dict(row).get("embedded") == "reproduced" for row in glyphs)
    assert len(glyphs) <= left
    hidden = "return document.querySelector('table.claims tr[hidden]').id"
    browser.execute_script(f"location.hash = (() => {{ {hidden} }})()")
    browser.execute_async_script("setTimeout(arguments[0], 100)")
    assert browser.execute_script(f"{rows}.length") == every  # a link to a claim finds it

    opened(browser, html / "book" / "explore.html")
    told = "return document.querySelector('.explore-said').textContent"
    before = browser.execute_script(told)
    browser.execute_script("document.querySelectorAll('.explore input')[1].focus()")
    keys(browser, Keys.ARROW_LEFT)
    after = browser.execute_script(told)
    assert "dropout 0.5" in before and "dropout 0.3" in after and "H " in after

    opened(browser, html / "notebooks" / "17_what_id_cannot_see.html")
    told = "return document.querySelector('.slider output').textContent"
    drawn = "return document.querySelector('.slider svg').outerHTML"
    assert browser.execute_script(told) == "0 SD"
    before = browser.execute_script(drawn)
    browser.execute_script("document.querySelector('.slider input').focus()")
    keys(browser, Keys.END)
    assert browser.execute_script(told) == "100 SD"
    assert browser.execute_script(drawn) != before


@pytest.mark.parametrize("width", [390, 1440])
def test_a_slider_stays_in_sight_down_to_its_last_panel(
    html: Path, browser: Any, width: int
) -> None:
    look(browser, width, "light")
    opened(browser, html / "notebooks" / "14_visual_prompts.html")
    assert browser.execute_script("return document.querySelectorAll('.slider > svg').length") > 2
    browser.execute_script("document.querySelector('.slider > svg:last-of-type').scrollIntoView()")
    on_top = """const box = document.querySelector('.slider input').getBoundingClientRect();
    return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2).type"""
    assert browser.execute_script(on_top) == "range"


def test_without_scripts_every_claim_and_every_setting_is_there(html: Path, browser: Any) -> None:
    look(browser, 1440, "light")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get((html / "book" / "index.html").as_uri())
        shown = [
            row.is_displayed() for row in browser.find_elements("css selector", "table.claims tr")
        ]
        assert len(shown) > 20 and all(shown)
        assert not browser.find_element("css selector", ".claims-filter").is_displayed()
        browser.get((html / "book" / "explore.html").as_uri())
        settings = browser.find_elements("css selector", ".explore-table tbody tr")
        assert len(settings) > 10 and all(row.is_displayed() for row in settings)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
