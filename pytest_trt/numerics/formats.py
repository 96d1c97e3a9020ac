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
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if name == "fp32":
            return values.astype(np.float32).astype(np.float64)
        if name == "fp16":
            return values.astype(np.float16).astype(np.float64)
        form = FORMATS.get(name)
        if form is None:
            raise UsageError(f"no number format {name!r}", why=f"known: {', '.join(FORMATS)}")
        _, exponent = np.frexp(values)
        step = np.ldexp(1.0, np.maximum(exponent - form.bits, form.emin - form.bits + 1))
        rounded = np.where(np.isfinite(values), np.rint(values / step) * step, values)
        beyond = form.largest if form.saturates else np.inf
        return np.where(np.abs(rounded) > form.largest, np.copysign(beyond, rounded), rounded)


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
