"""Comparisons as plain data: between processes, and in files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pytest_trt.errors import GoldenError
from pytest_trt.golden.book import Entry
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import Comparison

PROPERTY = "trt_golden"
"""Name of the entries among a test's `user_properties`."""

_ODD = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def write_entry(entry: Entry) -> str:
    """Return an entry as text."""
    return json.dumps(_to_plain(asdict(entry)), sort_keys=True, allow_nan=False)


def read_entry(text: str) -> Entry:
    """Return the entry of a text.

    Raises
    ------
    GoldenError
        The text is of no entry.
    """
    try:
        plain = _from_plain(json.loads(text))
        held = plain["comparison"]
        comparison = Comparison(
            Key(**held["key"]),
            Key(**held["other"]),
            held["kind"],
            held["outcome"],
            tuple(held["why"]),
            held["numbers"],
            held["histograms"],
            tuple(held["changes"]),
        )
        return Entry(comparison, bool(plain["written"]), int(plain["outside"]))
    except (ValueError, KeyError, TypeError) as error:
        raise GoldenError("a comparison cannot be read", why=str(error)) from error


def _to_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _to_plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _to_plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _from_plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_plain(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"float"}:
            return _ODD[value["float"]]
        return {name: _from_plain(item) for name, item in value.items()}
    return value
