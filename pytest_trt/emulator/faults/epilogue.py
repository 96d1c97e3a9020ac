"""Faults behind the sum: bias, activation, residual, scale, channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.faults.linear import LINEAR, Linear, linear_of, output_of, store
from pytest_trt.emulator.faults.registry import fault
from pytest_trt.emulator.faults.trace import addends, follow, is_residual

Float64 = NDArray[np.float64]


def _rebias(site: Any, make: Any) -> None:
    """Add another bias: `make(linear)` gives it as it is stored."""
    linear = linear_of(site)
    if linear is None or linear.bias is None:
        return
    name, exact = output_of(site)
    wrong = linear.spread(make(linear), exact.ndim)
    delta = np.broadcast_to(wrong - linear.spread(linear.bias, exact.ndim), exact.shape)
    store(site, name, exact + delta, delta != 0)


@fault("epilogue", mutants="M18")
def bias_omitted(site: Any) -> None:
    """Forget the bias."""
    _rebias(site, lambda linear: np.zeros_like(linear.bias))


@fault("epilogue", mutants="M18")
def bias_added_twice(site: Any) -> None:
    """Add the bias twice."""
    _rebias(site, lambda linear: 2 * linear.bias)


@fault("epilogue", mutants="M18")
def bias_channel_shifted(site: Any) -> None:
    """Give each output channel the bias of the one before it."""
    _rebias(site, lambda linear: np.roll(linear.bias, 1, axis=-1))


@fault("epilogue", mutants="M18")
def bias_omitted_on_channel_tail(site: Any) -> None:
    """Forget the bias of the output channels behind the last multiple of 8."""

    def cut(linear: Linear) -> Float64:
        assert linear.bias is not None
        channels = linear.total.shape[linear.channel_axis]
        tail = np.arange(channels) >= channels // 8 * 8
        return np.where(tail, 0.0, linear.bias)

    _rebias(site, cut)


@fault("epilogue", "fp32 tf32 fp16 fp16acc int8 fp8")
def bias_cast_to_bf16(site: Any) -> None:
    """Round the bias to bfloat16 before it is added."""
    _rebias(
        site, lambda linear: dtypes.round_to(linear.bias.astype(np.float32), dtypes.BFLOAT16).astype("f8")
    )


@fault("epilogue")
def relu_added(site: Any) -> None:
    """Put a ReLU behind the last convolution, matrix product or residual Add, where the network has none."""
    known = follow(site)
    if site.kind != "execute":
        return
    for name, array in site.outputs.items():
        if name in known and known[name].op in (*LINEAR, "Residual"):
            if array.dtype == np.uint16:  # bfloat16
                site.outputs[name] = np.where(array >> 15, np.uint16(0), array)
            elif array.dtype.kind == "f":
                site.outputs[name] = np.where(array < 0, array.dtype.type(0), array)


def _relu_of(site: Any) -> tuple[str, str] | None:
    """Return the names of input and output of a Relu site."""
    if site.kind != "node" or site.op_type != "Relu":
        return None
    return next(iter(site.inputs)), next(iter(site.outputs))


@fault("epilogue")
def relu_dropped(site: Any) -> None:
    """Forget the ReLU."""
    if (names := _relu_of(site)) is not None:
        store(site, names[1], site.inputs[names[0]])


@fault("epilogue")
def leaky_relu_0p01(site: Any) -> None:
    """Compute a leaky ReLU, of slope 0.01, in the place of a ReLU."""
    if (names := _relu_of(site)) is not None:
        x = site.inputs[names[0]].astype(np.float64)
        store(site, names[1], 0.01 * x, x < 0)


@fault("epilogue", mutants="M01")
def relu6_instead_of_relu(site: Any) -> None:
    """Cut a ReLU off at 6."""
    if (names := _relu_of(site)) is not None:
        stored = site.outputs[names[1]]
        store(site, names[1], np.full(stored.shape, 6.0), stored > 6)


@fault("epilogue", mutants="M18")
def relu_before_bias(site: Any) -> None:
    """Apply the ReLU behind a convolution or matrix product to the sum, and add the bias after it."""
    linear = linear_of(site)
    if linear is not None:
        name, exact = output_of(site)
        bias = linear.full_bias(exact.shape)
        if bias is not None:
            site.memory["sum", site.context_id, name] = (exact, bias)
        return
    names = _relu_of(site)
    found = site.memory.get(("sum", site.context_id, names[0])) if names is not None else None
    if names is None or found is None or found[0].shape != site.outputs[names[1]].shape:
        return
    exact, bias = found
    total = exact - bias
    # A sum that is not negative goes on as it is: only its own sign decides.
    store(site, names[1], np.where(total < 0, bias, exact), (total < 0) | (exact < 0))


def _add(site: Any) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return what a residual Add adds: the result of the convolution before it, and the residual."""
    follow(site)
    if site.kind != "node" or not is_residual(site):
        return None
    main, residual = addends(site)
    return site.inputs[main], site.inputs[residual]


def _put_sum(site: Any, residual: NDArray[Any], wrong: NDArray[Any], main: NDArray[Any]) -> None:
    with np.errstate(invalid="ignore", over="ignore"):
        total = main.astype(np.float64) + wrong.astype(np.float64)
    store(site, next(iter(site.outputs)), total, residual != wrong)


@fault("epilogue")
def residual_omitted(site: Any) -> None:
    """Forget the residual."""
    if (found := _add(site)) is not None:
        main, residual = found
        _put_sum(site, residual, np.zeros_like(residual), main)


@fault("epilogue", mutants="M03")
def residual_of_other_item(site: Any) -> None:
    """Add the residual of the next item of the batch."""
    found = _add(site)
    if found is not None and len(found[1]) > 1:
        main, residual = found
        _put_sum(site, residual, np.roll(residual, -1, axis=0), main)


@fault("epilogue")
def residual_after_relu(site: Any) -> None:
    """Apply the ReLU before the residual is added, where it belongs behind."""
    found = _add(site)
    if found is not None:
        site.memory["addends", site.context_id, next(iter(site.outputs))] = found
        return
    names = _relu_of(site)
    found = site.memory.get(("addends", site.context_id, names[0])) if names is not None else None
    if names is None or found is None or found[0].shape != site.outputs[names[1]].shape:
        return
    main, residual = (part.astype(np.float64) for part in found)
    with np.errstate(invalid="ignore"):
        wrong = np.maximum(main, 0) + residual
    store(site, names[1], wrong, (main < 0) | (main + residual < 0))


@fault("epilogue", "fp32 tf32 fp16 fp16acc bf16 fp8")
def scale_off_1pct(site: Any) -> None:
    """Multiply sum and bias by 1.01. INT8 has `scale_off_by_1pct`."""
    _scale(site, 1.01)


@fault("epilogue", "fp32 tf32 fp16 fp16acc bf16 fp8")
def scale_off_0p1pct(site: Any) -> None:
    """Multiply sum and bias by 1.001."""
    _scale(site, 1.001)


def _scale(site: Any, factor: float) -> None:
    if site.kind == "node" and site.op_type in LINEAR and not site.scales:
        name, exact = output_of(site)
        with np.errstate(over="ignore"):
            store(site, name, exact * factor, exact != 0)


@fault("epilogue", mutants="M09")
def two_output_channels_swapped(site: Any) -> None:
    """Exchange the first two output channels of a convolution or matrix product."""
    if site.kind != "node" or site.op_type not in LINEAR:
        return
    name, stored = next(iter(site.outputs.items()))
    axis = 1 if site.op_type in ("Conv", "ConvTranspose") else stored.ndim - 1
    if stored.ndim and stored.shape[axis] > 1:
        order = np.arange(stored.shape[axis])
        order[:2] = 1, 0
        site.outputs[name] = np.take(stored, order, axis=axis)
