"""Where a tensor of a run comes from: what some faults have to know of the nodes before.

A fault that asks calls `follow` at every site; the notes lie in the site's memory, by context.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.faults.linear import LINEAR

# Operators that hand their values on, in another type or under another name.
_PASSING = ("Cast", "Identity", "QuantizeLinear", "DequantizeLinear", "Reshape", "Flatten")


@dataclass(frozen=True)
class Trace:
    """What is known of a tensor.

    Attributes
    ----------
    op : str
        The operator that made its values; `Residual` for an Add of two activations, `input` for an input of the network.
    grid : str
        The narrowest type in which the values are stored since then: `fp32`, `fp16`, `bf16` or `int8`.
    step : float
        For `int8`: the distance of two values, where it is one number.
    is_behind : bool
        A linear node lies before it.
    """

    op: str
    grid: str
    step: float = 0.0
    is_behind: bool = False


def grid_of(site: Any, array: NDArray[Any]) -> str:
    """Return the type in which an output of a node site is stored, bfloat16 told from float32."""
    if array.dtype == np.float16:
        return "fp16"
    if array.dtype in (np.int8, np.uint8):
        return "int8"
    if array.dtype == np.float32:
        return "bf16" if site.precision == "bf16" else "fp32"
    return "other"


def notes(site: Any) -> dict[str, Trace]:
    """Return what is known of the tensors of this context's run, by name."""
    found: dict[str, Trace] = site.memory.setdefault(("trace", site.context_id), {})
    return found


def is_residual(site: Any) -> bool:
    """Tell whether a node site is an Add of two activations, and not of a bias."""
    if site.op_type != "Add" or len(site.inputs) != 2:
        return False
    first, second = site.inputs.values()
    return bool(first.ndim >= 2 and first.shape == second.shape)


def follow(site: Any) -> dict[str, Trace]:
    """Return what is known of tensors, after noting the outputs of this site if it is a node."""
    if site.kind not in ("node", "execute"):
        return {}
    known = notes(site)
    if site.kind == "execute":
        return known
    before = [known[name] for name in site.inputs if name in known]
    behind = site.op_type in LINEAR or any(trace.is_behind for trace in before)
    for name, array in site.outputs.items():
        grid = grid_of(site, array)
        op = "Residual" if is_residual(site) else site.op_type
        if site.op_type in _PASSING:
            trace = replace(before[0] if before else Trace("input", "fp32"), is_behind=behind)
            if grid != "fp32" or trace.grid == "other":
                trace = replace(trace, grid=grid)
            if site.op_type == "QuantizeLinear":
                scale = next(iter(site.scales.values()), np.zeros(()))
                trace = replace(trace, step=float(scale.reshape(-1)[0]) if scale.size == 1 else 0.0)
        else:
            trace = Trace(op, grid, is_behind=behind)
        known[name] = trace
    return known


def addends(site: Any) -> tuple[str, str]:
    """Return the names of the main operand of a residual Add, the one from a linear node, and of the other."""
    known = notes(site)
    first, second = site.inputs
    made = [name in known and known[name].op in LINEAR for name in (first, second)]
    return (second, first) if made[1] and not made[0] else (first, second)
