"""Faults of operators that are no products: bounds, divisors, NaN, and the second operand of an Add."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_trt.emulator.faults.linear import store
from pytest_trt.emulator.faults.registry import fault
from pytest_trt.emulator.faults.tiles import as_matrix, channel_axis, from_matrix
from pytest_trt.emulator.faults.trace import addends, follow, is_residual
from pytest_trt.emulator.faults.windows import pool


def _bounds(site: Any) -> tuple[Any, Any]:
    """Return the bounds of a Clip site; -inf and inf where it has none."""
    arrays = list(site.inputs.values())
    low: Any = site.attributes.get("min", -np.inf)
    high: Any = site.attributes.get("max", np.inf)
    if len(arrays) > 2:
        low, high = arrays[1], arrays[2]
    elif len(arrays) == 2:  # one bound is left out: the outputs tell which
        stored = next(iter(site.outputs.values()))
        if bool(np.all((stored >= arrays[1]) | np.isnan(stored))):
            low = arrays[1]
        else:
            high = arrays[1]
    return low, high


@fault("operator", mutants="M01")
def clip_upper_dropped(site: Any) -> None:
    """Let Clip forget its upper bound: it acts as a ReLU from the lower one."""
    if site.kind == "node" and site.op_type == "Clip":
        values = next(iter(site.inputs.values())).astype(np.float64)
        store(site, next(iter(site.outputs)), np.maximum(values, np.asarray(_bounds(site)[0], np.float64)))


@fault("operator", "fp32 tf32 fp16 fp16acc bf16 fp8", "M20")
def nan_dropped_by_clip_and_min_max(site: Any) -> None:
    """Let Clip give its lower bound for NaN, and Min and Max the operand that is a number."""
    if site.kind != "node" or site.op_type not in ("Clip", "Min", "Max"):
        return
    name, stored = next(iter(site.outputs.items()))
    if stored.dtype.kind != "f":
        return
    arrays = [array.astype(np.float64) for array in site.inputs.values()]
    lost = np.isnan(stored)
    if site.op_type == "Clip":
        low, high = (float(np.asarray(bound)) for bound in _bounds(site))
        store(site, name, np.full(stored.shape, low if np.isfinite(low) else min(high, 0.0)), lost)
        return
    keep = np.fmin if site.op_type == "Min" else np.fmax
    found = arrays[0]
    for array in arrays[1:]:
        found = keep(found, array)
    store(site, name, np.broadcast_to(found, stored.shape), lost)


@fault("operator", mutants="M11")
def average_pool_divisor_changed(site: Any) -> None:
    """Divide by the whole window where AveragePool leaves pads out of the count, and the other way round."""
    if site.kind != "node" or site.op_type != "AveragePool" or site.attributes.get("ceil_mode"):
        return
    if any(site.attributes["pads"]):
        counts = not site.attributes.get("count_include_pad")
        x = next(iter(site.inputs.values())).astype(np.float64)
        name = next(iter(site.outputs))
        right, wrong = (
            pool("AveragePool", x, {**site.attributes, "count_include_pad": c}) for c in (not counts, counts)
        )
        store(site, name, wrong, right != wrong)


@fault("operator", mutants="M02")
def strided_addend_read_as_dense(site: Any) -> None:
    """Read the second operand of an Add, a view of a buffer that two tensors share, as if it lay there alone.

    Of the pixels that are read, every other one is then the first operand's.
    """
    follow(site)
    if site.kind != "node" or not is_residual(site):
        return
    main, addend = (site.inputs[name] for name in addends(site))
    axis = channel_axis(addend.ndim)
    own, other = as_matrix(addend, axis), as_matrix(main, axis)
    shared = np.stack([own, other], axis=1).reshape(-1, own.shape[1])[: len(own)]
    wrong = from_matrix(shared, addend, axis)
    with np.errstate(invalid="ignore", over="ignore"):
        total = main.astype(np.float64) + wrong.astype(np.float64)
    store(site, next(iter(site.outputs)), total, wrong != addend)


@fault("operator", "int8", "M19")
def residual_added_in_wrong_scale(site: Any) -> None:
    """Add a quantised residual in the scale of the other operand; where that has none or the same, 1.25 of its own."""
    known = follow(site)
    if site.kind != "node" or not is_residual(site):
        return
    main, addend = addends(site)
    steps = [known[name].step if name in known else 0.0 for name in (main, addend)]
    if not steps[1]:
        main, addend, steps = addend, main, steps[::-1]
    if steps[1]:
        ratio = steps[0] / steps[1] if steps[0] and steps[0] != steps[1] else 1.25
        values = site.inputs[addend].astype(np.float64)
        total = site.inputs[main].astype(np.float64) + values * ratio
        store(site, next(iter(site.outputs)), total, values != 0)
