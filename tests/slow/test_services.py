"""Binder and Colab as far as they can be had here: what their buttons open runs, and is seen.

Binder is a fresh environment of ``environment.yml`` and ``postBuild``, a Jupyter server and a real
browser. Colab is a kernel whose shell is of ``google.colab``, with the packages of a plain install
and without this library; the repository that its first cell installs is a local one that git is led
to.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import launch_buttons
import nbformat
import psutil
import pytest
import yaml
from fresh import ROOT, Fresh, copy_sources

NOTEBOOK = "01_glyph_world"
BINDER_MEMORY = 2 * 2**30
"""Bytes that Binder gives to a session."""
SHELL = """
from ipykernel.zmqshell import ZMQInteractiveShell


class Shell(ZMQInteractiveShell):
    pass
"""
KERNEL = """
from ipykernel.ipkernel import IPythonKernel

from google.colab._shell import Shell


class Kernel(IPythonKernel):
    shell_class = Shell
"""
MENU = """const [label, command] = arguments;
const seen = (css, text) => [...document.querySelectorAll(css)]
.find(each => !text || each.textContent.trim() === text);
return [seen('.lm-MenuBar-item', label), seen(`.lm-Menu-item[data-command="${command}"]`)]"""
DIALOG = """return document.querySelector('.jp-Dialog')?.innerText"""
IDLE = """return document.querySelector('.jp-Toolbar-kernelName')?.innerText.includes('Python 3')
&& document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'"""
FIGURES = """return [...document.querySelectorAll('.jp-Notebook .jp-OutputArea-output img')]
.filter(img => img.complete && img.naturalWidth > 100 && img.getBoundingClientRect().width > 100)
.length"""


def test_every_notebooks_page_has_buttons_that_open_it(html: Path) -> None:
    pages = sorted((html / "notebooks").glob("*.html"))
    assert pages
    for page in pages:
        assert launch_buttons.shown(page) == launch_buttons.expected(ROOT, page.stem), page.name


@contextmanager
def jupyter(fresh: Fresh, folder: Path) -> Iterator[tuple[psutil.Process, dict[str, Any]]]:
    """A Jupyter server on localhost that shows a folder: its process, and its url and token."""
    options = ["--no-browser", "--ip=127.0.0.1", "--ServerApp.port=0", "--allow-root"]
    program = [str(fresh.folder / "env" / "bin" / "python"), "-m", "jupyterlab"]
    with open(fresh.folder / "server.log", "w") as log:
        server = subprocess.Popen(
            [*program, *options, f"--ServerApp.root_dir={folder}"],
            cwd=folder,
            env=fresh.variables,
            stdout=log,
            stderr=log,
        )
    about = fresh.folder / ".local/share/jupyter/runtime" / f"jpserver-{server.pid}.json"
    try:
        until(lambda: about.is_file() or server.poll() is not None, 120)
        assert about.is_file(), (fresh.folder / "server.log").read_text()
        yield psutil.Process(server.pid), json.loads(about.read_text())
    finally:
        server.terminate()
        server.wait(60)


def until(met: Callable[[], Any], seconds: float) -> None:
    """Wait for something that another program does; how long it takes is not judged."""
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.2)


@contextmanager
def peak_memory(process: psutil.Process) -> Iterator[dict[str, int]]:
    """The most bytes that a process and all below it held at once, by name of program."""
    found, ended = {"bytes": 0}, threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            every, held = [process, *process.children(recursive=True)], 0
            for each in every:
                try:
                    held += each.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            found["bytes"] = max(found["bytes"], held)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()


def report(capsys: pytest.CaptureFixture[str], said: str) -> None:
    """Print what was measured, and how many processes wanted the machine's cores meanwhile."""
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    with capsys.disabled():
        print(f"\n{said} (load {load:.1f} on {cores} cores)")


def choose(browser: Any, menu: str, command: str) -> None:
    """Click on an entry of the menu bar, as a reader does; nothing may stand before it."""
    assert not (asked := browser.execute_script(DIALOG)), asked
    until(lambda: browser.execute_script(MENU, menu, command)[0], 60)
    browser.execute_script(MENU, menu, command)[0].click()
    until(lambda: browser.execute_script(MENU, menu, command)[1], 60)
    browser.execute_script(MENU, menu, command)[1].click()


def test_binder_runs_all_and_shows_the_figure_in_its_memory(
    binder: Fresh, html: Path, browser: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout = copy_sources(tmp_path / "checkout")
    binder.run("bash", "postBuild", cwd=checkout)
    buttons = launch_buttons.shown(html / "notebooks" / f"{NOTEBOOK}.html")
    (button,) = (button for button in buttons if "mybinder" in button)
    (path,) = parse_qs(urlsplit(button).query)["urlpath"]
    began = time.monotonic()  # the image is there
    with jupyter(binder, checkout) as (server, about), peak_memory(server) as peak:
        browser.set_window_size(1440, 900)
        browser.get(f"{about['url']}{path}?token={about['token']}")
        until(lambda: browser.execute_script(IDLE) and browser.execute_script(FIGURES), 120)
        shown = time.monotonic() - began
        choose(browser, "Edit", "editmenu:clear-all")  # what is seen then is made there
        until(lambda: not browser.execute_script(FIGURES), 60)
        choose(browser, "Run", "runmenu:run-all")
        began = time.monotonic()
        until(lambda: browser.execute_script(FIGURES), 300)
        made = time.monotonic() - began
        until(lambda: browser.execute_script(IDLE), 300)
        choose(browser, "File", "docmanager:save")
        saved = checkout / "notebooks" / f"{NOTEBOOK}.ipynb"
        committed = ROOT / "notebooks" / saved.name
        until(lambda: saved.read_bytes() != committed.read_bytes(), 60)
    cells = [c for c in nbformat.read(saved, as_version=4).cells if c.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]
    report(
        capsys,
        f"Binder: the notebook and its figure are shown {shown:.0f} s after the server's start; "
        f"all cells run again, the first figure is there after {made:.0f} s; "
        f"server and kernel held {peak['bytes'] / 2**20:.0f} MiB at most",
    )
    assert peak["bytes"] < BINDER_MEMORY


def test_colab_installs_the_library_and_runs(
    plain: Fresh, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain.run("pip", "uninstall", "--quiet", "--yes", "dip-lib")
    fake = tmp_path / "fake" / "google" / "colab"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    (fake / "_shell.py").write_text(SHELL)
    (fake / "_kernel.py").write_text(KERNEL)

    # pip asks git for the address of the repository, and git is led to a copy of it
    repository = copy_sources(tmp_path / "repository")
    author = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *words], cwd=repository, check=True)
    address = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["repository"]["url"]
    where = {
        "PYTHONPATH": str(tmp_path / "fake"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": address,
    }
    source, out = ROOT / "notebooks" / f"{NOTEBOOK}.ipynb", tmp_path / "out.ipynb"
    kernel = ["--IPKernelApp.kernel_class=google.colab._kernel.Kernel"]
    plain.papermill(source, out, kernel=kernel, **where)
    cells = [c for c in nbformat.read(out, as_version=4).cells if c.cell_type == "code"]
    took = [cell.metadata["papermill"]["duration"] for cell in cells]
    first = next(n for n, cell in enumerate(cells) if "google.colab" in cell.source)
    report(
        capsys,
        f"Colab: the cell that installs the library takes {took[first]:.0f} s where its packages "
        f"are at hand, all {len(cells)} cells {sum(took):.0f} s",
    )
    kinds = {kind for cell in cells for o in cell.outputs for kind in o.get("data", {})}
    assert kinds & {"image/png", "image/jpeg", "image/svg+xml"}
    found = plain.run("python", "-c", "import dip_lib; print(dip_lib.__file__)", cwd=tmp_path)
    assert "site-packages" in found
    assert f'"{address}"' in plain.run("pip", "inspect", "--local").replace(".git", "")
