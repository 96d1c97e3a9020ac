"""Values made plain: what JSON can hold, and processes can send."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def to_plain(value: Any) -> Any:
    """Return a value as text, numbers, lists and dicts; a float that JSON lacks becomes `nan`, `inf` or `-inf`."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((to_plain(item) for item in value), key=str)
    if hasattr(value, "tolist"):  # NumPy's scalars and arrays
        return to_plain(value.tolist())
    return str(value)


def to_text(value: Any) -> str:
    """Return a value as one line of strict JSON, with sorted keys."""
    return json.dumps(to_plain(value), sort_keys=True, allow_nan=False)


def show_cell(value: Any) -> str:
    """Return a value of a table as text: six digits of a float, nothing for None."""
    if value is None:
        return ""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split("\n"))
