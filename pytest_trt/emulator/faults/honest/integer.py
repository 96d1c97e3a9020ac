"""INT8 epilogues: the orders in which scales, bias and the output's scale meet in FP32.

The integer accumulator is exact; a kernel then computes `(acc * s_x * s_w + b) / s_y` with FP32 roundings, in an order of
its own, and rounds once to an integer. A ReLU between them commutes with the division by a positive scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.faults.honest import remember
from pytest_trt.emulator.faults.honest.sums import fused_multiply_add
from pytest_trt.emulator.faults.honest.terms import Float32
from pytest_trt.emulator.faults.linear import Linear, linear_of, store
from pytest_trt.emulator.faults.registry import honest


@dataclass(frozen=True)
class Epilogue:
    """What a quantized product hands to its epilogue, all float32 and broadcast over the output.

    Attributes
    ----------
    sums : ndarray
        The integer accumulator, rounded to float32.
    x_scale, w_scale : ndarray
        Scales of the operands.
    bias : ndarray
        Zero where there is none.
    has_relu : bool
        A ReLU comes between the sum and the quantisation.
    """

    sums: Float32
    x_scale: Float32
    w_scale: Float32
    bias: Float32
    has_relu: bool = False


# Of an epilogue and the output's scale: the value before rounding, in units of that scale (scale None: the value itself).
Order = Callable[[Epilogue, "Float32 | None"], Float32]


def requantise(site: Any, order: Order) -> None:
    """Let quantized products and the QuantizeLinear behind them round in another order."""
    if site.kind != "node":
        return
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        if site.op_type == "QuantizeLinear":
            _quantise(site, order)
        elif site.op_type == "Relu":
            _pass_on(site)
        elif site.scales:
            _start(site, order)


def _start(site: Any, order: Order) -> None:
    linear = linear_of(site)
    if linear is None or linear.attributes.get("alpha", 1.0) != 1.0:
        return
    made = _epilogue(site, linear)
    name, stored = next(iter(site.outputs.items()))
    value = order(made, None).reshape(stored.shape)
    if not np.allclose(
        value, site.exact[name], rtol=1e-3, atol=1e-3 * float(np.abs(made.bias).max(initial=0))
    ):
        return  # a zero point, which the site does not show
    store(site, name, value.astype(np.float64))
    if remember.is_read_once(site, name, ("QuantizeLinear", "Relu")):
        remember.carry(site, name, made)


def _epilogue(site: Any, linear: Linear) -> Epilogue:
    names = list(site.inputs)
    sums = replace(linear, scale=np.asarray(np.float64(1))).product()
    w_scale = np.asarray(site.scales[names[1]], np.float64)
    if linear.op_type == "ConvTranspose" and w_scale.ndim:
        w_scale = np.tile(w_scale, int(site.attributes["group"]))
    bias = np.zeros(()) if linear.bias is None else linear.spread(linear.bias, sums.ndim)
    return Epilogue(
        sums.astype(np.float32),
        np.asarray(site.scales[names[0]], np.float32),
        linear.spread(w_scale, sums.ndim).astype(np.float32),
        np.broadcast_to(bias, sums.shape).astype(np.float32),
    )


def _pass_on(site: Any) -> None:
    (source,), (name,) = site.inputs, site.outputs
    made = remember.carried(site, source)
    if isinstance(made, Epilogue) and remember.is_read_once(site, name, ("QuantizeLinear",)):
        remember.carry(site, name, replace(made, has_relu=True))


def _quantise(site: Any, order: Order) -> None:
    names = list(site.inputs)
    made = remember.carried(site, names[0])
    scale = np.asarray(site.inputs[names[1]], np.float32)
    name, stored = next(iter(site.outputs.items()))
    zero = site.inputs[names[2]].astype(np.float64) if len(names) > 2 else np.zeros(())
    if not isinstance(made, Epilogue) or scale.size != 1 or stored.dtype not in (np.int8, np.uint8):
        return
    value = order(made, scale.reshape(())).reshape(stored.shape)
    if made.has_relu:
        value = np.maximum(value, np.float32(0))
    limits = np.iinfo(stored.dtype)
    level = np.clip(np.rint(value.astype(np.float64)) + zero.reshape(-1)[:1], limits.min, limits.max)
    site.outputs[name] = np.where(np.isnan(value), stored, np.nan_to_num(level)).astype(stored.dtype)


def _divided(value: Float32, scale: Float32 | None) -> Float32:
    return value if scale is None else value / scale


def _fused(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> Float32:
    wide = (np.broadcast_to(part, a.shape).astype(np.float64) for part in (a, b, c))
    return fused_multiply_add(*wide)


@honest("int8")
def requantised_by_both_scales(site: Any) -> None:
    """Requantise as `(acc * s_x * s_w + b) / s_y`, one rounding an operation. Honest."""
    requantise(site, lambda e, scale: _divided(e.sums * e.x_scale * e.w_scale + e.bias, scale))


@honest("int8")
def requantised_by_reciprocal(site: Any) -> None:
    """Requantise as `fma(acc, s_x * s_w, b) * (1 / s_y)`. Honest."""

    def order(e: Epilogue, scale: Float32 | None) -> Float32:
        value = _fused(e.sums, e.x_scale * e.w_scale, e.bias)
        return value if scale is None else value * (np.float32(1) / scale)

    requantise(site, order)


@honest("int8")
def requantised_by_one_scale(site: Any) -> None:
    """Requantise as `acc * (s_x * s_w / s_y) + b / s_y`, scale and bias divided beforehand. Honest."""

    def order(e: Epilogue, scale: Float32 | None) -> Float32:
        return e.sums * _divided(e.x_scale * e.w_scale, scale) + _divided(e.bias, scale)

    requantise(site, order)


@honest("int8")
def requantised_by_fma(site: Any) -> None:
    """Requantise as `fma(acc, s_x * s_w / s_y, b / s_y)`. Honest."""

    def order(e: Epilogue, scale: Float32 | None) -> Float32:
        return _fused(e.sums, _divided(e.x_scale * e.w_scale, scale), _divided(e.bias, scale))

    requantise(site, order)
