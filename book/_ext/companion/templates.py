"""HTML from the templates in the folder ``templates``; whatever they are given is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def html(template: str, **values: Any) -> nodes.raw:
    """A template of that name, filled in, as a node of the page."""
    return nodes.raw("", TEMPLATES.get_template(template).render(values), format="html")
