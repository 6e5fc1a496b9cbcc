"""Glyph World: an image-text world that every machine with matplotlib already has.

``world`` lists characters, fonts and names; ``draw`` renders masks; ``styles`` turns masks into
images; ``families`` are the datasets; ``captions``, ``models`` and ``pretrain`` make the CLIPs.
"""

from dip_lib.glyphs.models import fingerprint

__all__ = ["fingerprint"]
