"""Element types of ONNX tensors: TensorRT's name for each, how values are stored, and how the emulator carries them.

Carried means: 16-bit floats travel as float32 whose values the 16-bit type has, everything else as itself. So one ONNX
Runtime kernel, the float32 one, does the arithmetic of every floating type, and rounding is a step of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

FLOAT16, BFLOAT16, FLOAT = TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT
HALVES = (FLOAT16, BFLOAT16)
EIGHT_BIT = (TensorProto.INT8, TensorProto.UINT8)

# ONNX element type to (DataType member, our short name, numpy storage); bfloat16 is stored as its 16 bits.
_ROWS: dict[int, tuple[str, str, type]] = {
    TensorProto.FLOAT: ("FLOAT", "fp32", np.float32),
    TensorProto.FLOAT16: ("HALF", "fp16", np.float16),
    TensorProto.BFLOAT16: ("BF16", "bf16", np.uint16),
    TensorProto.INT8: ("INT8", "int8", np.int8),
    TensorProto.UINT8: ("UINT8", "uint8", np.uint8),
    TensorProto.INT32: ("INT32", "int32", np.int32),
    TensorProto.INT64: ("INT64", "int64", np.int64),
    TensorProto.BOOL: ("BOOL", "bool", np.bool_),
}
_BY_MEMBER = {row[0]: elem for elem, row in _ROWS.items()}
_BY_SHORT = {row[1]: elem for elem, row in _ROWS.items()}


def is_known(elem: int) -> bool:
    """Return whether a TensorRT tensor can have this ONNX element type."""
    return elem in _ROWS


def member_of(elem: int) -> str:
    """Return the `DataType` member name; FLOAT for a type that TensorRT has not."""
    return _ROWS.get(elem, _ROWS[FLOAT])[0]


def short_of(elem: int) -> str:
    """Return `fp32`, `fp16`, `bf16`, `int8`, ...; `?` for an unknown type."""
    return _ROWS[elem][1] if elem in _ROWS else "?"


def elem_of_member(member: str) -> int:
    """Return the ONNX element type of a `DataType` member name; KeyError where there is none."""
    return _BY_MEMBER[member]


def elem_of_short(short: str) -> int:
    """Return the ONNX element type of `fp16` and the like; KeyError where there is none."""
    return _BY_SHORT[short]


def storage_of(elem: int) -> np.dtype[Any]:
    """Return the numpy type in which a buffer of this element type is laid out; float32 for a type that TensorRT has not."""
    return np.dtype(_ROWS.get(elem, _ROWS[FLOAT])[2])


def carried_elem(elem: int) -> int:
    """Return the ONNX element type in which the emulator carries it."""
    return FLOAT if elem in HALVES else elem


def bf16_bits(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return float32 values as bfloat16 bits, rounded to nearest, ties to even; NaN stays NaN."""
    # `ascontiguousarray` would give a scalar a dimension.
    bits = np.asarray(values, np.float32, order="C").view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), ((bits >> 16) | 0x40).astype(np.uint16), rounded)


def from_bf16_bits(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return bfloat16 bits as float32 values."""
    return np.asarray(np.asarray(bits).astype(np.uint32) << 16).view(np.float32)


def round_to(values: NDArray[np.float32], elem: int) -> NDArray[np.float32]:
    """Return float32 values rounded to a 16-bit type: to nearest, ties to even, overflow to infinity."""
    if elem == FLOAT16:
        with np.errstate(over="ignore"):
            return values.astype(np.float16).astype(np.float32)
    return from_bf16_bits(bf16_bits(values))


def round_tf32(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32 values rounded to 10 mantissa bits, ties to even; infinities and NaN stay."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits + np.uint32(0x0FFF) + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)).view(np.float32)
    return np.where(np.isfinite(values), rounded, values)


def to_carried(stored: NDArray[Any], elem: int) -> NDArray[Any]:
    """Return a stored tensor as it is carried."""
    if elem == FLOAT16:
        return stored.astype(np.float32)
    if elem == BFLOAT16:
        return from_bf16_bits(stored)
    return stored


def to_stored(carried: NDArray[Any], elem: int) -> NDArray[Any]:
    """Return a carried tensor as it is stored; values are rounded where the type has fewer bits."""
    if elem == FLOAT16:
        with np.errstate(over="ignore"):
            return carried.astype(np.float16)
    if elem == BFLOAT16:
        return bf16_bits(carried)
    return carried


def constant_array(tensor: TensorProto) -> NDArray[Any]:
    """Return an initializer as it is carried."""
    if tensor.data_type == BFLOAT16:
        if tensor.raw_data:
            bits = np.frombuffer(tensor.raw_data, "<u2")
        else:
            bits = np.array(tensor.int32_data, np.uint16)
        return from_bf16_bits(bits).reshape(tuple(tensor.dims))
    return to_carried(numpy_helper.to_array(tensor), tensor.data_type)
