"""Operators that put elements into a copy of a tensor: each element's bound is that of what stands there last."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pytest_trt.check.interpret import Step, handles
from pytest_trt.numerics.bounds import Bound


@handles("ScatterND")
def _scatter_nd(step: Step) -> list[Bound]:
    """Rows of `updates` take the places that `indices` names (ONNX ScatterND-18); no limit where they are combined.

    Where a place is named twice, ONNX lays no order down.
    """
    if step.node.attributes.get("reduction", b"none") != b"none":
        return []
    data, updates = step.arg(0), step.arg(2)
    indices = step.arg(1).mid.astype(np.int64)
    lengths = np.array(data.mid.shape[: indices.shape[-1]], np.int64)
    places = np.where(indices < 0, indices + lengths, indices).reshape(-1, indices.shape[-1])
    if len(np.unique(places, axis=0)) < len(places):
        return []
    where = tuple(places.T)
    shape = (len(places), *data.mid.shape[indices.shape[-1] :])

    def put(target: np.ndarray, given: np.ndarray) -> np.ndarray:
        made = np.array(target)
        made[where] = given.reshape(shape)
        return made

    mid = put(data.mid, updates.mid)
    masks = [np.zeros(b.mid.shape, bool) if b.loose is None else b.loose for b in (data, updates)]
    loose = put(*masks) if any(mask.any() for mask in masks) else None
    if data.is_exact and updates.is_exact:
        return [replace(Bound.exact(mid, step.kind), loose=loose)]
    return [
        Bound(mid, put(data.low, updates.low), put(data.high, updates.high), step.kind, loose=loose),
    ]
