"""Roundings that no honest kernel does: toward zero, away on ties, twice, to a number of bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def keep_bits(values: Float64, bits: int, lowest: int = -1074) -> Float64:
    """Return values rounded to a number of significant bits, ties to even, on a grid no finer than 2**lowest."""
    _, exponent = np.frexp(values)
    spacing = np.maximum(exponent - bits, lowest)
    with np.errstate(invalid="ignore", over="ignore"):
        kept: Float64 = np.ldexp(np.rint(np.ldexp(values, -spacing)), spacing)
    return np.where(np.isfinite(values), kept, values)


def cut(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Return float32 values truncated to a number of significant bits."""
    mask = np.uint32(0xFFFFFFFF) << np.uint32(24 - bits)
    found = (np.ascontiguousarray(values, np.float32).view(np.uint32) & mask).view(np.float32)
    return np.where(np.isfinite(values), found, values)


# Significant bits, and the exponent of the finest spacing.
_SHAPE = {"fp16": (11, -24), "bf16": (8, -133)}


def halfway_rounded(exact: Float64, grid: str) -> Float64:
    """Return values rounded to one bit more than a 16-bit type has."""
    bits, lowest = _SHAPE[grid]
    return keep_bits(exact, bits + 1, lowest - 1)


def away(stored: NDArray[Any], grid: str) -> Float64:
    """Return the next number of a 16-bit type in modulus, as float64."""
    if grid == "fp16":
        bits = np.ascontiguousarray(stored, np.float16).view(np.uint16)
        return np.asarray((bits + np.uint16(1)).view(np.float16), np.float64)
    bits32 = np.ascontiguousarray(stored, np.float32).view(np.uint32)
    return np.asarray((bits32 + np.uint32(0x10000)).view(np.float32), np.float64)


def toward_zero(stored: NDArray[Any], exact: Float64, grid: str) -> NDArray[Any]:
    """Return values of a 16-bit type where they lie, the next smaller in modulus where they were rounded up."""
    over = np.abs(stored.astype(np.float64)) > np.abs(exact)
    if grid == "fp16":
        bits = np.ascontiguousarray(stored, np.float16).view(np.uint16)
        return np.where(over, (bits - np.uint16(1)).view(np.float16), stored)
    bits32 = np.ascontiguousarray(stored, np.float32).view(np.uint32)
    return np.where(over, (bits32 - np.uint32(0x10000)).view(np.float32), stored)
