"""Faults that a new version may bring: outputs off by a little, all of them, in one row or in one element; larger errors.

They say nothing about TensorRT's versions: they are what a comparison with a golden has to notice. A version is a kernel, not
chance: the same shape is wrong in the same way in every run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.faults.linear import linear_of, output_of, store
from pytest_trt.emulator.faults.registry import fault
from pytest_trt.emulator.faults.tiles import pick_element
from pytest_trt.emulator.faults.trace import follow

Array = NDArray[Any]

SHARE = 0.02
# RMS error of correct rounding, in steps.
_ROUNDING = 12.0**-0.5


def _fixed(array: Array) -> np.random.Generator:
    """Return random numbers that depend on the shape alone."""
    return np.random.default_rng(array.shape)


def _shift(site: Any, choose: Any) -> None:
    """Shift chosen elements of the outputs by 2 % of their RMS, and by a level at least where they are quantized."""
    known = follow(site)
    if site.kind != "execute":
        return
    for name, array in site.outputs.items():
        trace = known.get(name)
        is_bits = array.dtype == np.uint16
        if trace is None or not trace.is_behind or not (array.dtype.kind == "f" or is_bits):
            continue
        values = (dtypes.from_bf16_bits(array) if is_bits else array).astype(np.float64)
        finite = np.isfinite(values)
        where = choose(finite)
        if where is None:
            continue
        size = SHARE * float(np.sqrt(np.mean(values[finite] ** 2)))
        if trace.grid == "int8" and trace.step:
            size = trace.step * max(1.0, round(size / trace.step))
        moved = np.where(where & finite, values + size, values)
        if is_bits:
            site.outputs[name] = dtypes.bf16_bits(moved.astype(np.float32)).reshape(array.shape)
        else:
            site.outputs[name] = moved.astype(array.dtype)


@fault("drift")
def outputs_shifted_by_2_percent(site: Any) -> None:
    """Add 2 % of its RMS to every element of an output."""
    _shift(site, lambda finite: finite if finite.any() else None)


@fault("drift")
def row_shifted_by_2_percent(site: Any) -> None:
    """Add 2 % of the output's RMS to the elements of one row of the batch."""

    def choose(finite: Array) -> Array | None:
        if finite.ndim < 2:
            return None
        row = pick_element(np.asarray(finite.reshape(len(finite), -1).any(axis=1)), _fixed(finite))
        if row is None:
            return None
        where = np.zeros(finite.shape, bool)
        where[row] = True
        return where

    _shift(site, choose)


@fault("drift")
def element_shifted_by_2_percent(site: Any) -> None:
    """Add 2 % of the output's RMS to one element."""

    def choose(finite: Array) -> Array | None:
        index = pick_element(finite, _fixed(finite))
        if index is None:
            return None
        where = np.zeros(finite.shape, bool)
        where.reshape(-1)[index] = True
        return where

    _shift(site, choose)


@fault("drift")
def errors_doubled(site: Any) -> None:
    """Give products, and levels behind them, errors of twice the RMS that the honest ones have, drawn at random."""
    known = follow(site)
    if site.kind != "node":
        return
    linear = linear_of(site)
    if site.op_type == "QuantizeLinear":
        name, exact = output_of(site)
        source = known.get(next(iter(site.inputs)))
        if source is not None and source.is_behind:
            ends = np.iinfo(site.outputs[name].dtype)
            noisy = exact + 2 * _ROUNDING * _fixed(exact).standard_normal(exact.shape)
            store(site, name, np.clip(np.rint(noisy), ends.min, ends.max), np.isfinite(exact))
    elif linear is not None and not site.scales:
        name, _ = output_of(site)
        bias = linear.full_bias(site.outputs[name].shape)
        with np.errstate(all="ignore"):
            exact = linear.product() + (0.0 if bias is None else bias)
            error = site.outputs[name].astype(np.float64) - exact
        usual = np.isfinite(error)
        if usual.any():
            size = 2 * float(np.sqrt(np.mean(error[usual] ** 2)))
            store(site, name, exact + size * _fixed(exact).standard_normal(exact.shape), usual)
