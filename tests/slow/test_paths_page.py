"""Page 10's slider in a real browser, opened as a file: keys, playing, less motion, no scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Keys
from test_browser import keys, look, opened

SAID = "return document.querySelector('.slider output').textContent"
BUTTON = "return document.querySelector('.slider .play').textContent"
LABELS = (
    "return [...document.querySelectorAll('.slider > svg')].map(s => s.getAttribute('aria-label'))"
)
TRAILS = """return [...document.querySelectorAll('.slider > svg .trail')]
.map(line => line.getAttribute('points').split(' ').length)"""
FOCUS = "document.querySelector(arguments[0]).focus()"
UNTIL = """const [text, done] = arguments;
const look = () => document.querySelector('.slider .play').textContent === text
  ? done() : setTimeout(look, 50);
look()"""


@pytest.fixture
def page(html: Path, browser: Any) -> Any:
    look(browser, 1440, "light")
    browser.set_script_timeout(120)
    return opened(browser, html / "notebooks" / "10_hosts.html")


def test_keys_move_every_path_and_the_text_says_where_they_are(page: Any) -> None:
    names = page.execute_script(
        "return [...document.querySelectorAll('.slider .legend li')].length"
    )
    assert page.execute_script(SAID) == "100 %"
    every = page.execute_script(LABELS)
    assert len(every) == 2 and all("KgCoOp + DIP" in label for label in every)
    lengths = page.execute_script(TRAILS)
    assert len(lengths) == 2 * (names - 1) and len({*lengths}) == 1  # and the front's entry
    page.execute_script(FOCUS, ".slider input")
    keys(page, Keys.HOME)
    assert page.execute_script(SAID) == "0 %"
    assert {*page.execute_script(TRAILS)} == {1}
    keys(page, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page.execute_script(SAID) == "20 %"
    assert {*page.execute_script(TRAILS)} == {3}
    assert all("After 20 % " in label for label in page.execute_script(LABELS))


def test_it_plays_once_and_stops_when_it_is_told_to_or_moved(page: Any) -> None:
    page.execute_script(FOCUS, ".slider input")
    keys(page, Keys.TAB, Keys.SPACE)  # the button follows the slider
    assert page.execute_script(BUTTON) == "Stop"
    page.execute_async_script(UNTIL, "Play")
    assert page.execute_script(SAID) == "100 %"
    keys(page, Keys.SPACE, Keys.SPACE)
    assert page.execute_script(BUTTON) == "Play"
    assert page.execute_script(SAID) != "100 %"
    keys(page, Keys.SPACE)
    page.execute_script(FOCUS, ".slider input")
    keys(page, Keys.END)
    assert page.execute_script(BUTTON) == "Play"
    assert page.execute_script(SAID) == "100 %"


def test_who_wants_less_motion_has_the_slider_alone(page: Any) -> None:
    button, slider = (page.find_element("css selector", f".slider {e}") for e in (".play", "input"))
    assert button.is_displayed()
    media = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    assert not button.is_displayed() and slider.is_displayed()


def test_without_scripts_the_still_figure_says_the_same(html: Path, browser: Any) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get((html / "notebooks" / "10_hosts.html").as_uri())
        assert not browser.find_element("css selector", ".slider").is_displayed()
        pictures = browser.find_elements("css selector", ".cell_output img")
        (still,) = [p for p in pictures if "along the training" in p.get_attribute("alt")]
        assert still.is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_pages_without_a_slider_load_nothing_for_it(html: Path) -> None:
    texts = {page: page.read_text("utf-8") for page in html.glob("*/*.html")}
    loading = {page.stem for page, text in texts.items() if "slider_paths.js" in text}
    having = {page.stem for page, text in texts.items() if "data-slider=" in text}
    assert loading == having and {"10_hosts", "17_what_id_cannot_see"} <= having
