"""The page that asks the data in a browser, opened as a file: answers, keys, faults, weight."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.support.ui import WebDriverWait
from test_ask_the_data import QUESTIONS
from test_browser import AXE, CONTENT, FAULTS, asked, external, keys, look, opened

from dip_book.ask_the_data import committed
from dip_book.frame import frame
from dip_lib.store.export import every_record

ROOT = Path(__file__).resolve().parents[2]
LIGHT = 600_000
"""Bytes that the page may load beside what every page does."""

SAID = "return document.querySelector('.ask-data [data-show=said]').textContent"
ROWS = "return document.querySelectorAll('.ask-data tbody tr').length"
CELLS = """return [...document.querySelectorAll('.ask-data [data-show=table] tr')]
.map(row => [...row.cells].map(cell => cell.innerText))"""
DRAWN = "return document.querySelector('.ask-data [data-show=plot]').ariaLabel"
OPEN = "document.querySelectorAll('.ask-data details').forEach(each => { each.open = true; })"
ACTIVE = "return document.activeElement"


def question(html: Path, browser: Any, asks: str = "") -> Any:
    """The page with a question in its address, once it is answered."""
    browser.get("about:blank")  # a new end of the address alone would load nothing
    opened(browser, html / "book" / "ask_the_data.html", f"#{asks}" if asks else "")
    answered(browser, "runs")
    return browser


def answered(browser: Any, *words: str) -> str:
    """What the page says once it says all of these."""
    for _ in range(100):
        said = browser.execute_script(SAID)
        if all(word in said for word in words) and "Reading" not in said:
            return str(said)
        browser.execute_async_script("setTimeout(arguments[0], 100)")
    return pytest.fail(f"after 10 s: {said}")


def quiet(browser: Any) -> None:
    assert not [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert not external(browser)


@pytest.mark.parametrize(
    ("width", "mode"), [(360, "light"), (360, "dark"), (1440, "light"), (1440, "dark")]
)
def test_every_example_is_answered_fits_and_is_accessible(
    html: Path, browser: Any, width: int, mode: str
) -> None:
    look(browser, width, mode)
    for asks in ["", *QUESTIONS]:
        question(html, browser, asks)
        assert 0 < browser.execute_script(ROWS) <= 50
        assert "have no value" not in (drawn := browser.execute_script(DRAWN)) or "runs" in drawn
        assert browser.execute_script("return document.querySelectorAll('.ask-dot').length") > 1
        assert browser.execute_script(CONTENT) <= width, asks
    browser.execute_script(OPEN)
    browser.execute_async_script("setTimeout(arguments[0], 300)")
    assert browser.execute_script(CONTENT) <= width
    browser.execute_script(AXE)
    assert not browser.execute_async_script(FAULTS)
    quiet(browser)


def test_links_on_the_page_ask_and_the_address_is_the_question(html: Path, browser: Any) -> None:
    look(browser, 1440, "light")
    question(html, browser)
    links = browser.find_elements("css selector", "[data-ask]")
    assert len(links) == len(QUESTIONS)
    everything = answered(browser, "runs")
    links[2].click()
    for _ in range(100):
        if (said := browser.execute_script(SAID)) != everything:
            break
        browser.execute_async_script("setTimeout(arguments[0], 100)")
    address = browser.current_url.partition("#")[2]
    assert "Photo" in address and said != everything
    question(html, browser, address)
    assert answered(browser, "runs") == said
    quiet(browser)


def test_the_keyboard_is_enough(html: Path, browser: Any) -> None:
    look(browser, 1440, "light")
    question(html, browser)
    browser.execute_script("document.querySelector('.ask-data [type=search]').focus()")
    keys(browser, "photo hosts")
    answered(browser, "434 of")
    keys(browser, Keys.TAB, Keys.TAB, Keys.TAB, Keys.ENTER)  # Method, the third filter, unfolds
    assert "Method" in browser.execute_script(f"{ACTIVE}.textContent")
    boxes = "return [...document.querySelectorAll('.ask-facet[open] label:not([hidden])')]"
    WebDriverWait(browser, 10).until(
        lambda its: its.execute_script(boxes)
    )  # filled once it is open
    keys(browser, Keys.TAB)
    said = "label => [label.firstChild.value, Number(label.lastChild.textContent)]"
    counts = dict(browser.execute_script(f"{boxes}.map({said})"))
    assert browser.execute_script(f"{ACTIVE}.type") == "checkbox"
    keys(browser, *[Keys.TAB] * [*counts].index("DePT"), Keys.SPACE)
    assert answered(browser, f"{counts['DePT']} of") and counts["DePT"] > 0
    assert browser.execute_script(f"{ACTIVE}.value") == "DePT"  # the focus stays
    assert "method=DePT&q=photo+hosts" in browser.current_url

    browser.execute_script("document.querySelector('[data-sort=h]').focus()")
    keys(browser, Keys.ENTER)
    assert browser.execute_script(f"{ACTIVE}.dataset.sort") == "h"
    assert browser.execute_script(f"{ACTIVE}.parentElement.ariaSort") == "descending"
    shown = [float(row[10]) for row in browser.execute_script(CELLS)[1:]]
    assert shown == sorted(shown, reverse=True)
    keys(browser, Keys.ENTER)
    assert browser.execute_script(f"{ACTIVE}.parentElement.ariaSort") == "ascending"

    browser.execute_script("document.querySelector('.ask-chips button').focus()")
    keys(browser, Keys.ENTER)
    answered(browser, "434 of")
    assert "photo hosts" in browser.execute_script(f"{ACTIVE}.textContent")
    browser.execute_script("document.querySelector('[name=on]').focus()")
    told = "return document.querySelector('[data-show=page]').textContent"
    keys(browser, Keys.ENTER, Keys.ENTER)
    assert browser.execute_script(told).startswith("Rows 101 to 150")
    assert browser.execute_script(f"{ACTIVE}.name") == "on"
    quiet(browser)


def test_the_csv_file_is_what_pandas_gives(html: Path, browser: Any, tmp_path: Path) -> None:
    """Which learning rate is best for DIP on each family, on the test images?"""
    look(browser, 1440, "light")
    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    asks = "world=Glyph+World&study=fronts&method=DIP&held_out=0&rank=1&dropout=0.5&epochs=40"
    question(html, browser, f"{asks}&group=dataset,lr&over=run&show=base,new,h")
    save = browser.find_element("css selector", ".ask-data [name=save]")
    ActionChains(browser).scroll_to_element(save).click(save).perform()
    path = tmp_path / "groups.csv"
    for _ in range(100):
        if path.is_file():
            break
        time.sleep(0.1)
    found = pd.read_csv(path).set_index(["dataset", "lr"]).sort_index()

    records = every_record(ROOT / "results" / "embedded-full" / "fronts.json")
    runs = frame(records)
    runs = runs[runs["last"] & (runs["label"] == "DIP") & (runs["held_out"] == 0)]
    runs = runs[(runs["rank"] == 1) & (runs["dropout"] == 0.5) & (runs["epochs"] == 40)]
    runs = runs.assign(h=2 * runs["base"] * runs["new"] / (runs["base"] + runs["new"]))
    groups = runs.groupby(["dataset", "lr"])
    expected = groups[["base", "new", "h"]].mean().sort_index()
    assert found.index.equals(expected.index)
    assert (found["runs"] == groups.size()).all()
    np.testing.assert_allclose(found[["base", "new", "h"]], expected, rtol=0, atol=0.006)
    quiet(browser)


def test_without_scripts_there_is_a_sentence_and_every_file(html: Path, browser: Any) -> None:
    look(browser, 1440, "light")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get((html / "book" / "ask_the_data.html").as_uri())
        assert not browser.find_element("css selector", ".ask-data").is_displayed()
        assert "without them" in browser.find_element("css selector", ".bd-article").text
        files = browser.find_elements("css selector", ".ask-files tbody tr")
        assert len(files) > 20 and all(row.is_displayed() for row in files)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_the_runs_are_loaded_here_alone_and_are_light(html: Path, browser: Any) -> None:
    look(browser, 1440, "light")
    asked(browser)
    opened(browser, html / "book" / "explore.html")
    assert not [url for url in asked(browser) if "/ask/" in url]
    files = {path.name: path.stat().st_size for path in (html / "_static" / "ask").iterdir()}
    grids = files.pop("grids.js")
    assert sum(files.values()) < LIGHT and grids < LIGHT
    question(html, browser)
    assert loaded(browser) == {*files}


def loaded(browser: Any) -> set[str]:
    """The page's own files that it has asked for since this was asked last."""
    return {url.split("/ask/")[1] for url in asked(browser) if "/ask/" in url}


@pytest.mark.parametrize("by", ["button", "filter", "address"])
def test_the_runs_of_the_grids_come_when_they_are_asked_for(
    html: Path, browser: Any, by: str
) -> None:
    look(browser, 1440, "light")
    first = answered(question(html, browser), "runs")
    assert "grids.js" not in loaded(browser)
    if by == "button":
        browser.find_element("css selector", "[name=grids]").click()
    elif by == "filter":
        browser.execute_script("location.hash = 'study=fronts'")
    else:
        question(html, browser, "grids=1")
    for _ in range(100):
        said = answered(browser, "of", "runs")
        if said != first and browser.execute_script(
            "return document.querySelector('[data-show=grids]').hidden"
        ):
            break
        browser.execute_async_script("setTimeout(arguments[0], 100)")
    assert "grids.js" in loaded(browser)
    everything = sum(len(source.rows) for source in committed(ROOT / "results"))
    assert f"of {everything:,} runs" in said
    assert ("grids=1" in browser.current_url) == (by != "filter")
    quiet(browser)
