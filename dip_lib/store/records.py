"""Run records: which are sound, which are of other code, and how they look as strict JSON."""

from __future__ import annotations

import math
from typing import Any

from dip_lib.training.record import Record
from dip_lib.training.run import RECIPE, Run


def fault(record: Any) -> str:
    """Why this is not a sound record of the present code; "" when it is."""
    try:
        run = Run.from_dict(record["run"])
        if record["recipe"] != RECIPE:
            return f"recipe {record['recipe']} is not the current {RECIPE}"
        if record["code"] != type(run.method).identity():
            return f"{run.method.name} has other code now"
        if not isinstance(record["checkpoints"], list) or not record["status"]:
            return "no checkpoints or no status"
        key = run.key()
        return "" if record["key"] == key else f"key {record['key']} is not its run's, {key}"
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def is_outdated(record: Any) -> bool:
    """Whether a record is whole, but made by other code: recipe, method, or unknown settings."""
    if not isinstance(record, dict) or not isinstance(record.get("run"), dict):
        return False
    if record.get("recipe") != RECIPE:
        return True
    try:
        run = Run.from_dict(record["run"])
    except (KeyError, TypeError, ValueError):
        return True  # a method or a setting that the present code does not have
    return record.get("code") != type(run.method).identity()


def is_flat(record: Any) -> bool:
    """Whether a record is of the earlier layout, whose settings were one flat ``spec``."""
    return isinstance(record, dict) and isinstance(record.get("spec"), dict)


def plain(value: Any, digits: int | None = None) -> Any:
    """Strict JSON: no NaN or infinity; floats rounded to ``digits`` significant digits if given."""
    if isinstance(value, dict):
        return {name: plain(each, digits) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each, digits) for each in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return float(f"{value:.{digits}g}") if digits else value
    return value


__all__ = ["Record", "fault", "is_flat", "is_outdated", "plain"]
