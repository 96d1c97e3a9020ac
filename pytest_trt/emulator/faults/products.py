"""Faults of convolutions and matrix products: dropped channels, swapped pads, lost bias, wrong scale.

Each adds the *difference* between the wrong and the right sum to the value before rounding, so that elements which the
fault does not touch keep their bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_trt.emulator.faults.linear import linear_of, output_of, store, windows
from pytest_trt.emulator.faults.registry import fault


@fault("reduction")
def last_input_channel_dropped(site: Any) -> None:
    """Leave the last input channel of each group, or the last term of a matrix product, out of the sum."""
    linear = linear_of(site)
    if linear is None:
        return
    name, exact = output_of(site)
    groups = int(linear.attributes.get("group", 1))
    position = np.arange(linear.reduction) % (linear.reduction // groups)
    dropped = position == linear.reduction // groups - 1
    store(site, name, exact - linear.without_channels(dropped).product())


@fault("geometry", mutants="M10")
def pads_swapped(site: Any) -> None:
    """Exchange the pads at the beginning and the end of each axis, in convolutions and pools."""
    if site.kind != "node" or "pads" not in site.attributes:
        return
    pads = site.attributes["pads"]
    half = len(pads) // 2
    swapped = [*pads[half:], *pads[:half]]
    if swapped == list(pads):
        return
    linear = linear_of(site)
    if linear is not None:
        name, exact = output_of(site)
        store(site, name, exact + linear.with_pads(swapped).product() - linear.product())
    elif site.op_type in ("MaxPool", "AveragePool") and not site.attributes.get("ceil_mode"):
        _pool(site, swapped)


def _pool(site: Any, pads: list[int]) -> None:
    name = next(iter(site.outputs))
    x = next(iter(site.inputs.values())).astype(np.float64)
    attributes = {**site.attributes, "pads": pads}
    axes = tuple(range(-len(attributes["kernel_shape"]), 0))
    if site.op_type == "MaxPool":
        store(site, name, windows(x, attributes, -np.inf).max(axis=axes))
        return
    total = windows(x, attributes).sum(axis=axes)
    if attributes.get("count_include_pad"):
        store(site, name, total / np.prod(attributes["kernel_shape"]))
    else:
        store(site, name, total / windows(np.ones_like(x), attributes).sum(axis=axes))


@fault("epilogue")
def bias_omitted_on_channel_tail(site: Any) -> None:
    """Forget the bias of the output channels behind the last multiple of 8."""
    linear = linear_of(site)
    if linear is None or linear.bias is None:
        return
    name, exact = output_of(site)
    channels = exact.shape[linear.channel_axis]
    tail = np.arange(channels) >= channels // 8 * 8
    bias = np.broadcast_to(linear.spread(linear.bias, exact.ndim), exact.shape)
    where = linear.spread(tail.astype(np.float64), exact.ndim)
    store(site, name, exact - bias * where)


@fault("quant", "int8", "M17")
def int8_scale_of_neighbour_channel(site: Any) -> None:
    """Take each channel's weight scale from the channel before it; only where scales are one a channel."""
    linear = linear_of(site)
    if linear is None or linear.scale.ndim != 1:
        return
    name, exact = output_of(site)
    right = linear.spread(linear.scale, exact.ndim)
    wrong = linear.spread(np.roll(linear.scale, 1), exact.ndim)
    bias = 0.0 if linear.bias is None else linear.spread(linear.bias, exact.ndim)
    store(site, name, (exact - bias) * (wrong / right) + bias)
