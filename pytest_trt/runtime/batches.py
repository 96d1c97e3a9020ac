"""Batches of calibration data, read one at a time and held against the first one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.errors import CalibrationError

Array = npt.NDArray[Any]
Batch = Mapping[str, Array]
# What a network reads: name to shape, -1 for any extent, and the name of its type.
Inputs = Mapping[str, tuple[tuple[int, ...], str]]

# What an input of a network can be; other types would be read as though they were these.
_INPUT_TYPES = frozenset("float32 float16 bfloat16 int64 int32 int8 uint8 bool".split())


class Batches:
    """An iterable of batches as a calibration needs them: at least one, all of the same shapes and types.

    Parameters
    ----------
    batches : iterable of mapping of str to ndarray
        Read lazily and once.
    inputs : mapping of str to (shape, dtype), optional
        What the network reads; other names do not matter.
    has_int64 : bool
        False for TensorRT 8.6, whose parser makes INT32 of an INT64 input.

    Attributes
    ----------
    first : mapping of str to ndarray, or None
        The first batch, once it was looked at.
    total : int or None
        How many there are, where that is known.
    """

    def __init__(self, batches: Iterable[Batch], inputs: Inputs | None, has_int64: bool = True) -> None:
        self._inputs = dict(inputs or {})
        self._types = _INPUT_TYPES if has_int64 else _INPUT_TYPES - {"int64"}
        if not has_int64:
            for name, (shape, kind) in self._inputs.items():
                self._inputs[name] = (shape, "int32" if kind == "int64" else kind)
        self._rest = iter(batches)
        self._number = 0
        self._waiting: Batch | None = None
        self.first: Batch | None = None
        self.total: int | None = None
        with suppress(TypeError):
            self.total = len(batches)  # type: ignore[arg-type]

    def look(self) -> None:
        """Read the first batch, which `take` then gives.

        Raises
        ------
        CalibrationError
            There is none, or it cannot be used.
        """
        self._waiting = self._read()

    def take(self) -> Batch | None:
        """Return the next batch, None at the end.

        Raises
        ------
        CalibrationError
            There is none at all, or it cannot be used.
        """
        if self._waiting is None:
            return self._read()
        batch, self._waiting = self._waiting, None
        return batch

    def _read(self) -> Batch | None:
        batch = next(self._rest, None)
        if batch is None:
            if self.first is None:
                raise CalibrationError(
                    "there is no calibration data: the batches are empty",
                    mend="give at least one {name: array}",
                )
            return None
        if not isinstance(batch, Mapping) or not batch:
            raise CalibrationError(
                f"batch {self._number} is no mapping of input name to array but {type(batch).__name__}: {batch!r:.80}",
                mend="give {name: array} for every batch",
            )
        arrays = {str(name): np.asarray(array) for name, array in batch.items()}
        for name, array in arrays.items():
            self._check(name, array)
        self._number += 1
        if self.first is None:
            self.first = arrays
        return arrays

    def _check(self, name: str, array: Array) -> None:
        where, kind = f"batch {self._number}: input {name!r}", array.dtype.name
        if name in self._inputs:
            shape, wanted = self._inputs[name]
            sizes = zip(array.shape, shape, strict=False)
            fits = array.ndim == len(shape) and all(want in (-1, got) for got, want in sizes)
            if not fits or kind != wanted:
                raise CalibrationError(
                    f"{where} is {kind} {array.shape}, and the network reads {wanted} {tuple(shape)}"
                )
        if kind not in self._types:
            good = "int32" if kind == "int64" else "float32"
            raise CalibrationError(
                f"{where} is {kind}, which no network of this TensorRT reads",
                why="its bytes would be read as numbers of another type",
                mend=f"give it the input's type, for instance array.astype(numpy.{good})",
            )
        if array.size == 0:
            raise CalibrationError(f"{where} is empty: {array.shape}")
        first = None if self.first is None else self.first.get(name)
        if first is not None and (first.shape, first.dtype) != (array.shape, array.dtype):
            raise CalibrationError(
                f"{where} is {kind} {array.shape}, and in the first batch it was {first.dtype.name} {first.shape}",
                why="a calibration has one shape for all batches",
                mend="leave out the incomplete last batch, or fill it up",
            )
