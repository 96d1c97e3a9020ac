"""Faults of INT8: scales, zero points, requantisation, integer sums.

Those of the product change the sums of a quantised convolution or matrix product; those of requantisation change the
levels that the QuantizeLinear behind it gives, and leave alone one that quantises an input of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.faults.formats import keep_bits
from pytest_trt.emulator.faults.linear import Linear, change, linear_of, output_of, store
from pytest_trt.emulator.faults.registry import fault
from pytest_trt.emulator.faults.trace import follow

Float64 = NDArray[np.float64]
_INT16 = 32767.0


def _product(site: Any) -> Linear | None:
    """Return the integers of a quantised convolution or matrix product."""
    return linear_of(site) if site.kind == "node" and site.scales else None


def _rescale(site: Any, make: Callable[[Float64], Float64]) -> None:
    """Let `make` change the scales of a product; the bias is added as it is."""
    linear = _product(site)
    if linear is None:
        return
    name, exact = output_of(site)
    right = linear.spread(linear.scale, exact.ndim)
    wrong = linear.spread(np.asarray(make(linear.scale)), exact.ndim)
    bias = linear.full_bias(exact.shape)
    sums = exact if bias is None else exact - bias
    moved = np.broadcast_to(wrong != right, exact.shape) & (sums != 0)
    store(site, name, exact + sums * (wrong / right - 1), moved)


@fault("quant", "int8", "M17")
def int8_scale_of_neighbour_channel(site: Any) -> None:
    """Take each channel's weight scale from the channel before it; only where scales are one a channel."""
    _rescale(site, lambda scale: np.roll(scale, 1) if scale.ndim == 1 else scale)


@fault("quant", "int8", "M17")
def per_tensor_scale_where_per_channel(site: Any) -> None:
    """Use the largest weight scale for all channels; only where scales are one a channel."""
    _rescale(site, lambda scale: np.full_like(scale, scale.max()))


@fault("quant", "int8", "M17")
def weight_scales_along_wrong_axis(site: Any) -> None:
    """Apply the scales of the weights along their input channels, over and over; only where scales are one a channel."""
    linear = _product(site)
    if linear is None or linear.scale.ndim != 1:
        return
    terms = linear.terms
    channels = linear.reduction // linear.groups
    taps = terms.length // channels
    along = np.repeat(np.resize(linear.scale, channels), taps)
    rows = linear.scale.reshape(linear.groups, -1, 1) if linear.is_convolution else linear.scale[:, None]
    change(site, linear, replace(terms, weights=terms.weights * (along / rows)))


@fault("quant", "int8", "M17")
def scale_off_by_1pct(site: Any) -> None:
    """Multiply the scale of the product by 1.01."""
    _rescale(site, lambda scale: scale * 1.01)


@fault("quant", "int8", "M18")
def scale_in_fp16(site: Any) -> None:
    """Keep 11 bits of the product's scale, as fp16 has them; a power of two loses nothing."""
    _rescale(site, lambda scale: keep_bits(scale, 11))


@fault("quant", "int8", "M18")
def fixed_point_multiplier_8bit(site: Any) -> None:
    """Keep 8 bits of the product's scale, as a fixed-point multiplier does; a power of two loses nothing."""
    _rescale(site, lambda scale: keep_bits(scale, 8))


def _reread(site: Any, make: Callable[[Float64], Float64]) -> None:
    linear = _product(site)
    if linear is not None and next(iter(site.inputs.values())).dtype == np.int8:
        change(site, linear, replace(linear, x=make(linear.x)))


@fault("quant", "int8", "M18")
def input_zero_point_off_by_one(site: Any) -> None:
    """Take -1 for the level of zero of the activations: each of them counts as one more."""
    _reread(site, lambda x: x + 1)


@fault("quant", "int8", "M18")
def uint8_reinterpretation(site: Any) -> None:
    """Read the bits of int8 activations as uint8: -1 counts as 255."""
    _reread(site, lambda x: np.where(x < 0, x + 256, x))


@fault("quant", "int8", "M18")
def int16_saturating_pairs(site: Any) -> None:
    """Add products in pairs that saturate at 16 bits, activations shifted by 128: what pmaddubsw does."""
    linear = _product(site)
    if linear is None:
        return
    terms = linear.terms
    length = terms.length // 2 * 2
    weights = terms.weights[..., :length].astype(np.float32)
    shifted = (terms.columns[..., :length, :] + 128).astype(np.float32)
    pairs = weights[..., :, 0::2, None] * shifted[..., None, 0::2, :]
    pairs += weights[..., :, 1::2, None] * shifted[..., None, 1::2, :]
    lost = np.clip(pairs, -_INT16 - 1, _INT16) - pairs
    change(site, linear, linear.total + terms.fold(lost.sum(axis=-2, dtype=np.float64)))


@fault("quant", "int8", "M18")
def sum_saturates_before_scale(site: Any) -> None:
    """Let the integer sum saturate at eight bits before it is scaled, where its quotient ought to saturate afterwards."""
    linear = _product(site)
    if linear is not None:
        change(site, linear, np.clip(linear.total, -128, 127))


@fault("quant", "int8", "M18")
def bias_not_rescaled(site: Any) -> None:
    """Add the bias to the integer sum as it is: the scale of the product is then applied to it too."""
    linear = _product(site)
    if linear is None or linear.bias is None:
        return
    name, exact = output_of(site)
    bias = linear.full_bias(exact.shape)
    assert bias is not None
    scale = linear.spread(linear.scale, exact.ndim)
    store(site, name, exact + bias * (scale - 1), np.broadcast_to(bias * (scale - 1), exact.shape) != 0)


# Requantisation.


def requantise(
    site: Any,
    rounding: Callable[[Float64], Float64] = np.rint,
    factor: float = 1.0,
    offset: int = 0,
    ends: Callable[[Float64, int, int], Float64] = np.clip,
    lowest: int | None = None,
) -> None:
    """Quantise the values before a QuantizeLinear anew, in a wrong way; only behind a linear node.

    Parameters
    ----------
    site : Site
        Other sites are left alone.
    rounding : callable
        Of quotients.
    factor, offset : float, int
        Multiplies the quotient; is added to the zero point.
    ends : callable(levels, lowest, highest)
        What happens to levels that the type has not.
    lowest : int, optional
        Lowest level, in the place of the type's.
    """
    known = follow(site)
    if site.kind != "node" or site.op_type != "QuantizeLinear":
        return
    name, stored = next(iter(site.outputs.items()))
    if stored.dtype not in (np.int8, np.uint8) or not known[name].is_behind:
        return
    quotient = site.exact[name].astype(np.float64)
    limits = np.iinfo(stored.dtype)
    with np.errstate(invalid="ignore"):
        levels = rounding(np.nan_to_num(quotient * factor)) + _zero(site, stored.ndim) + offset
        wrong = ends(levels, limits.min if lowest is None else lowest, limits.max)
    site.outputs[name] = np.where(np.isnan(quotient), stored, wrong).astype(stored.dtype)


def _zero(site: Any, rank: int) -> Float64:
    """Return the zero point of a QuantizeLinear site, shaped to be broadcast."""
    given = list(site.inputs.values())
    zero = given[2].astype(np.float64) if len(given) > 2 else np.zeros(())
    if zero.size > 1:
        shape = [1] * rank
        shape[site.attributes["axis"]] = -1
        return zero.reshape(shape)
    return zero.reshape(())


def _away(values: Float64) -> Float64:
    return np.copysign(np.floor(np.abs(values) + 0.5), values)


def _is_dyadic(scale: NDArray[Any]) -> bool:
    return bool(np.all(np.frexp(scale)[0] == 0.5))


def _wrap(levels: Float64, low: int, high: int) -> Float64:
    return np.mod(levels - low, high - low + 1.0) + low


@fault("quant", "int8", "M17")
def stale_calibration_scale_20pct(site: Any) -> None:
    """Requantise with an output scale that is 20 % too large, of an older calibration."""
    requantise(site, factor=1 / 1.2)


@fault("quant", "int8", "M18")
def output_zero_point_off_by_one(site: Any) -> None:
    """Requantise around a zero point of 1."""
    requantise(site, offset=1)


@fault("quant", "int8", "M18")
def saturation_wraps(site: Any) -> None:
    """Let levels that are out of range wrap around, where they ought to saturate."""
    requantise(site, ends=_wrap)


@fault("quant", "int8", "M18")
def requant_truncates(site: Any) -> None:
    """Cut the digits behind the point, where they ought to be rounded."""
    requantise(site, np.trunc)


@fault("quant", "int8", "M18")
def requant_ties_away(site: Any) -> None:
    """Round exact halves away from zero, where TensorRT promises even; only where all scales are powers of two.

    Elsewhere a quotient that comes out as a half is not one: rounding it either way is right.
    """
    if site.kind != "node":
        return
    linear = _product(site)
    if linear is not None:
        site.memory["dyadic", site.context_id] = _is_dyadic(linear.scale)
    scale = next(iter(site.scales.values()), np.zeros(()))
    if _is_dyadic(scale) and site.memory.get(("dyadic", site.context_id)):
        requantise(site, _away)
    else:
        follow(site)


@fault("quant", "int8", "M18")
def clip_minus127(site: Any) -> None:
    """Saturate at -127, where activations reach -128."""
    requantise(site, lowest=-127)


@fault("quant", "int8", "M18")
def relu_after_wrong_zero(site: Any) -> None:
    """Apply the ReLU to levels, and take level 1 for its zero; only where a ReLU lies before the QuantizeLinear."""
    known = follow(site)
    if site.kind == "node" and site.op_type == "QuantizeLinear":
        trace = known.get(next(iter(site.inputs)))
        if trace is not None and trace.op == "Relu":
            requantise(site, ends=lambda levels, low, high: np.clip(np.maximum(levels, 1), low, high))
