"""A checkout with a tiny book of two pages, built by its own script, and what its pages say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[1]
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><rect width="9" height="9"/></svg>'


def number(
    value: float, low: float, high: float, text: str, n: int, world: str
) -> dict[str, float | str]:
    """An entry as Page.numbers writes it."""
    return {"value": value, "low": low, "high": high, "text": text, "n": n, "world": world}


NUMBERS = {
    "02_information_density": {
        "median_rho_id1": {"value": 0.42, "text": "0.42 [0.1, 0.6]", "world": "embedded"},
        "markup": {"value": 1, "text": "<script>alert(1)</script>", "world": "embedded"},
    },
    "03_base_to_new": {
        "trainable_4_512_1": number(516, 516, 516, "516", 11, "embedded"),
        "dip_minus_coop_new": number(3.0, 1.9, 4.3, "3.00", 11, "embedded")
        | {"shared": "2 of 9 runs from share 3f2a91c0 (<img src=x>)"},
        "photos/dip_minus_coop_new": number(-2.5, -3.6, -1.4, "-2.50", 7, "photos"),
        "photos/dip_minus_coop_h": number(1.5, 0.5, 2.5, "1.50", 7, "photos"),
    },
}


def book(root: Path, index: str) -> Path:
    """A checkout at ``root``: a book with ``index``, two executed notebooks and NUMBERS."""
    shutil.copytree(ROOT / "book", root / "book", ignore=shutil.ignore_patterns("mathjax"))
    shutil.copytree(ROOT / "examples", root / "examples")
    shutil.copy(ROOT / "_config.yml", root)
    for page in ("method.md", "rerun.md", "references.md", "pilot.toml"):
        (root / "book" / page).unlink()
    (root / "book" / "index.md").write_text(index, "utf-8")
    pages = "".join(f"- file: notebooks/{name}\n" for name in NUMBERS)
    toc = f"format: jb-book\nroot: book/index\nchapters:\n{pages}"
    (root / "book" / "_toc.yml").write_text(toc)
    (root / "notebooks").mkdir()
    (root / "results" / "numbers").mkdir(parents=True)
    for name, numbers in NUMBERS.items():
        (root / "results" / "numbers" / f"{name}.json").write_text(json.dumps(numbers))
        write_notebook(root / "notebooks" / f"{name}.ipynb")
        (root / "results" / "data" / name).mkdir(parents=True)
        (root / "results" / "data" / name / "curve.csv").write_text("epoch,new\n0,50\n")
    return root


def write_notebook(path: Path) -> None:
    """A notebook that, when run, writes "seven" as every number of its own."""
    parameters = new_code_cell('profile = device = results = ""')
    parameters.metadata["tags"] = ["parameters"]
    worlds = [(key, entry["world"]) for key, entry in NUMBERS[path.stem].items()]
    measure = new_code_cell(
        "import json, os, pathlib\n"
        f"keys = {worlds}\n"
        "folder = pathlib.Path(os.environ['DIP_PAGE'])\n"
        "fresh = {key: {'value': 7, 'text': f'seven {profile}', 'world': w} for key, w in keys}\n"
        "_ = (folder / 'numbers.json').write_text(json.dumps(fresh))"
    )
    link = f"[curve.csv](../results/data/{path.stem}/curve.csv)"  # as Page.data writes it
    shown = {"image/svg+xml": SVG}, {"text/markdown": link}
    measure.outputs = [new_output("display_data", each) for each in shown]
    measure.metadata["mystnb"] = {"image": {"alt": "Rising."}}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    language = {"name": "python", "pygments_lexer": "ipython3"}
    cells = [new_markdown_cell(f"# Page {path.stem}"), parameters, measure]
    metadata = {"kernelspec": kernel, "language_info": language}
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)


def build(root: Path, *command: str) -> tuple[int, str]:
    """Exit status and stderr of the checkout's own build script."""
    run = subprocess.run(
        [sys.executable, str(root / "book" / "build.py"), *command],
        env={**os.environ, "DIP_HOME": str(root / "_build" / "run")},
        capture_output=True,
        text=True,
    )
    return run.returncode, run.stderr


def index_page(root: Path) -> str:
    return (root / "_build" / "html" / "book" / "index.html").read_text("utf-8")


def row(page: str, claim: str) -> str:
    """The claim's row of the scoreboard, as HTML."""
    (found,) = re.findall(rf'<tr id="claim-{claim}">(.*?)</tr>', page, re.DOTALL)
    return str(found)


def cells(page: str, claim: str) -> dict[str, str]:
    """World -> the verdict in its cell of the claim's row."""
    return dict(re.findall(r'data-world="(\w+)" data-verdict="([^"]+)"', row(page, claim)))
