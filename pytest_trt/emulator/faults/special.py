"""Faults of values that are not finite, or near the end of a format."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.faults.linear import LINEAR
from pytest_trt.emulator.faults.registry import fault

_BF16_LARGEST = 3.3895313892515355e38


def _stored(site: Any) -> tuple[str, NDArray[Any]] | None:
    """Return the floating output of a linear node."""
    if site.kind != "node" or site.op_type not in LINEAR:
        return None
    name, stored = next(iter(site.outputs.items()))
    return (name, stored) if stored.dtype.kind == "f" else None


@fault("special", "fp32 tf32 fp16 fp16acc bf16 fp8", "M20")
def nan_swallowed_to_zero(site: Any) -> None:
    """Give 0 where a convolution or matrix product is NaN."""
    if (found := _stored(site)) is not None:
        name, stored = found
        site.outputs[name] = np.where(np.isnan(stored), stored.dtype.type(0), stored)


# A partial sum in 16 bits may overflow to both infinities, whose sum is NaN: `fp16acc` does not forbid it.
@fault("special", "fp32 tf32 fp16 bf16 fp8", "M15")
def inf_becomes_nan(site: Any) -> None:
    """Give NaN where a convolution or matrix product is infinite."""
    if (found := _stored(site)) is not None:
        name, stored = found
        site.outputs[name] = np.where(np.isinf(stored), stored.dtype.type(np.nan), stored)


@fault("special", "fp32 tf32 fp16 fp16acc bf16 fp8", "M15")
def inf_becomes_max_finite(site: Any) -> None:
    """Give the largest finite number where a convolution or matrix product is infinite."""
    if (found := _stored(site)) is not None:
        name, stored = found
        largest = _BF16_LARGEST if site.precision == "bf16" else np.finfo(stored.dtype).max
        end = np.copysign(stored.dtype.type(largest), stored)
        site.outputs[name] = np.where(np.isinf(stored), end, stored)
