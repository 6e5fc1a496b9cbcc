"""The page that learns in a real browser, opened as a file: numbers, keys, faults, weight."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from selenium.webdriver import ActionChains, Keys
from test_browser import AXE, CONTENT, FAULTS, asked, external, keys, look, opened
from test_train_here import METHODS, Recorded

from dip_book.train_here import Given
from dip_book.train_here_runs import evaluated, prepared
from dip_lib import load_backbone
from dip_lib.training.loop import train_epochs
from dip_lib.training.parts import Schedule

DATA = Path(__file__).resolve().parents[2] / "book" / "train_here"
FAMILY = "boxes"
EVERYTHING, VISIT = 6_000_000, 5_000_000
"""Bytes of all that training may load, all families; of a visit: one family, and a drawing."""

SAID = "return document.querySelector('[data-show=said]').textContent"
REFUSED = "return document.querySelector('[data-show=refused]').textContent"
ANSWERS = "return [...document.querySelectorAll('[data-show=answer] tr')].map(row => row.innerText)"
SET = """const [form, name, value] = arguments;
const control = document.querySelector(form).elements[name];
control.value = value;
(control.length && control[0].form ? control[0] : control)
  .dispatchEvent(new Event(name === 'letter' ? 'input' : 'change', {bubbles: true}))"""
NUMBERS = """const [settings, epochs, prompt, done] = arguments;
try {
  const {encoder, family} = TrainHere.use('world'), {begin, trainEpoch} = TrainHere.use('training');
  const {prepare, encode, scores} = TrainHere.use('tower');
  const world = family(encoder(TrainHere.packs), TrainHere.packs.boxes), {tower} = world;
  const run = begin(world, settings), losses = [];
  for (let epoch = 0; epoch < epochs; epoch++) losses.push(...trainEpoch(run));
  const classes = prepare(tower, world.suffixes, world.n, world.sos);
  const logits = scores(tower, world.test.images.subarray(0, 50 * tower.e), 50,
    encode(tower, classes, prompt), classes.C);
  done({losses, logits: Array.from(logits)});
} catch (error) { done({error: error.stack}) }"""


@pytest.fixture
def page(html: Path, browser: Any) -> Any:
    look(browser, 1440, "light")
    browser.set_script_timeout(600)
    return opened(browser, html / "book" / "train_here.html")


def choose(page: Any, form: str = ".train form", **controls: object) -> None:
    for name, value in controls.items():
        page.execute_script(SET, form, name, str(value))


def until(page: Any, script: str, is_so: Callable[[Any], object], seconds: int = 600) -> Any:
    """What ``script`` says once it is so."""
    for _ in range(10 * seconds):
        if is_so(found := page.execute_script(script)):
            return found
        page.execute_async_script("setTimeout(arguments[0], 100)")
    return pytest.fail(f"after {seconds} s: {found}")


def train(page: Any, **controls: object) -> str:
    """Press Train; what the page says at the end."""
    choose(page, **controls)
    page.execute_script("document.querySelector('.train [type=submit]').click()")
    until(page, SAID, lambda said: "begun" in said or "Epoch" in said or "Nothing" in said)
    ends = ("Trained", "Stopped", "Nothing", "did not")
    return str(until(page, SAID, lambda said: said.startswith(ends)))


def quiet(page: Any) -> None:
    assert not [e["message"] for e in page.get_log("browser") if e["level"] == "SEVERE"]
    assert not external(page)


@pytest.mark.parametrize("name", METHODS)
def test_logits_and_fifty_losses_are_the_library_s(page: Any, name: str) -> None:
    settings, low_rank = METHODS[name]
    clip, given = load_backbone("glyph-resnet"), Given.read(DATA / f"{FAMILY}.safetensors")
    train(page, family=FAMILY, epochs=1)  # loads what is needed
    prompt = 0.2 * torch.randn(4, 128, generator=torch.Generator().manual_seed(1))
    page_settings = settings | {"lr": 0.03, "epochs": 13, "seed": 4}
    found = page.execute_async_script(NUMBERS, page_settings, 13, prompt.flatten().tolist())
    assert "error" not in found, found
    logits = clip.logit_scale * given.test[:50] @ clip.class_embeddings(prompt, given.names).T
    assert (torch.tensor(found["logits"]).view_as(logits) - logits).abs().max() < 1e-4
    Recorded.losses.clear()
    for _ in train_epochs(prepared(given, clip, low_rank, Schedule(epochs=13), Recorded(), seed=4)):
        pass
    assert len(Recorded.losses) == 52
    assert found["losses"] == pytest.approx(Recorded.losses, abs=1e-3)
    quiet(page)


def test_a_run_ends_where_the_library_s_does_and_answers_for_names_and_drawings(page: Any) -> None:
    clip, given = load_backbone("glyph-resnet"), Given.read(DATA / f"{FAMILY}.safetensors")
    said = train(page, family=FAMILY, method="coop", epochs=4, seed=3)
    runs = prepared(given, clip, None, Schedule(epochs=4), seed=3)
    rows = [evaluated(runs, given)]
    for _ in train_epochs(runs):
        pass
    rows.append(evaluated(runs, given))
    shown = [float(number) for number in re.findall(r"(?:base|new) ([\d.]+) %", said)]
    expected = [row[half] for row in reversed(rows) for half in ("base", "new")]
    assert shown == pytest.approx(expected, abs=0.2)  # three of 1,600 images, and one decimal
    assert f"ID₁ {rows[0]['id'][0]:.2f} → {rows[1]['id'][0]:.2f}" in said
    described = page.execute_script(
        "return [...document.querySelectorAll('.train svg')].map(svg => svg.ariaLabel)"
    )
    assert len(described) == 3 and f"{rows[1]['singular'][0]:.2f}" in described[2]
    assert len(page.find_elements("css selector", ".train-pictures li")) == 16
    assert "a 0." in page.execute_script(
        "return document.querySelector('[data-show=words] tr').innerText.replace(/\\s+/g, ' ')"
    )

    submit = "document.querySelector('.ask [type=submit]').click()"
    choose(page, ".ask", names="light left, small xylophone, horizontl")
    page.execute_script(submit)
    refused = until(page, REFUSED, lambda text: "never saw" in text)
    assert "xylophone" in refused and "horizontl" in refused and "horizontal" in refused
    choose(page, ".ask", names="capital omega, small beta, light left", letter="Ω")
    page.execute_script(submit)
    answers = until(page, ANSWERS, lambda rows: len(rows) == 3)
    assert answers[0].startswith("capital omega")
    assert sum(float(row.split("\t")[1]) for row in answers) == pytest.approx(100, abs=0.2)
    chosen = "return document.querySelector('.ask').elements.image.value"
    choose(page, ".ask", names="", letter="")
    assert page.execute_script(chosen) != "own"
    canvas = page.find_element("css selector", ".train canvas")
    drag = ActionChains(page).move_to_element(canvas).click_and_hold()
    drag.move_by_offset(0, -40).release().perform()
    assert page.execute_script(chosen) == "own"
    page.execute_script(submit)
    assert len(until(page, ANSWERS, lambda rows: len(rows) == 5)) == 5
    quiet(page)


def test_keys_are_enough_and_stop_stops(page: Any) -> None:
    active = "return document.activeElement.name || document.activeElement.type"
    choose(page, family="greek")
    page.execute_script("document.querySelector('.train select').focus()")
    for expected in ("method", "rank", "dropout", "lr", "epochs"):
        keys(page, Keys.TAB)
        assert page.execute_script(active) == expected
    keys(page, Keys.CONTROL + "a", Keys.NULL + "400", Keys.ENTER)
    until(page, SAID, lambda said: "begun" in said)
    page.execute_script("document.querySelector('[name=stop]').focus()")
    keys(page, Keys.SPACE)
    said = until(page, SAID, lambda said: said.startswith(("Stopped", "Trained")))
    assert re.match(r"Stopped after epoch \d+ of 400", said)
    assert len(page.find_elements("css selector", "[data-show=runs] tr")) == 1
    choose(page, lr="", epochs=3)  # refused by the form itself
    page.execute_script("document.querySelector('.train [type=submit]').click()")
    assert page.execute_script(SAID) == said


def test_what_is_not_learned_is_said(page: Any) -> None:
    said = train(page, family="greek", lr="1e300", epochs=3)
    assert said.startswith("Nothing was learned") and "1e+300" in said
    page.execute_script("document.querySelector('.ask [type=submit]').click()")
    assert "Nothing was learned" in until(page, REFUSED, bool)
    assert train(page, lr="0.03", epochs=1).startswith("Trained for 1 epoch")
    quiet(page)


@pytest.mark.parametrize(
    ("width", "mode"), [(360, "light"), (360, "dark"), (1440, "light"), (1440, "dark")]
)
def test_after_a_run_the_page_fits_and_is_accessible(page: Any, width: int, mode: str) -> None:
    look(page, width, mode)
    train(page, family="operators", epochs=2)  # long names
    choose(page, ".ask", names="")
    page.execute_script("document.querySelector('.ask [type=submit]').click()")
    until(page, ANSWERS, len)
    assert page.execute_script(CONTENT) <= width
    page.execute_script(AXE)
    assert not page.execute_async_script(FAULTS)
    quiet(page)


def test_without_scripts_there_is_a_picture_and_a_sentence(html: Path, browser: Any) -> None:
    look(browser, 1440, "light")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get((html / "book" / "train_here.html").as_uri())
        assert not browser.find_element("css selector", ".train").is_displayed()
        still = browser.find_element("css selector", ".train-still")
        assert still.is_displayed() and "does not run them" in still.text
        picture = still.find_element("css selector", "img")
        assert picture.size["width"] > 300 and picture.get_attribute("alt")
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_data_is_loaded_when_it_is_asked_for_and_is_light(html: Path, page: Any) -> None:
    def packs(urls: set[str]) -> set[str]:
        return {url.split("/packs/")[1] for url in urls if "/packs/" in url}

    assert not packs(asked(page))
    train(page, family="latin", epochs=1)
    assert packs(asked(page)) == {"text_tower.js", "vocabulary.js", "latin.js"}
    folder = html / "_static" / "train"
    sizes = {str(p.relative_to(folder)): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    drawing = sizes.pop("packs/image_tower.js")
    assert sum(sizes.values()) < EVERYTHING
    families = {name for name in sizes if name.startswith("packs/")}
    families -= {"packs/text_tower.js", "packs/vocabulary.js"}
    assert len(families) == 11
    most = max(sizes[name] for name in families)
    visit = sum(size for name, size in sizes.items() if name not in families) + most + drawing
    print(f"all for training {sum(sizes.values()):,}, a visit with a drawing {visit:,} bytes")
    assert visit < VISIT
