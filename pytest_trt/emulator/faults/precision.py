"""Faults of precision: operands, sums or results in fewer bits than the contract promises, or rounded another way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.faults.formats import away, cut, halfway_rounded, keep_bits, toward_zero
from pytest_trt.emulator.faults.linear import Linear, change, linear_of, output_of, store
from pytest_trt.emulator.faults.quant import requantise
from pytest_trt.emulator.faults.registry import fault
from pytest_trt.emulator.faults.trace import grid_of

Float32 = NDArray[np.float32]
_LEAST_NORMAL_FP16 = 2.0**-14
_LARGEST_FP16 = 65504.0


def _linear_at(site: Any, *precisions: str) -> Linear | None:
    """Return the operands of a linear node that works in one of these types on floats."""
    if site.kind != "node" or site.precision not in precisions or site.scales:
        return None
    return linear_of(site)


def _read_as(site: Any, linear: Linear | None, make: Callable[[Float32], Float32], x: bool = True) -> None:
    """Let a node read its operands as `make` leaves them; with `x` False, the weights alone."""
    if linear is None:
        return
    with np.errstate(over="ignore"):
        w = make(linear.w.astype(np.float32)).astype(np.float64)
        read = make(linear.x.astype(np.float32)).astype(np.float64) if x else linear.x
    change(site, linear, replace(linear, x=read, w=w))


def _as_fp16(values: Float32) -> Float32:
    return dtypes.round_to(values, dtypes.FLOAT16)


def _as_bf16(values: Float32) -> Float32:
    return dtypes.round_to(values, dtypes.BFLOAT16)


@fault("precision", "fp32", "M13")
def tf32_where_fp32_strict(site: Any) -> None:
    """Round float32 operands to TF32, 10 fraction bits, where TF32 is off."""
    _read_as(site, _linear_at(site, "fp32"), dtypes.round_tf32)


@fault("precision", "fp32 tf32", "M13 M28")
def bf16_inputs_where_more_promised(site: Any) -> None:
    """Round float32 operands to bfloat16."""
    _read_as(site, _linear_at(site, "fp32", "tf32"), _as_bf16)


@fault("precision", "fp32", "M28")
def fp16_inputs_where_fp32_promised(site: Any) -> None:
    """Round float32 operands to fp16: range and digits are lost."""
    _read_as(site, _linear_at(site, "fp32"), _as_fp16)


# e4m3 values are bfloat16 values: of the contracts whose tensors are fp16, fp8 loses nothing.
@fault("precision", "fp16 fp16acc", "M28")
def bf16_inputs_where_fp16_promised(site: Any) -> None:
    """Round fp16 operands to bfloat16: three of eleven bits are lost."""
    _read_as(site, _linear_at(site, "fp16"), _as_bf16)


@fault("precision", "fp16 bf16", "M28")
def fp8_weights_where_16bit_promised(site: Any) -> None:
    """Round 16-bit weights to FP8 e4m3, unscaled: four bits are left, and nothing above 448."""
    _read_as(site, _linear_at(site, "fp16", "bf16"), _as_e4m3, x=False)


def _as_e4m3(values: Float32) -> Float32:
    """Return values rounded to e4m3: spacing 2**-9 at the bottom, saturating (OCP FP8 specification 1.0, 2023)."""
    kept: NDArray[np.float64] = keep_bits(values.astype(np.float64), 4, lowest=-9)
    return np.where(np.isnan(values), values, np.clip(kept, -448, 448)).astype(np.float32)


def _accumulate(site: Any, linear: Linear | None, block: int, make: Callable[[Float32], Float32]) -> None:
    """Add the products block by block, each exact in float32, and let `make` cut the sum after each.

    A sum of one block that is cut to 16 bits is a sum that was stored before its bias: no fault, but a rung of the ladder.
    """
    if linear is None:
        return
    terms = linear.terms
    if terms.length <= block and make in (_as_fp16, _as_bf16):
        return
    columns, weights = terms.columns.astype(np.float32), terms.weights.astype(np.float32)
    total = np.zeros((*np.broadcast_shapes(columns.shape[:-2], weights.shape[:-2]), 1, 1), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, terms.length, block):
            if block == 1:
                part = weights[..., first, None] * columns[..., None, first, :]
            else:
                part = np.matmul(weights[..., first : first + block], columns[..., first : first + block, :])
            total = make(total + part)
        sums = terms.fold(total).astype(np.float64) * linear.spread(linear.scale, len(terms.shape))
        name, exact = output_of(site)
        bias = linear.full_bias(exact.shape)
        store(site, name, sums if bias is None else sums + bias)


# FP8's own accumulators keep 13 bits behind the point of the largest term: what FP16 loses is mostly inside of that.
@fault("precision", "fp16", "M14")
def fp16_accumulate_where_fp32_promised(site: Any) -> None:
    """Add the products of fp16 operands one by one in an fp16 accumulator."""
    _accumulate(site, _linear_at(site, "fp16"), 1, _as_fp16)


@fault("precision", "fp16", "M14")
def fp16_block_accumulate_tc16(site: Any) -> None:
    """Add the products of fp16 operands in blocks of 16, as a tensor core with an fp16 accumulator does."""
    _accumulate(site, _linear_at(site, "fp16"), 16, _as_fp16)


@fault("precision", "bf16", "M14")
def bf16_accumulate_where_fp32_promised(site: Any) -> None:
    """Add the products of bfloat16 operands one by one in a bfloat16 accumulator."""
    _accumulate(site, _linear_at(site, "bf16"), 1, _as_bf16)


@fault("precision", "fp8", "M14")
def fp8_acc_8_bits(site: Any) -> None:
    """Keep 8 bits of the accumulator after each 32 products, where FP8 on Hopper keeps 13 behind the point."""
    _accumulate(site, _linear_at(site, "fp16"), 32, lambda total: cut(total, 8))


def _results(site: Any) -> list[tuple[str, NDArray[Any], NDArray[Any], str]]:
    """Return name, array, value before rounding and type of the 16-bit outputs of a node; a Cast is the graph's own."""
    if site.kind != "node" or site.op_type == "Cast":
        return []
    found = [(n, a, site.exact[n].astype(np.float64), grid_of(site, a)) for n, a in site.outputs.items()]
    return [row for row in found if row[3] in ("fp16", "bf16")]


# What rounds to fp16 from an fp16 accumulator is inside its error: `fp16acc` does not forbid these three.


@fault("precision", "fp16 bf16 int8 fp8")
def output_truncated_not_rounded(site: Any) -> None:
    """Cut the digits that a 16-bit or INT8 output has not, where they ought to be rounded."""
    for name, stored, exact, grid in _results(site):
        site.outputs[name] = np.where(np.isfinite(exact), toward_zero(stored, exact, grid), stored)
    requantise(site, np.trunc)


@fault("precision", "fp16 bf16 fp8")
def output_ties_away(site: Any) -> None:
    """Round exact ties of a 16-bit output away from zero, where even is promised."""
    for name, stored, exact, grid in _results(site):
        up = away(stored, grid)
        with np.errstate(invalid="ignore"):
            tie = np.isfinite(exact) & (np.abs(up - exact) == np.abs(exact - stored))
            tie &= np.abs(stored.astype(np.float64)) < np.abs(exact)
        site.outputs[name] = np.where(tie, up.astype(stored.dtype), stored)


@fault("precision", "fp16 bf16")
def output_double_rounded_via_9bits(site: Any) -> None:
    """Round a 16-bit output first to one bit more than it has (9 for bfloat16, 12 for fp16), then to its own."""
    for name, _, exact, grid in _results(site):
        once = halfway_rounded(exact, grid)
        store(site, name, once, once != exact)


@fault("precision", "fp16 fp16acc", "M15")
def overflow_clipped_to_65504(site: Any) -> None:
    """Give 65504 where an fp16 output overflows."""
    for name, stored, exact, grid in _results(site):
        if grid == "fp16":
            over = np.isinf(stored) & np.isfinite(exact)
            site.outputs[name] = np.where(over, np.copysign(np.float16(_LARGEST_FP16), stored), stored)


# A partial sum of an fp16 accumulator may overflow where the sum does not, and the error of an FP8 one may reach as far as
# infinity: `fp16acc` and `fp8` do not forbid it.
@fault("precision", "fp16", "M15")
def large_finite_becomes_inf(site: Any) -> None:
    """Give infinity for fp16 outputs of 32768 and more, half of the largest."""
    for name, stored, _, grid in _results(site):
        if grid == "fp16":
            site.outputs[name] = np.where(
                np.abs(stored) >= 32768, np.copysign(np.float16(np.inf), stored), stored
            )


# bfloat16 has the exponents of float32: only fp16 tensors hold subnormal numbers in practice.
@fault("precision", "fp16 fp16acc fp8", "M16")
def subnormal_outputs_flushed(site: Any) -> None:
    """Give zero for fp16 outputs below 2**-14."""
    for name, stored, _, grid in _results(site):
        if grid == "fp16":
            site.outputs[name] = np.where(np.abs(stored) < _LEAST_NORMAL_FP16, np.float16(0), stored)


@fault("precision", "fp16 fp16acc fp8", "M16")
def subnormal_inputs_flushed(site: Any) -> None:
    """Read zero for fp16 operands below 2**-14."""
    _read_as(
        site,
        _linear_at(site, "fp16"),
        lambda values: np.where(np.abs(values) < _LEAST_NORMAL_FP16, np.float32(0), values),
    )
