"""Inputs and outputs of an engine by tensor name, and the judgement of arrays that are given for them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.errors import InputError, ProfileError

Shape = tuple[int, ...]
_DTYPES: dict[str, np.dtype[Any]] = {
    "FLOAT": np.dtype(np.float32),
    "HALF": np.dtype(np.float16),
    "INT8": np.dtype(np.int8),
    "UINT8": np.dtype(np.uint8),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "BOOL": np.dtype(np.bool_),
    "BF16": np.dtype(np.float32),
}
# numpy has no bfloat16: the caller sees float32, the engine the upper half of it.
_WIRE = {"BF16": np.dtype(np.uint16)}


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of an engine.

    Attributes
    ----------
    name : str
        Tensor name.
    is_input : bool
        Input or output.
    dtype : numpy.dtype
        Element type for the caller; float32 for bfloat16.
    shape : tuple of int
        As declared, -1 where dynamic.
    profile : tuple of three shapes, or None
        (min, opt, max) of the context's optimization profile; None for outputs.
    on_host : bool
        The engine reads it from host memory (a shape tensor).
    wire : numpy.dtype or None
        Type in the engine's memory where it is another one than `dtype`.
    """

    name: str
    is_input: bool
    dtype: np.dtype[Any]
    shape: Shape
    profile: tuple[Shape, Shape, Shape] | None = None
    on_host: bool = False
    wire: np.dtype[Any] | None = None

    @property
    def stored(self) -> np.dtype[Any]:
        """Type in the engine's memory."""
        return self.dtype if self.wire is None else self.wire

    def nbytes(self, shape: Shape) -> int:
        """Return the bytes of a shape."""
        return math.prod(shape) * self.stored.itemsize

    def to_engine(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the array as the engine holds it; bfloat16 is rounded to nearest, ties to even."""
        if self.wire is None:
            return array
        bits = np.asarray(array, order="C").view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16)

    def from_engine(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return an array of the engine as the caller sees it."""
        return array if self.wire is None else (array.astype(np.uint32) << 16).view(np.float32)


def tensor_infos(trt: Any, engine: Any, profile_index: int = 0) -> tuple[TensorInfo, ...]:
    """Return inputs and outputs of an engine, in its order.

    Raises
    ------
    InputError
        A type has no numpy counterpart (8-bit and 4-bit floats), or there is no such profile.
    """
    count = int(engine.num_optimization_profiles)
    if not 0 <= profile_index < count:
        raise ProfileError(f"there is no optimization profile {profile_index}", why=f"the engine has {count}")
    infos = []
    for index in range(engine.num_io_tensors):
        name = str(engine.get_tensor_name(index))
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        kind = engine.get_tensor_dtype(name).name
        if kind not in _DTYPES:
            raise InputError(
                f"{'input' if is_input else 'output'} {name!r} is {kind}, which numpy has no type for",
                mend="cast it in the model: FLOAT, HALF and integer types can be fed and read",
            )
        on_host = engine.get_tensor_location(name) == trt.TensorLocation.HOST
        shape = _shape(engine.get_tensor_shape(name))
        profile = None
        if is_input and not on_host:
            low, typical, high = (
                _shape(dims) for dims in engine.get_tensor_profile_shape(name, profile_index)
            )
            profile = (low, typical, high)
        infos.append(TensorInfo(name, is_input, _DTYPES[kind], shape, profile, on_host, _WIRE.get(kind)))
    return tuple(infos)


def _shape(dims: Any) -> Shape:
    return tuple(int(extent) for extent in dims)


def check_inputs(
    infos: Mapping[str, TensorInfo], given: Mapping[str, npt.ArrayLike]
) -> dict[str, np.ndarray[Any, Any]]:
    """Return the inputs as contiguous arrays in the engine's order.

    Raises
    ------
    InputError
        An unknown name, a missing input, a wrong number of dimensions, fixed extent or dtype (none is
        converted).
    ProfileError
        An extent lies outside the profile.
    """
    for name in given:
        if name not in infos:
            near = difflib.get_close_matches(str(name), infos, n=1)
            raise InputError(
                f"there is no input {name!r}" + (f": did you mean {near[0]!r}?" if near else ""),
                why=f"inputs: {_list(infos)}",
            )
    for name in infos:
        if name not in given:
            raise InputError(f"input {name!r} is missing", why=f"inputs: {_list(infos)}")
    return {name: _check(info, np.asarray(given[name])) for name, info in infos.items()}


def _list(infos: Mapping[str, TensorInfo]) -> str:
    return ", ".join(f"{name} {info.dtype} {info.shape}" for name, info in infos.items())


def _check(info: TensorInfo, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype != info.dtype:
        raise InputError(
            f"input {info.name!r} has dtype {array.dtype}, the engine takes {info.dtype}",
            why="nothing is converted silently",
            mend=f"array.astype(numpy.{info.dtype})",
        )
    if array.ndim != len(info.shape):
        raise InputError(
            f"input {info.name!r} has shape {array.shape}, the engine takes {len(info.shape)} dimensions",
            why=f"declared: {info.shape}, -1 is dynamic",
        )
    for axis, (extent, declared) in enumerate(zip(array.shape, info.shape, strict=True)):
        if declared not in (-1, extent):
            raise InputError(
                f"input {info.name!r} has shape {array.shape}, dimension {axis} must be {declared}",
                why=f"declared: {info.shape}, -1 is dynamic",
            )
    if info.profile is not None:
        low, _, high = info.profile
        if any(not a <= n <= b for a, n, b in zip(low, array.shape, high, strict=True)):
            raise ProfileError(
                f"input {info.name!r} has shape {array.shape}, outside the profile {low} to {high}",
                mend="build with a profile that includes it, or give another shape",
            )
    return np.asarray(array, order="C")  # `ascontiguousarray` would give a scalar a dimension
