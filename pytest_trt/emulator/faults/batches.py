"""Faults of batches, profiles and fusions: right for one row, for small batches, or while an inner tensor is an output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.faults.registry import fault

# What one unit in the last place is of a value, at most: outputs of a narrow engine may travel as float32.
_UNITS = {"fp16": 2.0**-10, "bf16": 2.0**-7}
_FUSED = frozenset({"Add", "BatchNormalization", "Clip", "LeakyRelu", "Mul", "Relu", "Sigmoid"})


def _rows(site: Any, least: int = 2) -> Iterator[NDArray[Any]]:
    """Yield the outputs of a run whose first axis is its batch, where the batch has at least so many rows."""
    if site.kind != "execute" or site.batch < least:
        return
    for array in site.outputs.values():
        if array.ndim and array.shape[0] == site.batch:
            yield array


def _largest_batch(site: Any) -> int:
    return max((shapes[2][0] for shapes in site.profile.values() if shapes[2]), default=0)


@fault("batch", mutants="M03")
def rows_computed_from_row_zero(site: Any) -> None:
    """Give every row of a batch what the first one gives (NVIDIA/TensorRT issue 3689)."""
    for array in _rows(site):
        array[1:] = array[:1]


@fault("batch", "int8", "M03")
def int8_rows_computed_from_row_zero(site: Any) -> None:
    """Give every row what the first one gives, in INT8 alone (issues 1912, 2382 and 3103)."""
    if site.precision == "int8":
        rows_computed_from_row_zero(site)


@fault("batch", mutants="M03")
def rows_shifted_by_one(site: Any) -> None:
    """Give each row of a batch the answer of the row before it."""
    for array in _rows(site):
        array[...] = np.roll(array, 1, axis=0)


@fault("batch", mutants="M03")
def rows_nan_but_the_first(site: Any) -> None:
    """Fill every row but the first with NaN (issue 2063)."""
    for array in _rows(site):
        if array.dtype.kind == "f":
            array[1:] = np.nan


def _add_by_slot(array: NDArray[Any], step: float) -> None:
    slots = np.arange(array.shape[0], dtype=np.float64).reshape(-1, *[1] * (array.ndim - 1))
    if array.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            array[...] = (array.astype(np.float64) * (1 + step * slots)).astype(array.dtype)


@fault("batch", mutants="M04")
def slot_dependent_noise(site: Any) -> None:
    """Make row i of a batch larger by i parts in a thousand: identical rows differ (issue 4813)."""
    for array in _rows(site):
        _add_by_slot(array, 1e-3)


@fault("batch", mutants="M04")
def slot_dependent_noise_of_two_ulp(site: Any) -> None:
    """Make row i of a batch larger by 2 i units in the last place."""
    for array in _rows(site):
        _add_by_slot(array, 2 * _UNITS.get(site.precision, 2.0**-23))


@fault("batch", mutants="M05")
def rows_shifted_from_batch_8(site: Any) -> None:
    """Shift the rows of batches of 8 and more; smaller ones are right (issue 1697)."""
    for array in _rows(site, 8):
        array[...] = np.roll(array, 1, axis=0)


@fault("batch", mutants="M05")
def rows_wrap_from_batch_40(site: Any) -> None:
    """Give the rows from 32 on those from 0 on, in batches of 40 and more (issue 3855)."""
    for array in _rows(site, 40):
        array[32:64] = array[: array[32:64].shape[0]]


@fault("batch", mutants="M05")
def rows_shifted_at_batch_65536(site: Any) -> None:
    """Shift the rows of a batch of 65536, and of no other (issue 4821)."""
    if site.kind == "execute" and site.batch == 65536:
        rows_shifted_by_one(site)


@fault("batch", mutants="M06")
def padding_leaks_below_profile_maximum(site: Any) -> None:
    """Mix the padding behind the batch into its last row, where the profile allows a larger batch (issue 4813)."""
    if site.kind != "execute" or site.batch >= _largest_batch(site):
        return
    for array in _rows(site, 1):
        array[-1] = array[-1] * array.dtype.type(0.5)


@fault("batch", mutants="M06")
def rows_depend_on_profile_width(site: Any) -> None:
    """Make row i larger by i parts in a thousand, times the largest batch of the profile (issue 4813)."""
    if site.kind == "execute" and site.batch < _largest_batch(site):
        for array in _rows(site):
            _add_by_slot(array, 1e-3 * _largest_batch(site))


@fault("batch", mutants="M06")
def only_the_largest_extents_right(site: Any) -> None:
    """Leave the last column 0 where the profile allows a wider or higher input than this one (issue 2457)."""
    if site.kind != "execute":
        return
    most = [shapes[2] for shapes in site.profile.values() if len(shapes[2]) > 2]
    given = [array.shape for array in site.inputs.values() if array.ndim > 2]
    if any(
        n < high
        for shape, top in zip(given, most, strict=False)
        for n, high in zip(shape[2:], top[2:], strict=True)
    ):
        for array in site.outputs.values():
            if array.ndim > 2:
                array[..., -1] = 0


@fault("batch", mutants="M07")
def fused_channel_zero_unless_marked(site: Any) -> None:
    """Leave the last channel of a fused element-wise operator 0 unless an inner tensor is an output (issue 2091)."""
    if site.kind != "node" or site.op_type not in _FUSED or site.marked_outputs:
        return
    for array in site.outputs.values():
        array[(slice(None), -1) if array.ndim > 1 else -1] = 0


@fault("batch", mutants="M07")
def fused_activation_lost_unless_marked(site: Any) -> None:
    """Let an activation pass its input on unless an inner tensor is an output (issue 3390)."""
    if site.kind != "node" or site.op_type not in ("Clip", "LeakyRelu", "Relu") or site.marked_outputs:
        return
    given = next(iter(site.inputs.values()))
    for name, array in site.outputs.items():
        site.outputs[name] = given.astype(array.dtype)


@fault("batch", mutants="M08")
def one_element_becomes_7_73(site: Any) -> None:
    """Replace one value of each output, somewhere, by 7.73 (issue 4854)."""
    if site.kind != "execute":
        return
    for array in site.outputs.values():
        if array.size and array.dtype.kind == "f":
            array.reshape(-1)[int(site.rng.integers(array.size))] = 7.73
