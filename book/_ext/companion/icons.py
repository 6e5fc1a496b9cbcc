"""Of the theme's two thousand icons, keep those that the book's pages show: 1.4 MB less to load."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from sphinx.application import Sphinx

# name:[width,height,[aliases],"code",paths], as Font Awesome's script lists its icons
ICON = r'"?[\w-]+"?:\[\d+,\d+,\[[^\]]*\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\]'
LIST = re.compile(rf"\{{{ICON}(?:,{ICON})*\}}")
NAMES = re.compile(r'^"?([\w-]+)"?:\[\d+,\d+,\[([^\]]*)\]')


def only(script: str, used: Iterable[str]) -> str:
    """The script with those icons alone whose name or alias is ``used``."""
    wanted = set(used)

    def kept(match: re.Match[str]) -> str:
        icons = re.findall(ICON, match[0])
        names = (NAMES.match(icon) for icon in icons)
        known = [{n[1], *re.findall(r'"([\w-]+)"', n[2])} if n else set() for n in names]
        return f"{{{','.join(i for i, each in zip(icons, known, strict=True) if each & wanted)}}}"

    return LIST.sub(kept, script)


def drop_unused_icons(app: Sphinx, exception: Exception | None) -> None:
    """Thin out the built book's copy of the script, once all pages are written."""
    folder = Path(app.outdir)
    path = folder / "_static" / "scripts" / "fontawesome.js"
    if exception or not path.is_file():
        return
    others = [p for p in (folder / "_static").rglob("*.js") if p != path]
    texts = (page.read_text("utf-8") for page in [*folder.rglob("*.html"), *others])
    used = {name for text in texts for name in re.findall(r"\bfa-([\w-]+)", text)}
    path.write_text(only(path.read_text("utf-8"), used), "utf-8")
