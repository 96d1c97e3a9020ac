"""Faults of one element by little: the smallest wrong results that a contract forbids.

They act on the output of a run, whose stored type is known from the nodes before (`trace`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.faults.registry import fault
from pytest_trt.emulator.faults.tiles import pick_element
from pytest_trt.emulator.faults.trace import Trace, follow

Float64 = NDArray[np.float64]
_FLOATS = ("fp32", "fp16", "bf16")


def _read(array: NDArray[Any]) -> Float64:
    """Return the values of an output; bfloat16 is laid out as 16 bits."""
    if array.dtype == np.uint16:
        return dtypes.from_bf16_bits(array).astype(np.float64)
    return array.astype(np.float64)


def _write(site: Any, name: str, index: int, value: float) -> None:
    array = site.outputs[name].copy()
    if array.dtype == np.uint16:
        array.reshape(-1)[index] = dtypes.bf16_bits(np.full(1, value, np.float32))[0]
    else:
        array.reshape(-1)[index] = value
    site.outputs[name] = array


def _pick(site: Any) -> tuple[str, Trace, int, float] | None:
    """Return an output behind a linear node, what is known of it, and one of its finite elements that is not zero."""
    known = follow(site)
    if site.kind != "execute":
        return None
    for name, array in site.outputs.items():
        trace = known.get(name)
        if trace is None or not trace.is_behind or (array.dtype.kind != "f" and array.dtype != np.uint16):
            continue
        values = _read(array)
        index = pick_element(np.isfinite(values) & (values != 0), site.rng)
        if index is not None:
            return name, trace, index, float(values.reshape(-1)[index])
    return None


def _bits_up(value: float, grid: str, units: int) -> float:
    """Return a number of a format some units in the last place larger in modulus."""
    if grid == "fp16":
        half = np.array([value], np.float16)
        return float((half.view(np.uint16) + np.uint16(units)).view(np.float16)[0])
    shift = 16 if grid == "bf16" else 0
    single = np.array([value], np.float32)
    return float((single.view(np.uint32) + np.uint32(units << shift)).view(np.float32)[0])


def _nudge(site: Any, units: int, grids: tuple[str, ...]) -> None:
    found = _pick(site)
    if found is not None and found[1].grid in grids:
        name, trace, index, value = found
        _write(site, name, index, _bits_up(value, trace.grid, units))


@fault("small", mutants="M08")
def one_element_plus_1pct(site: Any) -> None:
    """Give one element 1 % too much: rounded to the stored type, and by one level at least for INT8."""
    found = _pick(site)
    if found is None:
        return
    name, trace, index, value = found
    if trace.grid == "int8":
        level = np.rint(value / trace.step * 1.01) if trace.step else 0.0
        near = trace.step * level
        wrong = near if abs(near - value) > trace.step / 2 else value - np.copysign(trace.step, value)
    elif trace.grid == "fp16":
        wrong = float(np.float16(min(abs(value) * 1.01, 65504.0) * np.sign(value)))
        wrong = wrong if wrong != value else _bits_up(value, "fp16", 1)
    elif trace.grid == "bf16":
        wrong = float(dtypes.round_to(np.full(1, value * 1.01, np.float32), dtypes.BFLOAT16)[0])
        wrong = wrong if wrong != value else _bits_up(value, "bf16", 1)
    else:
        wrong = value * 1.01
    _write(site, name, index, wrong)


# An accumulator of 16 bits may be off by more than one or four units: `fp16acc` does not forbid these.


@fault("small", "fp16 bf16 fp8", "M08")
def one_element_1ulp(site: Any) -> None:
    """Give one 16-bit element one unit in the last place too much, in modulus."""
    _nudge(site, 1, ("fp16", "bf16"))


@fault("small", "fp16 bf16 fp8", "M08")
def one_element_4ulp(site: Any) -> None:
    """Give one 16-bit element four units in the last place too much, in modulus."""
    _nudge(site, 4, ("fp16", "bf16"))


@fault("small", "fp32 tf32", "M08")
def one_element_64ulp32(site: Any) -> None:
    """Give one float32 element 64 units in the last place too much, in modulus."""
    _nudge(site, 64, ("fp32",))


@fault("small", "int8", "M08 M18")
def one_element_1lsb(site: Any) -> None:
    """Give one requantised element one level too much, or too little where it is the highest."""
    known = follow(site)
    if site.kind != "node" or site.op_type != "QuantizeLinear":
        return
    name, stored = next(iter(site.outputs.items()))
    if stored.dtype not in (np.int8, np.uint8) or not known[name].is_behind or not stored.size:
        return
    changed = stored.copy()
    flat = changed.reshape(-1)
    index = int(site.rng.integers(flat.size))
    flat[index] += flat.dtype.type(1) if flat[index] < np.iinfo(flat.dtype).max else flat.dtype.type(-1)
    site.outputs[name] = changed
