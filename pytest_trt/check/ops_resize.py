"""Limits of Resize and Upsample: nearest moves elements, linear and cubic are sums with known weights.

Each axis is a map of its own (ONNX Resize-19): an output position has a coordinate in the input, which picks an element or gives
weights. Kernels work coordinates out in FP32. Where that may change which element is picked, both are admissible; elsewhere it
adds the coordinate's error times the neighbours.

No limit: antialiasing, `exclude_outside`, regions (`tf_crop_and_resize`), aspect ratio policies, and `align_corners` with scales
that do not give a whole output size, on which libraries disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pytest_trt.check.interpret import Step, handles, map_parts
from pytest_trt.numerics.accumulators import SINGLE
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import U32, Float64, lsb_exponent

_MODES = frozenset(
    {"half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"}
)


@dataclass(frozen=True)
class Axis:
    """How one axis is resized.

    Attributes
    ----------
    axis, size, length : int
        Which, its input extent, its output extent.
    places : float64 ndarray, shape (length,)
        Coordinates in the input.
    error : float64 ndarray, shape (length,)
        How far a coordinate in FP32 may be from it; 0 where FP32 holds each step exactly.
    """

    axis: int
    size: int
    length: int
    places: Float64
    error: Float64


@handles("Resize", "Upsample")
def _resize(step: Step) -> list[Bound]:
    attributes = step.node.attributes
    modern = step.node.op == "Resize" and step.opset >= 11
    mode = attributes.get("mode", b"nearest").decode()
    coordinates = (
        attributes.get("coordinate_transformation_mode", b"half_pixel").decode() if modern else "asymmetric"
    )
    refused = (
        attributes.get("antialias", 0)
        or attributes.get("exclude_outside", 0)
        or attributes.get("keep_aspect_ratio_policy", b"stretch") != b"stretch"
        or coordinates not in _MODES
    )
    axes = None if refused else _axes(step, coordinates, modern)
    if axes is None:
        return []
    if mode == "nearest":
        rule = attributes.get("nearest_mode", b"round_prefer_floor").decode() if modern else "floor"
        return [_nearest(step, axes, rule)]
    slope = float(attributes.get("cubic_coeff_a", -0.75))
    return [_interpolate(step, axes, None if mode in ("linear", "bilinear") else slope)]


def _axes(step: Step, coordinates: str, modern: bool) -> list[Axis] | None:
    x = step.arg(0)
    attributes = step.node.attributes
    given = step.optional(2 if modern else 1)
    sizes = step.optional(3) if modern else None
    scales = [] if given is None else [float(v) for v in given.mid.reshape(-1)]
    if not scales and "scales" in attributes:  # Upsample-7
        scales = [float(v) for v in attributes["scales"]]
    lengths = [] if sizes is None else [int(v) for v in sizes.mid.reshape(-1)]
    if not scales and not lengths:
        return None
    rank = x.mid.ndim
    chosen = [a % rank for a in step.node.ints("axes", ())] or list(range(rank))
    found = []
    for position, axis in enumerate(chosen):
        size = x.mid.shape[axis]
        if lengths:
            length = lengths[position]
            scale = length / size
        else:
            scale = scales[position]
            # ONNX: floor(size * scale); the product of an FP32 scale such as 0.6 may lie just below a whole number.
            length = int(np.floor(np.float32(size) * np.float32(scale)))
            if coordinates in ("align_corners", "half_pixel_symmetric") and length != size * scale:
                return None
        if length != size or scale != 1.0:
            found.append(_axis(axis, size, length, scale, coordinates))
    return found


def _axis(axis: int, size: int, length: int, scale: float, coordinates: str) -> Axis:
    at = np.arange(length, dtype=np.float64)
    even = np.frexp(scale)[0] == 0.5
    if coordinates == "align_corners":
        places = at * (size - 1) / (length - 1) if length > 1 else np.zeros(length)
        even = length > 1 and np.frexp((size - 1) / (length - 1))[0] == 0.5
    elif coordinates == "asymmetric":
        places = at / scale
    elif coordinates == "pytorch_half_pixel" and length == 1:
        places, even = np.zeros(length), True
    else:
        # half_pixel_symmetric differs where scale * size is not whole, which has no limit here.
        places = (at + 0.5) / scale - 0.5
    # Scale rounded, its reciprocal or quotient rounded, a product, a difference.
    error = np.zeros(length) if even else 4 * U32 * (np.abs(places) + 1)
    return Axis(axis, size, length, places, error)


def _picked(places: Float64, rule: str) -> Float64:
    if rule == "floor":
        return np.asarray(np.floor(places))
    if rule == "ceil":
        return np.asarray(np.ceil(places))
    return np.asarray(np.ceil(places - 0.5) if rule == "round_prefer_floor" else np.floor(places + 0.5))


def _nearest(step: Step, axes: list[Axis], rule: str) -> Bound:
    raw = step.args[0]
    assert raw is not None
    whole = raw.scale is not None and raw.scale.ndim == 0
    made = raw if whole else step.arg(0)
    for axis in axes:
        first, last = (
            np.clip(_picked(axis.places + side * axis.error, rule), 0, axis.size - 1).astype(np.int64)
            for side in (-1, 1)
        )
        best = np.clip(_picked(axis.places, rule), 0, axis.size - 1).astype(np.int64)
        made = _either(made, axis.axis, best, first, last)
    return replace(made, scale=raw.scale) if whole else made


def _either(x: Bound, axis: int, best: np.ndarray, first: np.ndarray, last: np.ndarray) -> Bound:
    """Return elements moved along an axis; the hull of two where either may be picked."""
    if np.array_equal(first, last):
        return map_parts(x, lambda v: np.take(v, best, axis=axis))
    low, high, loose = x.low, x.high, x.loose
    is_nan = np.isnan(x.mid)
    parts = [np.take(low, first, axis=axis), np.take(low, last, axis=axis)]
    tops = [np.take(high, first, axis=axis), np.take(high, last, axis=axis)]
    shape = [1] * x.mid.ndim
    shape[axis] = -1
    doubtful = (first != last).reshape(shape)
    open_ = np.zeros(parts[0].shape, bool)
    for mask in (loose, is_nan):
        if mask is not None and mask.any():
            either = np.take(mask, first, axis=axis) | np.take(mask, last, axis=axis)
            open_ |= either & (doubtful | (mask is loose))
    return Bound(
        np.take(x.mid, best, axis=axis),
        np.minimum(*parts),
        np.maximum(*tops),
        x.kind,
        loose=open_ if open_.any() else None,
    )


def _cubic(distance: Float64, a: float) -> Float64:
    """Keys' cubic convolution kernel (ONNX Resize-19)."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.asarray(np.where(d <= 1, near, np.where(d < 2, far, 0.0)))


def _weights(axis: Axis, slope: float | None) -> tuple[Float64, Float64, Float64]:
    """Return the matrix of an axis, shape (length, size), how far a kernel's may be from it, and 1 where it may read at all."""
    shape = (axis.length, axis.size)
    weights, doubt, reads = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    rows = np.arange(axis.length)
    places = np.clip(axis.places, 0, axis.size - 1) if slope is None else axis.places
    base = np.floor(places)
    # Weights of a cubic kernel are polynomials: a few roundings of numbers up to 5 |a|.
    own = 2 * U32 if slope is None else 24 * U32 * max(1.0, abs(slope))
    steep = 1.0 if slope is None else 1.5 * max(1.0, abs(slope))
    taps = (0, 1) if slope is None else (-1, 0, 1, 2)
    for tap in range(min(taps) - 1, max(taps) + 2):
        index = np.clip(base + tap, 0, axis.size - 1).astype(np.int64)
        # One tap more on either side: where the coordinate's error crosses into the next cell.
        np.add.at(doubt, (rows, index), axis.error * steep)
        reads[rows, index] = 1.0
        if tap not in taps:
            continue
        distance = places - (base + tap)
        share = 1 - np.abs(distance) if slope is None else _cubic(distance, slope)
        np.add.at(weights, (rows, index), share)
        np.add.at(doubt, (rows, index), own * (np.abs(share) if slope is None else 1.0))
    return weights, doubt, reads


def _interpolate(step: Step, axes: list[Axis], slope: float | None) -> Bound:
    """One axis after the other: |error| grows by the doubt in the weights and the roundings of a short sum."""
    x = step.arg(0)
    if not axes:
        return map_parts(x, lambda v: v)
    mid, size = x.mid, np.abs(x.mid)
    radius = x.radius()
    error = np.zeros(mid.shape) if radius is None else radius
    touched = None if x.loose is None else x.loose.astype(np.float64)
    terms = 2 if slope is None else 4
    quantum = x.lsb if x.is_exact else None
    exact = x.is_exact and quantum is not None and slope is None
    finite = np.isfinite(mid)
    wild = None if finite.all() else (~finite).astype(np.float64)
    mid, size = np.where(finite, mid, 0.0), np.where(finite, size, 0.0)
    for axis in axes:
        weights, doubt, reads = _weights(axis, slope)
        moduli = np.abs(weights)

        def along(matrix: Float64, values: Float64, place: int = axis.axis) -> Float64:
            return np.moveaxis(np.tensordot(matrix, values, axes=(1, place)), 0, place)

        grown = size + error
        error = along(moduli, error) + along(doubt, grown) + (terms + 1) * U32 * along(moduli, grown)
        mid, size = along(weights, mid), along(moduli, size)
        if touched is not None:
            touched = along(reads, touched)
        if wild is not None:
            wild = along(reads, wild)
        exact = exact and not axis.error.any()
        if exact and quantum is not None:
            quantum += lsb_exponent(weights) or 0
    if exact:
        # Halves and quarters of integers: every product and partial sum is a number of FP32.
        error = np.where(SINGLE.certified(size, quantum), 0.0, error)
    loose = np.zeros(mid.shape, bool)
    for mask in (touched, wild):
        # An infinity with a weight of 0 is NaN or not, as a kernel multiplies or skips.
        if mask is not None:
            loose |= mask > 0
    return Bound(mid, mid - error, mid + error, step.kind, loose=loose if loose.any() else None)
