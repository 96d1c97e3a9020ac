"""Faults of memory: outputs that are not written, old, of another item or context; one weight that changed.

Stale data are those of the context's run before, where its outputs had the same shape; else a buffer of zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.faults.linear import Linear, change_weights
from pytest_trt.emulator.faults.registry import fault
from pytest_trt.emulator.faults.tiles import (
    as_matrix,
    channel_axis,
    differ,
    from_matrix,
    pick_element,
    pick_tile,
)

Array = NDArray[Any]


def _outputs(site: Any) -> list[tuple[str, Array]]:
    """Return the outputs of a run that have elements."""
    return [(n, a) for n, a in site.outputs.items() if a.size] if site.kind == "execute" else []


def _stale(site: Any, name: str, array: Array) -> Array:
    before = site.previous_outputs.get(name)
    return before if before is not None and before.shape == array.shape else np.zeros_like(array)


def _batched(site: Any) -> list[tuple[str, Array]]:
    """Return the outputs whose first axis is a batch of two or more."""
    return [(n, a) for n, a in _outputs(site) if a.ndim and site.batch >= 2 and len(a) == site.batch]


@fault("memory", mutants="M21")
def stale_output_whole(site: Any) -> None:
    """Leave the outputs as the context's run before left them, or zero, and report success."""
    for name, array in _outputs(site):
        site.outputs[name] = _stale(site, name, array).copy()


@fault("memory", mutants="M21")
def last_batch_row_stale(site: Any) -> None:
    """Leave the last row of a batch as the context's run before left it, or zero; batch 1 is not touched."""
    for name, array in _batched(site):
        array[-1] = _stale(site, name, array)[-1]


@fault("memory", mutants="M03")
def last_item_not_computed(site: Any) -> None:
    """Write zeros for the last item of a batch; batch 1 is not touched."""
    for _, array in _batched(site):
        array[-1] = 0


@fault("memory", mutants="M03 M05")
def batch_over_opt_repeats_first(site: Any) -> None:
    """Give the first item's result for the items behind the profile's optimal batch, or behind half of a smaller batch."""
    best = [shapes[1][0] for shapes in site.profile.values() if shapes[1]] if site.kind == "execute" else []
    for _, array in _batched(site):
        opt = best[0] if best and 0 < best[0] < len(array) else len(array) // 2
        array[opt:] = array[:1]


@fault("memory", mutants="M03")
def batch_items_swapped(site: Any) -> None:
    """Exchange the results of the first and the last item of a batch."""
    for _, array in _batched(site):
        array[[0, -1]] = array[[-1, 0]]


@fault("memory", mutants="M21")
def last_row_stale(site: Any) -> None:
    """Leave the last row of each image as the context's run before left it, or zero; in matrices, the last row."""
    for name, array in _outputs(site):
        if array.ndim >= 2 and array.shape[-2] > 1:
            array[..., -1, :] = _stale(site, name, array)[..., -1, :]


@fault("memory", mutants="M21")
def last_column_zero(site: Any) -> None:
    """Write zeros into the last column of each image or matrix."""
    for _, array in _outputs(site):
        if array.ndim:
            array[..., -1] = 0


@fault("memory", mutants="M21")
def channel_tail_mod8_zero(site: Any) -> None:
    """Write zeros into the channels behind the last multiple of 8."""
    for _, array in _outputs(site):
        if array.ndim >= 2:
            axis = channel_axis(array.ndim)
            np.moveaxis(array, axis, 0)[array.shape[axis] // 8 * 8 :] = 0


@fault("memory")
def tile16_from_neighbour(site: Any) -> None:
    """Write into a tile of 16 x 16 outputs what belongs 16 positions before it."""
    for name, array in _outputs(site)[:1]:
        axis = channel_axis(array.ndim) if array.ndim else 0
        matrix = as_matrix(array, axis).copy()
        tile = pick_tile(matrix.shape, site.rng)
        by = 16 if len(matrix) > 16 else 1
        matrix[tile] = np.roll(matrix, by, axis=0)[tile]
        site.outputs[name] = np.ascontiguousarray(from_matrix(matrix, array, axis))


def _elsewhere(site: Any, name: str, array: Array) -> Array:
    """Return what another context has in its output: the run before, another item, or the same one position off."""
    before = site.previous_outputs.get(name)
    if before is not None and before.shape == array.shape and differ(before, array).any():
        return np.asarray(before)
    if array.ndim and len(array) > 1:
        return np.roll(array, 1, axis=0)
    return np.roll(array.reshape(-1), 1).reshape(array.shape)


@fault("memory", mutants="M23")
def race_1pct_other_context(site: Any) -> None:
    """Write what another context computes into one element of a hundred."""
    for name, array in _outputs(site)[:1]:
        other = _elsewhere(site, name, array)
        where = site.rng.random(array.shape) < 0.01
        if not differ(array, other)[where].any():
            _put_one(site, name, array, other)
            continue
        site.outputs[name] = np.where(where, other, array)


@fault("memory", mutants="M08 M23")
def race_one_element_other_context(site: Any) -> None:
    """Write what another context computes into one element."""
    for name, array in _outputs(site)[:1]:
        _put_one(site, name, array, _elsewhere(site, name, array))


@fault("memory", mutants="M08")
def one_element_zero(site: Any) -> None:
    """Leave one element zero."""
    for name, array in _outputs(site)[:1]:
        _put_one(site, name, array, np.zeros_like(array))


@fault("memory", mutants="M08")
def one_element_neighbour(site: Any) -> None:
    """Write into one element what belongs into the one before it."""
    for name, array in _outputs(site)[:1]:
        _put_one(site, name, array, np.roll(array.reshape(-1), 1).reshape(array.shape))


def _put_one(site: Any, name: str, array: Array, other: Array) -> None:
    index = pick_element(differ(array, other), site.rng)
    if index is not None:
        changed = array.copy()
        changed.reshape(-1)[index] = other.reshape(-1)[index]
        site.outputs[name] = changed


@fault("memory")
def one_weight_sign_flipped(site: Any) -> None:
    """Flip the sign bit of one weight."""

    def flip(linear: Linear) -> Array | None:
        index = pick_element(linear.w != 0, site.rng)
        if index is None:
            return None
        weights: Array = linear.w.copy()
        weights.reshape(-1)[index] *= -1
        return weights

    change_weights(site, flip)


# The second lowest bit of each type in the layout of float32: fp16 and TF32 keep 10 bits of 23, bfloat16 7.
_LOW_BIT = {"fp32": 1, "tf32": 14, "fp16": 14, "bf16": 17}


# The weights of FP8 have no such bit.
@fault("memory", "fp32 tf32 fp16 fp16acc bf16")
def one_weight_low_bit_flipped(site: Any) -> None:
    """Flip the second lowest bit that the type has, of one weight: two units in the last place. Of integers: none."""

    def flip(linear: Linear) -> Array | None:
        bit = _LOW_BIT.get(site.precision)
        index = pick_element(linear.w != 0, site.rng)
        if bit is None or index is None:
            return None
        weights = linear.w.astype(np.float32)
        bits = weights.reshape(-1).view(np.uint32)
        bits[index] ^= np.uint32(1 << bit)
        return np.asarray(weights, np.float64)

    change_weights(site, flip)
