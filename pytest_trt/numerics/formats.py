"""Number formats and correct rounding to them.

Values travel as float64, which holds every fp32, TF32, fp16, bf16 and int8 value exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.errors import UsageError

Array = NDArray[Any]
Float64 = NDArray[np.float64]

U32 = 2.0**-24
"""Unit roundoff of IEEE binary32 (IEEE 754-2019, table 3.5)."""


@dataclass(frozen=True)
class Format:
    """A binary floating-point format.

    Attributes
    ----------
    name : str
    bits : int
        Precision in bits, the hidden one included.
    emin : int
        Exponent of the smallest normal number.
    largest : float
        Largest finite value.
    saturates : bool
        What lies beyond becomes the largest value, and not infinite.
    """

    name: str
    bits: int
    emin: int
    largest: float
    saturates: bool = False

    @property
    def roundoff(self) -> float:
        """Unit roundoff, 2**-bits."""
        return 2.0**-self.bits

    @property
    def quantum(self) -> float:
        """Spacing of the subnormal numbers."""
        return 2.0 ** (self.emin - self.bits + 1)


# Sources: IEEE 754-2019 table 3.5 (fp32, fp16); NVIDIA Ampere whitepaper (TF32: 8 bits of exponent, 10 of fraction);
# bf16 is binary32 with the fraction cut to 7 bits; e4m3: Micikevicius et al., FP8 Formats for Deep Learning, arXiv 2209.05433.
FORMATS = {
    "fp32": Format("fp32", 24, -126, float(np.finfo(np.float32).max)),
    "tf32": Format("tf32", 11, -126, 2.0**128 * (1 - 2.0**-11)),
    "fp16": Format("fp16", 11, -14, 65504.0),
    "bf16": Format("bf16", 8, -126, 2.0**128 * (1 - 2.0**-8)),
    "e4m3": Format("e4m3", 4, -6, 448.0, saturates=True),
}


def round_to(values: Float64, name: str) -> Float64:
    """Return the values rounded to a format, to nearest with ties to even, as float64.

    Parameters
    ----------
    values : ndarray of float64, any shape
        NaN and infinities pass through.
    name : str
        A key of `FORMATS`, or `fp64` for no rounding.

    Raises
    ------
    UsageError
        The format is unknown.
    """
    if name == "fp64":
        return values
    if name not in FORMATS:
        raise UsageError(f"no number format {name!r}", why=f"known: {', '.join(FORMATS)}")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if values.size <= _CHUNK or not values.flags.c_contiguous:
            return _rounded(values, name)
        return _in_chunks(values, name)


# Elements that are rounded at once: temporaries of large arrays cost more than the arithmetic.
_CHUNK = 3 * 2**12


def _in_chunks(values: Float64, name: str) -> Float64:
    """Return large arrays rounded; the array itself where rounding changes nothing."""
    flat = values.reshape(-1)
    made: Float64 | None = None
    for start in range(0, flat.size, _CHUNK):
        given = flat[start : start + _CHUNK]
        part = _rounded(given, name)
        if made is None and not np.array_equal(part, given):
            made = np.empty_like(flat)
            made[:start] = flat[:start]
        if made is not None:
            made[start : start + _CHUNK] = part
    return values if made is None else made.reshape(values.shape)


def _rounded(values: Float64, name: str) -> Float64:
    if name == "fp32":
        return values.astype(np.float32).astype(np.float64)
    form = FORMATS[name]
    rounded = _cut(values, 53 - form.bits)
    size = np.abs(rounded)
    if not (size <= form.largest).all():
        # Infinite, NaN, or beyond the largest number.
        beyond = form.largest if form.saturates else np.inf
        rounded = np.where(size > form.largest, np.copysign(beyond, values), rounded)
        rounded = np.where(np.isnan(values), values, rounded)
    small = size < 2.0**form.emin
    if small.any():
        # Subnormal numbers have one spacing.
        few = np.asarray(values)[small]
        rounded = np.asarray(rounded)
        rounded[small] = np.rint(few / form.quantum) * form.quantum
    return rounded


def _cut(values: Float64, bits: int) -> Float64:
    """Return finite float64 values rounded to nearest, ties to even, at the last bit but `bits`; a new array."""
    word = np.ascontiguousarray(values).view(np.int64).reshape(np.shape(values))
    last = (word >> bits) & 1
    last += word
    last += (1 << (bits - 1)) - 1
    last &= -(1 << bits)
    found: Float64 = last.view(np.float64)
    return found


def spacing(values: Float64, name: str) -> Float64:
    """Return the distance between neighbours of the format at each finite value."""
    form = FORMATS[name]
    _, exponent = np.frexp(values)
    return np.asarray(np.ldexp(1.0, np.maximum(exponent - form.bits, form.emin - form.bits + 1)))


def lsb_exponent(values: Array) -> int | None:
    """Return the largest q such that every value is a whole multiple of 2**q, or None if all are zero.

    Non-finite values are passed over.
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    flat = flat[(flat != 0) & np.isfinite(flat)]
    if flat.size == 0:
        return None
    fraction, exponent = np.frexp(flat)
    whole = np.ldexp(fraction, 53).astype(np.int64)
    lowest = np.bitwise_and(whole, -whole)
    _, trailing = np.frexp(lowest.astype(np.float64))
    return int(np.min(exponent - 53 + trailing - 1))


def is_representable(values: Array, name: str) -> bool:
    """Tell whether every finite value is a number of the format."""
    wide = np.asarray(values, dtype=np.float64)
    return bool(np.array_equal(round_to(wide, name), wide, equal_nan=True))
