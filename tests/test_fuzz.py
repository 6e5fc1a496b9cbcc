"""Files and folders of any content are read or refused: by the hundred, the same each time."""

from __future__ import annotations

import pytest
from fuzz_laws import LAWS, hold


@pytest.mark.parametrize("law", LAWS)
def test_anything_is_read_or_refused(law: str) -> None:
    hold(law, 200, same=True)
