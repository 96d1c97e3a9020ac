"""Faults of values: a lost bound, a stale row, truncation instead of rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.faults.linear import store
from pytest_trt.emulator.faults.registry import fault


@fault("operator", mutants="M01")
def clip_upper_dropped(site: Any) -> None:
    """Let Clip forget its upper bound: it acts as a ReLU from the lower one."""
    if site.kind != "node" or site.op_type != "Clip":
        return
    name = next(iter(site.outputs))
    arrays = list(site.inputs.values())
    low: Any = site.attributes.get("min", -np.inf)
    if len(arrays) > 2 or (len(arrays) == 2 and bool(np.all(site.outputs[name] >= arrays[1]))):
        low = arrays[1]
    store(site, name, np.maximum(arrays[0].astype(np.float64), np.asarray(low, np.float64)))


@fault("memory", mutants="M21")
def last_batch_row_stale(site: Any) -> None:
    """Leave the last row of a batch as the context's run before left it, or zero; batch 1 is not touched."""
    if site.kind != "execute" or site.batch < 2:
        return
    for name, array in site.outputs.items():
        if array.ndim < 1 or array.shape[0] != site.batch:
            continue
        before = site.previous_outputs.get(name)
        fits = before is not None and before.shape == array.shape
        array[-1] = before[-1] if fits else 0


@fault("precision", "fp16 fp16acc bf16 int8 fp8")
def output_truncated_not_rounded(site: Any) -> None:
    """Cut the digits that a 16-bit or INT8 output has not, where they ought to be rounded."""
    if site.kind != "node" or site.op_type == "Cast":
        return
    for name, array in list(site.outputs.items()):
        exact = site.exact[name]
        if site.op_type == "QuantizeLinear" and array.dtype in (np.int8, np.uint8):
            site.outputs[name] = _truncated_integers(site, array, exact)
        elif array.dtype == np.float16:
            site.outputs[name] = _toward_zero(array, exact.astype(np.float64))
        elif site.precision == "bf16" and array.dtype == np.float32:
            bits = exact.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
            site.outputs[name] = np.where(np.isfinite(exact), bits.view(np.float32), array)


def _truncated_integers(site: Any, array: NDArray[Any], exact: NDArray[Any]) -> NDArray[Any]:
    given = list(site.inputs.values())
    zero = given[2] if len(given) > 2 else np.zeros((), array.dtype)
    if zero.size > 1:
        shape = [1] * array.ndim
        shape[site.attributes["axis"]] = -1
        zero = zero.reshape(shape)
    limits = np.iinfo(array.dtype)
    shifted = np.trunc(exact) + zero.astype(np.float64)
    return np.where(np.isnan(exact), array, np.clip(np.nan_to_num(shifted), limits.min, limits.max)).astype(
        array.dtype
    )


def _toward_zero(rounded: NDArray[np.float16], exact: NDArray[np.float64]) -> NDArray[np.float16]:
    over = np.abs(rounded.astype(np.float64)) > np.abs(exact)
    return np.where(over & np.isfinite(exact), np.nextafter(rounded, np.float16(0)), rounded)
