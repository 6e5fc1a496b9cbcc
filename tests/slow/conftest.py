"""What the slow tests share: the built book, a browser, and one fresh environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from absent import without_packages
from fresh import ROOT, Fresh
from test_tooling import CONDA_NAMES

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book built from what is committed, with no more than make site has, in a copy."""
    root = tmp_path_factory.mktemp("checkout")
    for folder in ("book", "examples", "notebooks", "results"):
        shutil.copytree(ROOT / folder, root / folder)
    shutil.copy(ROOT / "_config.yml", root)
    script = [sys.executable, str(root / "book" / "build.py"), "site"]
    variables = without_packages(root / "absent") | {"DIP_HOME": str(root / "home")}
    subprocess.run(script, env=variables, check=True)
    return root / "_build" / "html"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium without a window; skipped visibly where there is none, required under CI=true."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        if os.environ.get("CI"):
            pytest.fail("CI needs chromium and chromedriver (apt-get install chromium-driver)")
        pytest.skip("no chromium and chromedriver here: nothing was looked at in a browser")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = chromium
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=Service(driver))
    chrome.set_page_load_timeout(60)
    yield chrome
    chrome.quit()


@pytest.fixture(scope="session")
def plain() -> Iterator[Fresh]:
    """What a plain install brings, at the versions of environment.yml, and nothing else."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    names = {conda: name for name, conda in CONDA_NAMES.items()}
    pins = [line.split("=") for line in listed if "=" in line and not line.startswith("python=")]
    packages = [f"{names.get(name, name)}=={version}" for name, version in pins]
    with tempfile.TemporaryDirectory() as folder:
        place = Fresh(Path(folder))
        subprocess.run([sys.executable, "-m", "venv", str(place.folder / "env")], check=True)
        place.run("python", "-m", "pip", "install", "--quiet", *packages)
        yield place


@pytest.fixture(scope="session")
def binder(plain: Fresh) -> Iterator[Fresh]:
    """What Binder has before ``postBuild``: JupyterLab beside the packages of environment.yml."""
    with tempfile.TemporaryDirectory() as folder:
        place = Fresh(Path(folder))
        # pip and setuptools, too, are those beneath
        venv = [sys.executable, "-m", "venv", "--without-pip", str(place.folder / "env")]
        subprocess.run(venv, check=True)
        where = "import sysconfig; print(sysconfig.get_path('purelib'))"
        beneath, own = (Path(each.run("python", "-c", where).strip()) for each in (plain, place))
        (own / "plain.pth").write_text(f"{beneath}\n")
        place.run("python", "-m", "pip", "install", "--quiet", "jupyterlab")
        yield place
