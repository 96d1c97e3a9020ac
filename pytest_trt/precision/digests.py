"""Digests of calibration data and models: SHA-256, in hexadecimal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from onnx import ModelProto


def digest_feeds(feeds: Iterable[Mapping[str, Any]]) -> str:
    """Return the digest of batches: names, dtypes, shapes and bytes, in the order in which they come."""
    total = hashlib.sha256()
    for feed in feeds:
        add_feed(total, feed)
    return total.hexdigest()


def digest_model(model: ModelProto) -> str:
    """Return the digest of a model."""
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def add_feed(total: Any, feed: Mapping[str, Any]) -> None:
    """Add one batch to a digest of `hashlib`."""
    for name in sorted(feed):
        array = np.ascontiguousarray(feed[name])
        head = json.dumps([name, array.dtype.name, list(np.shape(feed[name]))])
        total.update(f"{len(head)}:{head}".encode())
        total.update(array.tobytes())
    total.update(b"|")
