"""A directive that shows a file of measured results by a template."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from dip_lib.paths import results_dir

from .templates import html

logger = logging.getLogger(__name__)


class ResultsTable(SphinxDirective, ABC):
    """The template of its name, with the ``rows`` of its file and all that the file says.

    Without the file, or with one that says something else, the build warns and shows nothing.
    """

    file: ClassVar[str]
    """In ``results/``."""

    @staticmethod
    @abstractmethod
    def rows(results: dict[str, Any]) -> list[dict[str, Any]]:
        """The rows of the table. Raises KeyError: the file says something else."""

    def run(self) -> list[nodes.Node]:
        path = results_dir() / self.file
        self.env.note_dependency(str(path))
        try:
            results = json.loads(path.read_text("utf-8"))
            return [html(f"{self.name}.html", rows=self.rows(results), about=results)]
        except (OSError, ValueError, KeyError) as error:
            logger.warning("%s: %s", self.name, error, location=self.get_location())
            return []
