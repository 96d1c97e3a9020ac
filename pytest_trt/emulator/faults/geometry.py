"""Faults of addresses: pads, strides, dilations, layouts and groups of convolutions, and pads of pools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.faults.linear import (
    Linear,
    change,
    change_weights,
    convolution,
    convolution_of,
    linear_of,
    store,
)
from pytest_trt.emulator.faults.registry import fault
from pytest_trt.emulator.faults.windows import pool

Float64 = NDArray[np.float64]


def _halves(linear: Linear) -> tuple[list[int], list[int]]:
    pads = list(linear.attributes["pads"])
    return pads[: len(pads) // 2], pads[len(pads) // 2 :]


def _move(site: Any, make: Callable[[list[int], list[int]], Sequence[int] | None]) -> None:
    """Let each axis begin with other pads; the ends follow, so that the output keeps its shape."""
    linear = convolution_of(site)
    if linear is None:
        return
    begins, ends = _halves(linear)
    moved = make(begins, ends)
    if moved is not None and list(moved) != begins:
        rest = [b + e - m for b, e, m in zip(begins, ends, moved, strict=True)]
        change(site, linear, linear.with_pads([*moved, *rest]))


def _step(site: Any, key: str, make: Callable[[list[int]], Sequence[int]]) -> None:
    """Let a convolution take other strides or dilations; the pads at the end follow, so that the output keeps its shape."""
    linear = convolution_of(site)
    if linear is None or linear.op_type != "Conv":
        return
    old = list(linear.attributes[key])
    new = list(make(old))
    if new == old:
        return
    attributes = {**linear.attributes, key: new}
    begins, _ = _halves(linear)
    spots = zip(
        next(iter(site.outputs.values())).shape[2:],
        attributes["strides"],
        attributes["dilations"],
        attributes["kernel_shape"],
        linear.x.shape[2:],
        begins,
        strict=True,
    )
    ends = [(out - 1) * s + d * (k - 1) + 1 - n - b for out, s, d, k, n, b in spots]
    change(site, linear, replace(linear, attributes={**attributes, "pads": [*begins, *ends]}))


def _swap_last(values: list[int]) -> list[int]:
    return [*values[:-2], *values[:-3:-1]]


@fault("geometry", mutants="M10")
def pad_off_by_one(site: Any) -> None:
    """Begin every axis of a convolution with one pad too many: all windows read one pixel too early."""
    _move(site, lambda begins, ends: [b + 1 for b in begins])


@fault("geometry", mutants="M10")
def pad_off_by_one_w_only(site: Any) -> None:
    """Begin the last axis of a convolution with one pad too many."""
    _move(site, lambda begins, ends: [*begins[:-1], begins[-1] + 1])


@fault("geometry", mutants="M10")
def pad_asym_ignored(site: Any) -> None:
    """Take asymmetric pads for symmetric ones of the same sum: half at each side, the odd one where it was not."""

    def even(begins: list[int], ends: list[int]) -> list[int]:
        return [
            b if b == e else (b + e) // 2 if (b + e) // 2 != b else (b + e + 1) // 2
            for b, e in zip(begins, ends, strict=True)
        ]

    _move(site, even)


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
        change(site, linear, linear.with_pads(swapped))
    elif site.op_type in ("MaxPool", "AveragePool") and not site.attributes.get("ceil_mode"):
        x = next(iter(site.inputs.values())).astype(np.float64)
        wrong = pool(site.op_type, x, {**site.attributes, "pads": swapped})
        store(site, next(iter(site.outputs)), wrong)


@fault("geometry", mutants="M10")
def pad_hw_swapped(site: Any) -> None:
    """Exchange the pads of the last two axes of a convolution, as far as the output keeps its shape."""
    _move(site, lambda begins, ends: _swap_last(begins) if len(begins) > 1 else None)


@fault("geometry", mutants="M10")
def pad_value_one(site: Any) -> None:
    """Read ones, not zeros, in the pads of a convolution."""
    _fill(site, 1.0)


@fault("geometry", mutants="M10")
def pad_replicate(site: Any) -> None:
    """Read the nearest pixel, not zero, in the pads of a convolution."""
    _fill(site, "edge")


def _fill(site: Any, fill: float | str) -> None:
    linear = convolution_of(site)
    if linear is not None and linear.op_type == "Conv" and any(pad > 0 for pad in linear.attributes["pads"]):
        change(site, linear, convolution(linear.x, linear.w, linear.attributes, fill))


@fault("geometry", mutants="M10")
def dilation_ignored(site: Any) -> None:
    """Compute a dilated convolution with its taps side by side."""
    _step(site, "dilations", lambda old: [1] * len(old))


@fault("geometry", mutants="M10")
def dilation_hw_swapped(site: Any) -> None:
    """Exchange the dilations of the last two axes."""
    _step(site, "dilations", _swap_last)


@fault("geometry", mutants="M10")
def stride_hw_swapped(site: Any) -> None:
    """Exchange the strides of the last two axes; what is read behind the input is zero."""
    _step(site, "strides", _swap_last)


def _turn(linear: Linear, make: Callable[[Float64], Float64]) -> Float64 | None:
    return make(linear.w) if linear.is_convolution else None


@fault("geometry", mutants="M09")
def kernel_flip_180(site: Any) -> None:
    """Convolve in the mathematical sense: each kernel is turned by 180 degrees."""
    change_weights(
        site, lambda linear: _turn(linear, lambda w: np.flip(w, axis=tuple(range(2, linear.w.ndim))))
    )


@fault("geometry", mutants="M09")
def kernel_transposed(site: Any) -> None:
    """Exchange rows and columns of square kernels."""

    def transpose(linear: Linear) -> Float64 | None:
        square = linear.is_convolution and linear.w.ndim > 3 and linear.w.shape[-1] == linear.w.shape[-2]
        return np.swapaxes(linear.w, -1, -2) if square else None

    change_weights(site, transpose)


@fault("geometry", mutants="M09")
def weight_layout_ohwi(site: Any) -> None:
    """Read weights that lie channels first as if they lay channels last."""
    change_weights(site, lambda linear: _turn(linear, _as_channels_last))


def _as_channels_last(values: NDArray[Any]) -> NDArray[Any]:
    lying = values.reshape(values.shape[0], *values.shape[2:], values.shape[1])
    return np.moveaxis(lying, -1, 1)


@fault("geometry", mutants="M09")
def input_nhwc_as_nchw(site: Any) -> None:
    """Read an input that lies channels first as if it lay channels last."""
    _read(site, _as_channels_last)


@fault("geometry", mutants="M10")
def input_hw_transposed(site: Any) -> None:
    """Exchange rows and columns of a square input."""
    _read(
        site,
        lambda x: np.swapaxes(x, -1, -2) if x.ndim > 3 and x.shape[-1] == x.shape[-2] else x,
    )


@fault("geometry", mutants="M06")
def wrong_profile_row_pitch(site: Any) -> None:
    """Read the rows of each item with the pitch of a wider profile: one pixel more than they have.

    Where the pixels of an item end, its first ones are read again.
    """

    def read(x: Float64) -> Float64:
        width = x.shape[-1]
        flat = x.reshape(x.shape[0], -1)
        places = np.arange(flat.shape[1])
        return flat[:, (places + places // width) % flat.shape[1]].reshape(x.shape)

    _read(site, read)


def _read(site: Any, make: Callable[[Float64], Float64]) -> None:
    linear = convolution_of(site)
    if linear is not None:
        change(site, linear, replace(linear, x=np.ascontiguousarray(make(linear.x))))


@fault("geometry", mutants="M09")
def output_nhwc_as_nchw(site: Any) -> None:
    """Write the output of a convolution channels last, for a reader that takes it for channels first."""
    if site.kind != "node" or site.op_type not in ("Conv", "ConvTranspose"):
        return
    name, stored = next(iter(site.outputs.items()))
    site.outputs[name] = np.moveaxis(stored, 1, -1).reshape(stored.shape)


@fault("geometry", mutants="M09")
def group_mapping_shifted(site: Any) -> None:
    """Let each group of a convolution read the input channels of the next group."""
    linear = convolution_of(site)
    if linear is not None and linear.groups > 1:
        shifted = np.roll(linear.x, -linear.x.shape[1] // linear.groups, axis=1)
        change(site, linear, replace(linear, x=shifted))


@fault("geometry", mutants="M09")
def group_weights_neighbour(site: Any) -> None:
    """Let each group of a convolution use the weights of the next group."""

    def roll(linear: Linear) -> Float64 | None:
        return np.roll(linear.w, -linear.w.shape[0] // linear.groups, axis=0) if linear.groups > 1 else None

    change_weights(site, roll)
