"""The versions of TensorRT that a row of a table speaks of."""

from __future__ import annotations

import re


def is_within(version: str, since: str, until: str = "") -> bool:
    """Tell whether a version is `since` or newer, and older than `until`; an empty `until` ends nothing."""
    number = _number(version)
    return _number(since) <= number and not (until and _number(until) <= number)


def _number(version: str) -> tuple[int, ...]:
    """Return a version as integers; `1.7.1.116` is (1, 7, 1, 116)."""
    return tuple(int(part) for part in re.findall(r"\d+", version))
