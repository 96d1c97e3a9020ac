"""Faults made from single public reports: pools, Resize, bounds, overflow, and what fuzzing found."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.faults.formats import keep_bits
from pytest_trt.emulator.faults.linear import store
from pytest_trt.emulator.faults.registry import fault

Float64 = NDArray[np.float64]

_LARGEST = 65504.0
_WINDOW = 100_000  # elements: what `addPoolingNd` refuses from on


def _node(site: Any, *operators: str) -> tuple[str, Float64] | None:
    """Return the name of a node site's first output and its first input, where the operator is one of these."""
    if site.kind != "node" or site.op_type not in operators or not site.inputs:
        return None
    given = next(iter(site.inputs.values()))
    return next(iter(site.outputs)), np.asarray(given, np.float64)


# Pools.


@fault("operator", mutants="M11")
def average_pool_counts_beyond_the_edge(site: Any) -> None:
    """Divide by the whole window where `ceil_mode` lets it reach beyond input and pads (issue 779)."""
    found = _node(site, "AveragePool")
    if found is None or not site.attributes.get("ceil_mode"):
        return
    name, x = found
    a = site.attributes
    stored = site.outputs[name]
    rank = len(a["kernel_shape"])
    counts = np.ones((1, 1))
    for axis in range(rank):
        size, kernel, stride = x.shape[2 + axis], a["kernel_shape"][axis], a["strides"][axis]
        begin, end = a["pads"][axis], a["pads"][axis + rank]
        first, last = (-begin, size + end) if a.get("count_include_pad") else (0, size)
        starts = np.arange(stored.shape[2 + axis]) * stride - begin
        inside = np.minimum(starts + kernel, last) - np.maximum(starts, first)
        counts = counts[..., None] * inside
    whole = float(np.prod(a["kernel_shape"]))
    store(
        site,
        name,
        site.exact[name].astype(np.float64) * counts / whole,
        np.broadcast_to(counts != whole, stored.shape),
    )


@fault("operator", mutants="M12")
def pool_window_cut_from_317(site: Any) -> None:
    """Leave the last column of a pooling window of 100 000 elements or more out, as 317 x 317 is (issue 2094)."""
    found = _node(site, "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
    if found is None:
        return
    name, x = found
    kernel = site.attributes.get("kernel_shape") or x.shape[2:]
    stored = site.outputs[name]
    if np.prod(kernel) < _WINDOW or stored.size != np.prod(x.shape[:2]):
        return
    axes = tuple(range(2, x.ndim))
    part = x[..., :-1]
    values = part.max(axis=axes) if "Max" in site.op_type else part.sum(axis=axes) / np.prod(kernel)
    store(site, name, values.reshape(stored.shape))


# Resize.


def _sampled(x: Float64, places: list[Float64], *, linear: bool) -> Float64:
    """Return values at coordinates of each axis: of the element below, or between neighbours."""
    for axis, place in enumerate(places):
        low = np.clip(np.floor(place), 0, x.shape[axis] - 1).astype(int)
        if not linear:
            x = np.take(x, low, axis=axis)
            continue
        high = np.minimum(low + 1, x.shape[axis] - 1)
        share = np.clip(place - low, 0, 1).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        x = np.take(x, low, axis=axis) * (1 - share) + np.take(x, high, axis=axis) * share
    return x


@fault("operator", mutants="M10")
def resize_ignores_coordinate_mode(site: Any) -> None:
    """Resize as `asymmetric`, and nearest as `floor`, whatever was asked for (issues 974, 1194 and 2689)."""
    found = _node(site, "Resize", "Upsample")
    if found is None or site.attributes.get("mode") == "cubic":
        return
    name, x = found
    shape = site.outputs[name].shape
    places = [np.arange(out) * (n / out) for n, out in zip(x.shape, shape, strict=True)]
    store(site, name, _sampled(x, places, linear=site.attributes.get("mode", "nearest") != "nearest"))


@fault("operator", mutants="M10")
def resize_picks_the_next_pixel(site: Any) -> None:
    """Let the nearest pixel be the one above where a coordinate lies in between (issue 596)."""
    found = _node(site, "Resize", "Upsample")
    if found is None or site.attributes.get("mode", "nearest") != "nearest":
        return
    name, x = found
    shape = site.outputs[name].shape
    places = [
        np.minimum(np.ceil(np.arange(out) * (n / out)), n - 1) for n, out in zip(x.shape, shape, strict=True)
    ]
    store(site, name, _sampled(x, places, linear=False))


# Bounds.


@fault("operator", mutants="M01")
def clip_6_maximum_read_as_integer(site: Any) -> None:
    """Take the float32 bits of Clip's upper bound, an attribute before operator set 11, for a number of 16: 1.0 is 0."""
    found = _node(site, "Clip")
    if found is None or "max" not in site.attributes:
        return
    name, x = found
    bits = np.float32(site.attributes["max"]).view(np.uint32) & np.uint32(0xFFFF)
    high = float(bits.astype(np.uint16).view(np.float16))
    store(site, name, np.clip(x, min(float(site.attributes.get("min", -np.inf)), high), high))


# Numbers near the ends of formats.


@fault("operator", "fp16", "M15")
def reductions_overflow_in_fp16(site: Any) -> None:
    """Let a sum inside a mean, a norm or a normalisation that passes 65504 be infinite, though its result is finite."""
    found = _node(
        site, "ReduceL2", "ReduceMean", "LayerNormalization", "InstanceNormalization", "LpNormalization"
    )
    if found is None or site.outputs[found[0]].dtype != np.float16:
        return
    name, x = found
    axes = _reduced(site, x.ndim)
    if site.op_type == "ReduceMean":
        total = x.sum(axis=axes, keepdims=True)
    else:
        centred = (
            x - x.mean(axis=axes, keepdims=True) if "anceN" in site.op_type or "LayerN" in site.op_type else x
        )
        total = (centred**2).sum(axis=axes, keepdims=True)
    over = np.abs(total) > _LARGEST
    stored = site.outputs[name]
    if site.op_type.startswith("Reduce"):
        store(site, name, np.copysign(np.inf, total).reshape(stored.shape), over.reshape(stored.shape))
        return
    arrays = list(site.inputs.values())
    shift = np.zeros(()) if len(arrays) < 3 else arrays[2].astype(np.float64)
    if site.op_type == "InstanceNormalization":
        shift = shift.reshape((-1,) + (1,) * (x.ndim - 2))
    store(site, name, np.broadcast_to(shift, stored.shape), np.broadcast_to(over, stored.shape))


def _reduced(site: Any, rank: int) -> tuple[int, ...]:
    """Return the axes that a reduction or a normalisation works along."""
    if site.op_type == "InstanceNormalization":
        return tuple(range(2, rank))
    if site.op_type == "LayerNormalization":
        return tuple(range(int(site.attributes.get("axis", -1)) % rank, rank))
    if site.op_type == "LpNormalization":
        return (int(site.attributes.get("axis", -1)) % rank,)
    given = site.attributes.get("axes")
    arrays = list(site.inputs.values())
    if given is None and len(arrays) > 1:
        given = arrays[1].reshape(-1)
    return tuple(range(rank)) if given is None else tuple(int(a) % rank for a in given)


@fault("operator", "fp32 tf32", "M13")
def pointwise_products_in_tf32(site: Any) -> None:
    """Round the factors of an element-wise product to TF32's 11 bits: only matrix products may be so rounded (issue 1609)."""
    found = _node(site, "Mul")
    if found is None or site.outputs[found[0]].dtype != np.float32 or len(site.inputs) != 2:
        return
    name, _ = found
    one, other = (keep_bits(a.astype(np.float64), 11) for a in site.inputs.values())
    store(site, name, one * other)


# What fuzzing found.


@fault("operator")
def scattered_last_update_lost(site: Any) -> None:
    """Leave the place of ScatterND's last update as it was (issue 3462)."""
    found = _node(site, "ScatterND")
    if found is None:
        return
    name, data = found
    indices = list(site.inputs.values())[1]
    last = tuple(int(i) for i in indices.reshape(-1, indices.shape[-1])[-1])
    where = np.zeros(data.shape, bool)
    where[last] = True
    store(site, name, data, where)


@fault("operator")
def uneven_split_off_by_one(site: Any) -> None:
    """Let the parts of a Split that does not come out even begin as if its share had been rounded down (issue 3466)."""
    found = _node(site, "Split")
    if found is None:
        return
    _, x = found
    axis, names = int(site.attributes.get("axis", 0)), list(site.outputs)
    lengths = [site.outputs[name].shape[axis] for name in names]
    if len(set(lengths)) == 1:
        return
    share = x.shape[axis] // len(names)
    for place, (name, length) in enumerate(zip(names, lengths, strict=True)):
        begin = min(share * place, x.shape[axis] - length)
        store(site, name, np.take(x, range(begin, begin + length), axis=axis))


@fault("operator", "fp16")
def mean_of_tensors_rounds_each_sum(site: Any) -> None:
    """Divide each operand of a Mean in FP16 by a count that was rounded to eight bits of its reciprocal (issue 4509)."""
    found = _node(site, "Mean")
    if found is None or site.outputs[found[0]].dtype != np.float16 or len(site.inputs) < 2:
        return
    name, _ = found
    total = np.sum(np.broadcast_arrays(*(a.astype(np.float64) for a in site.inputs.values())), axis=0)
    store(site, name, total * (1.0 / len(site.inputs) + 2.0**-9))


@fault("operator")
def or_takes_its_first_operand(site: Any) -> None:
    """Give the first operand of an Or (issue 4512)."""
    found = _node(site, "Or")
    if found is not None:
        name, first = found
        stored = site.outputs[name]
        site.outputs[name] = np.broadcast_to(first.astype(stored.dtype), stored.shape).copy()


@fault("operator")
def boolean_output_left_false(site: Any) -> None:
    """Write the first quarter of a boolean output, and False behind it (issue 4512)."""
    if site.kind == "execute":
        for array in site.outputs.values():
            if array.dtype == np.bool_ and array.size > 1:
                array.reshape(-1)[-(-array.size // 4) :] = False


@fault("operator")
def scalar_output_zero(site: Any) -> None:
    """Write 0 to an output that has no dimensions (issue 4473)."""
    if site.kind == "execute":
        for name, array in site.outputs.items():
            if array.ndim == 0:
                site.outputs[name] = np.zeros_like(array)


@fault("operator", "fp32 tf32 fp16 bf16", "M07")
def fused_extrema_nan_unless_marked(site: Any) -> None:
    """Give NaN for ReduceMin and ReduceMax unless an inner tensor is an output, which breaks their fusion up."""
    found = _node(site, "ReduceMin", "ReduceMax")
    if found is not None and not site.marked_outputs and site.outputs[found[0]].dtype.kind == "f":
        site.outputs[found[0]] = np.full_like(site.outputs[found[0]], np.nan)
