"""The committed book in a real browser: every page, phone and desktop, light and dark, offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

# What a page must not do, asked of the page itself.
OVERFLOW = "return document.documentElement.scrollWidth - window.innerWidth"
IMAGES = """return [...document.images]
.filter(i => !i.alt.trim() || i.alt.includes('_images/') || !i.naturalWidth).map(i => i.src)"""
MATHS = """return [...document.querySelectorAll('.math')]
.filter(m => !m.querySelector('mjx-container')).map(m => m.textContent)"""
ANCHORS = """return [...document.querySelectorAll('a[href^="#"]')]
.map(a => decodeURIComponent(a.getAttribute('href').slice(1)))
.filter(id => id && !document.getElementById(id))"""
READY = """const done = arguments[0], maths = window.MathJax && MathJax.startup;
Promise.resolve(maths && maths.promise).then(() => setTimeout(done, 50))"""


BROWSERS_OWN = ("chrome:", "chrome-untrusted:")  # its new tab, still on its way out


def requested(browser: Any) -> set[str]:
    """Addresses that left for the network since the last call."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    urls = {params["request"]["url"] for params in sent}
    return {url for url in urls if not url.startswith(("file:", "data:", "blob:", *BROWSERS_OWN))}


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_every_page_is_quiet_offline_and_fits(
    html: Path, browser: Any, width: int, mode: str
) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": mode}]}
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    pages = [page for page in sorted(html.rglob("*.html")) if "_static" not in page.parts]
    assert len(pages) >= 7
    faults = []
    for page in pages:
        browser.get(page.as_uri())
        browser.execute_async_script(READY)
        name = page.relative_to(html)
        found = {
            "console": [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"],
            "external": sorted(requested(browser)),
            "overflow": max(0, browser.execute_script(OVERFLOW)),
            "images": browser.execute_script(IMAGES),
            "maths": browser.execute_script(MATHS),
            "anchors": browser.execute_script(ANCHORS),
        }
        faults += [f"{name}: {kind} {fault}" for kind, fault in found.items() if fault]
        if page.parent != html:  # the redirect and the search page have no theme of their own
            assert browser.execute_script("return document.documentElement.dataset.theme") == mode
    assert not faults, "\n".join(faults)
