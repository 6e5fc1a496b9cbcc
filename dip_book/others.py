"""What pages say of others' results: where shared runs come from, and their words as mere text."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Mapping
from typing import Any

from dip_study.taken import origins, shares


def as_text(words: str) -> str:
    """Words of a record as Markdown that shows them as they are: no markup, no link, no HTML."""
    return re.sub(r"([\\`*\[\]])", r"\\\1", html.escape(words, quote=False))


def shared(records: Collection[Mapping[str, Any]]) -> str:
    """ "12 of 40 runs from share 3f2a91c0 (...)": which of the records came with a share; "" if
    none did."""
    counts = origins(map(dict, records), shares())
    parts = [f"{count} of {len(records)} runs from {told}" for told, count in counts.items()]
    return "; ".join(parts)
