"""Fused stores: what a kernel keeps in FP32 between a sum of products and the pointwise operators behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.faults.honest import remember
from pytest_trt.emulator.faults.honest.terms import Float32
from pytest_trt.emulator.faults.linear import LINEAR, store
from pytest_trt.emulator.faults.registry import honest

_POINTWISE = ("Add", "Sub", "Mul", "Relu", "Clip", "BatchNormalization")


@honest("fp16 bf16")
def epilogue_fused(site: Any) -> None:
    """Keep a sum of products in FP32 through the operators behind it, and store once at the end. Honest."""
    if site.kind != "node" or site.precision not in ("fp16", "bf16") or site.scales:
        return
    name = next(iter(site.outputs))
    if site.op_type in LINEAR:
        value = site.exact[name].astype(np.float32)
    elif site.op_type in _POINTWISE:
        found = _from_registers(site)
        if found is None:
            return
        value = found
        store(site, name, value)
    else:
        return
    if remember.is_read_once(site, name, _POINTWISE):
        remember.carry(site, name, value)


def _from_registers(site: Any) -> Float32 | None:
    """Return the node computed from inputs that were never stored, or None where each was."""
    operands = []
    fresh = False
    for name, array in site.inputs.items():
        kept = remember.carried(site, name)
        fresh = fresh or isinstance(kept, np.ndarray)
        operands.append(kept if isinstance(kept, np.ndarray) else array.astype(np.float32))
    if not fresh:
        return None
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return _pointwise(site, operands)


def _pointwise(site: Any, operands: list[NDArray[Any]]) -> Float32 | None:
    x = operands[0]
    if site.op_type == "Relu":
        return np.asarray(np.maximum(x, np.float32(0)))
    if site.op_type == "Clip":
        return _clipped(site, operands)
    if site.op_type == "BatchNormalization":
        return normalised(operands, float(site.attributes["epsilon"]))
    if len(operands) != 2:
        return None  # both operands are one tensor: the site shows it once
    function = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}[site.op_type]
    return np.asarray(function(x, operands[1]))


def _clipped(site: Any, operands: list[NDArray[Any]]) -> Float32 | None:
    """Return Clip of the first operand; None where one bound of the two is left out and the site does not say which."""
    if len(operands) == 3:
        low, high = operands[1], operands[2]
    elif len(operands) == 1 and "min" in site.attributes and "max" in site.attributes:
        low, high = np.float32(site.attributes["min"]), np.float32(site.attributes["max"])
    else:
        return None
    return np.asarray(np.minimum(np.maximum(operands[0], low), high))


def normalised(operands: list[NDArray[Any]], epsilon: float) -> Float32:
    """Return batch normalisation as `a x + (b - a mean)`, a = scale / sqrt(var + epsilon), all in float32."""
    x, scale, shift, mean, var = (np.asarray(operand, np.float32) for operand in operands)
    factor = scale / np.sqrt(var + np.float32(epsilon))
    offset = shift - factor * mean
    shape = (1, -1, *(1,) * (x.ndim - 2))
    return np.asarray(x * factor.reshape(shape) + offset.reshape(shape))
