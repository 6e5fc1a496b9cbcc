"""Where the buttons of a built page lead that open its notebook in Binder and in Colab."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import yaml


def shown(page: Path) -> set[str]:
    """The links of a built page to services that run notebooks."""
    links = re.findall(r'href="([^"]+)"', page.read_text("utf-8"))
    services = ("https://mybinder.org/v2/", "https://colab.research.google.com/github/")
    return {link for link in map(unescape, links) if link.startswith(services)}


def expected(root: Path, notebook: str) -> set[str]:
    """What they must be for ``notebooks/<notebook>.ipynb`` by the ``_config.yml`` of ``root``."""
    repository = yaml.safe_load((root / "_config.yml").read_text("utf-8"))["repository"]
    name, branch = repository["url"].removeprefix("https://github.com/"), repository["branch"]
    path = f"notebooks/{notebook}.ipynb"
    return {
        f"https://mybinder.org/v2/gh/{name}/{branch}?urlpath=lab/tree/{path}",
        f"https://colab.research.google.com/github/{name}/blob/{branch}/{path}",
    }
