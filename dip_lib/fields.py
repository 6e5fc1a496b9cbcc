"""The fields of the frozen dataclasses that describe runs, looked up once for each class.

A store of many thousand runs makes such a part several times for each of them.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import Field, fields
from functools import cache
from typing import Any, cast


def fields_of(kind: type[Any]) -> tuple[Field[Any], ...]:
    """As :func:`dataclasses.fields` gives them."""
    return _fields(cast(Hashable, kind))  # which every class is


@cache
def _fields(kind: type[Any]) -> tuple[Field[Any], ...]:
    return fields(kind)


def make_floats(part: object) -> None:
    """Turn whole numbers in fields of type float into floats.

    0 and 0.0 are the same setting, so they must give the same key.
    """
    for field in fields_of(type(part)):
        if field.type == "float":
            object.__setattr__(part, field.name, float(getattr(part, field.name)))
