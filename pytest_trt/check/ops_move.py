"""Operators that move elements, or work out shapes: their bounds move along."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np

from pytest_trt.check.graph import FLOAT_KINDS
from pytest_trt.check.interpret import Step, handles, map_parts
from pytest_trt.numerics.bounds import Bound
from pytest_trt.precision.graph import array_of


def _moved(step: Step, move: Callable[[np.ndarray], np.ndarray]) -> list[Bound]:
    raw = step.args[0]
    assert raw is not None
    made = map_parts(raw, move)
    if raw.scale is not None and raw.scale.ndim == 0:
        return [replace(made, scale=raw.scale)]
    return [map_parts(step.arg(0), move)]


def _whole(bound: Bound | None) -> list[int]:
    return [] if bound is None else [int(v) for v in bound.mid.reshape(-1)]


@handles("Identity")
def _identity(step: Step) -> list[Bound]:
    return _moved(step, lambda v: v)


@handles("Dropout")
def _dropout(step: Step) -> list[Bound]:
    training = step.optional(2)
    if training is not None and training.mid.any():
        return []  # what is dropped is drawn
    return _moved(step, lambda v: v)


@handles("Reshape")
def _reshape(step: Step) -> list[Bound]:
    raw = step.args[0]
    assert raw is not None
    target = _whole(step.optional(1))
    if not step.node.attributes.get("allowzero", 0):
        target = [raw.mid.shape[i] if d == 0 else d for i, d in enumerate(target)]
    return _moved(step, lambda v: v.reshape(target))


@handles("Flatten")
def _flatten(step: Step) -> list[Bound]:
    axis = int(step.node.attributes.get("axis", 1))  # -1 is before the last dimension, and the rank behind it

    def move(v: np.ndarray) -> np.ndarray:
        place = axis + v.ndim if axis < 0 else axis
        return v.reshape(math.prod(v.shape[:place]), math.prod(v.shape[place:]))

    return _moved(step, move)


@handles("Transpose")
def _transpose(step: Step) -> list[Bound]:
    order = step.node.ints("perm", ())
    return _moved(step, lambda v: v.transpose(order or None))


def _axes(step: Step) -> tuple[int, ...]:
    return step.node.ints("axes", ()) or tuple(_whole(step.optional(1)))


@handles("Squeeze")
def _squeeze(step: Step) -> list[Bound]:
    axes = _axes(step)
    return _moved(step, lambda v: np.squeeze(v, axes or None))


@handles("Unsqueeze")
def _unsqueeze(step: Step) -> list[Bound]:
    axes = _axes(step)
    return _moved(step, lambda v: np.expand_dims(v, axes))


@handles("Slice")
def _slice(step: Step) -> list[Bound]:
    raw = step.args[0]
    assert raw is not None
    starts = list(step.node.ints("starts", ())) or _whole(step.optional(1))
    ends = list(step.node.ints("ends", ())) or _whole(step.optional(2))
    axes = list(step.node.ints("axes", ())) or _whole(step.optional(3)) or list(range(len(starts)))
    steps = _whole(step.optional(4)) or [1] * len(starts)
    place: list[slice] = [slice(None)] * raw.mid.ndim
    for start, end, axis, stride in zip(starts, ends, axes, steps, strict=True):
        limit = None if stride < 0 and end < -raw.mid.shape[axis] else end
        place[axis] = slice(start, limit, stride)
    return _moved(step, lambda v: v[tuple(place)])


@handles("Gather")
def _gather(step: Step) -> list[Bound]:
    indices = step.arg(1).mid.astype(np.int64)
    axis = int(step.node.attributes.get("axis", 0))
    return _moved(step, lambda v: np.take(v, indices, axis=axis))


@handles("Expand")
def _expand(step: Step) -> list[Bound]:
    target = tuple(_whole(step.optional(1)))
    return _moved(step, lambda v: np.asarray(np.broadcast_to(v, np.broadcast_shapes(v.shape, target))))


@handles("Tile")
def _tile(step: Step) -> list[Bound]:
    repeats = _whole(step.optional(1))
    return _moved(step, lambda v: np.tile(v, repeats))


@handles("GatherElements")
def _gather_elements(step: Step) -> list[Bound]:
    raw = step.args[0]
    assert raw is not None
    axis = int(step.node.attributes.get("axis", 0))
    indices = step.arg(1).mid.astype(np.int64)
    indices = np.where(indices < 0, indices + raw.mid.shape[axis], indices)
    # The other axes may be longer than those of the indices.
    place = tuple(slice(None) if a == axis % indices.ndim else slice(d) for a, d in enumerate(indices.shape))
    return _moved(step, lambda v: np.take_along_axis(v[place], indices, axis=axis))


@handles("DepthToSpace")
def _depth_to_space(step: Step) -> list[Bound]:
    """Blocks of channels become blocks of pixels (ONNX DepthToSpace-13: DCR, depth first, or CRD, columns first)."""
    size = int(step.node.attributes["blocksize"])
    columns_first = step.node.attributes.get("mode", b"DCR") == b"CRD"

    def move(v: np.ndarray) -> np.ndarray:
        n, c, h, w = v.shape
        depth = c // size**2
        if columns_first:
            parts = v.reshape(n, depth, size, size, h, w).transpose(0, 1, 4, 2, 5, 3)
        else:
            parts = v.reshape(n, size, size, depth, h, w).transpose(0, 3, 4, 1, 5, 2)
        return np.asarray(parts.reshape(n, depth, h * size, w * size))

    return _moved(step, move)


@handles("SpaceToDepth")
def _space_to_depth(step: Step) -> list[Bound]:
    size = int(step.node.attributes["blocksize"])
    # ONNX SpaceToDepth-28: the attribute `mode`, before it always DCR.
    order = (0, 1, 3, 5, 2, 4) if step.node.attributes.get("mode") == b"CRD" else (0, 3, 5, 1, 2, 4)

    def move(v: np.ndarray) -> np.ndarray:
        n, c, h, w = v.shape
        parts = v.reshape(n, c, h // size, size, w // size, size).transpose(order)
        return np.asarray(parts.reshape(n, c * size**2, h // size, w // size))

    return _moved(step, move)


@handles("Trilu")
def _trilu(step: Step) -> list[Bound]:
    offset = (_whole(step.optional(1)) or [0])[0]
    cut = np.triu if step.node.attributes.get("upper", 1) else np.tril
    return _moved(step, lambda v: np.asarray(cut(v, offset)))


@handles("Range")
def _range(step: Step) -> list[Bound]:
    if step.kind in FLOAT_KINDS:
        return []  # added up or multiplied: not laid down
    start, limit, delta = (step.arg(i).mid.reshape(()) for i in range(3))
    return [Bound.exact(np.arange(float(start), float(limit), float(delta)), step.kind)]


@handles("Split")
def _split(step: Step) -> list[Bound]:
    raw = step.args[0]
    assert raw is not None
    axis = int(step.node.attributes.get("axis", 0))
    sizes = list(step.node.ints("split", ())) or _whole(step.optional(1))
    count = len(step.node.outputs)
    if not sizes:
        share = -(-raw.mid.shape[axis] // count)
        sizes = [min(share, raw.mid.shape[axis] - share * i) for i in range(count)]
    cuts = np.cumsum(sizes)[:-1]

    def part(i: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda v: np.split(v, cuts, axis=axis)[i]

    return [_moved(step, part(i))[0] for i in range(count)]


@handles("Concat")
def _concat(step: Step) -> list[Bound]:
    axis = int(step.node.attributes.get("axis", 0))
    parts = [step.arg(i) for i in range(len(step.args))]
    mid = np.concatenate([p.mid for p in parts], axis=axis)
    loose = None
    if any(p.loose is not None for p in parts):
        loose = np.concatenate(
            [np.zeros(p.mid.shape, bool) if p.loose is None else p.loose for p in parts], axis=axis
        )
    if all(p.is_exact for p in parts):
        return [replace(Bound.exact(mid, step.kind), loose=loose)]
    low = np.concatenate([p.low for p in parts], axis=axis)
    high = np.concatenate([p.high for p in parts], axis=axis)
    return [Bound(mid, low, high, step.kind, loose=loose)]


@handles("Pad")
def _pad(step: Step) -> list[Bound]:
    raw = step.arg(0)
    pads = list(step.node.ints("pads", ())) or _whole(step.optional(1))
    fill = step.optional(2)
    value = float(step.node.attributes.get("value", 0.0)) if fill is None else float(fill.mid.reshape(-1)[0])
    mode = step.node.attributes.get("mode", b"constant").decode()
    rank = raw.mid.ndim
    axes = [a % rank for a in _whole(step.optional(3))] or list(range(rank))
    widths = [(0, 0)] * rank
    for position, axis in enumerate(axes):
        widths[axis] = (pads[position], pads[position + len(axes)])
    if mode != "constant":
        # ONNX and numpy have the same names: reflect, edge, wrap.
        return _moved(step, lambda v: np.asarray(np.pad(v, widths, mode=cast(Any, mode))))
    return [map_parts(raw, lambda v: np.pad(v, widths, constant_values=False if v.dtype == bool else value))]


@handles("Shape")
def _shape(step: Step) -> list[Bound]:
    raw = step.args[0]
    assert raw is not None
    start = int(step.node.attributes.get("start", 0))
    end = step.node.attributes.get("end")
    return [Bound.exact(np.array(raw.mid.shape[start:end], dtype=np.float64), "int64")]


@handles("Constant")
def _constant(step: Step) -> list[Bound]:
    attributes = step.node.attributes
    if "value" in attributes:
        values = array_of(attributes["value"]).astype(np.float64)
    else:
        values = np.asarray(next(iter(attributes.values())), dtype=np.float64)
    return [Bound.exact(values, step.kind)]


@handles("ConstantOfShape")
def _constant_of_shape(step: Step) -> list[Bound]:
    tensor = step.node.attributes.get("value")
    value = 0.0 if tensor is None else float(array_of(tensor).reshape(-1)[0])
    return [Bound.exact(np.full(_whole(step.optional(0)), value), step.kind)]
