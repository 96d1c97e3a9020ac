"""Elements of an output that a fault picks: tiles of the matrix product behind it, single elements, tails."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
TILE = 16


def channel_axis(rank: int) -> int:
    """Return the axis of channels of an output of this rank: the second of images, else the last."""
    return 1 if rank >= 3 else rank - 1


def as_matrix(array: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return an output as the matrix that a kernel writes: a row an output position, a column a channel."""
    if array.ndim == 0:
        return array.reshape(1, 1)
    return np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])


def from_matrix(matrix: NDArray[Any], like: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return such a matrix in the shape of an output."""
    if like.ndim == 0:
        return matrix.reshape(())
    turned = np.moveaxis(like, axis, -1).shape
    return np.moveaxis(matrix.reshape(turned), -1, axis)


def pick_tile(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, slice]:
    """Return the rows and columns of one tile of 16 x 16, whole or cut off by the end, of a matrix."""
    row = TILE * int(rng.integers(-(-shape[0] // TILE)))
    column = TILE * int(rng.integers(-(-shape[1] // TILE)))
    return slice(row, min(row + TILE, shape[0])), slice(column, min(column + TILE, shape[1]))


def pick_element(where: Mask, rng: np.random.Generator) -> int | None:
    """Return the flat index of one of the elements `where`, or None where there is none."""
    found = np.flatnonzero(where)
    return int(found[rng.integers(found.size)]) if found.size else None


def differ(one: NDArray[Any], other: NDArray[Any]) -> Mask:
    """Return where two arrays differ, NaN being equal to NaN."""
    different = one != other
    if one.dtype.kind == "f":
        different &= ~(np.isnan(one) & np.isnan(other))
    return np.asarray(different)
