"""Glyph World: an image-text world drawn with the fonts that matplotlib ships.

``world`` lists characters, fonts and names; ``draw`` makes masks; ``styles`` and ``render`` turn
them into images; ``families`` are the datasets; ``captions`` and ``models`` are the CLIPs. The
programs that chose the characters and trained the CLIPs lie in ``pretraining/``.
"""

import dip_lib  # noqa: F401  # first, since its rooms import this world
from glyph_world.models import fingerprint

__all__ = ["fingerprint"]
