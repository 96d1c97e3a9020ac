"""Input data that make faults visible: the fourteen kinds of the batteries.

Random data hide small faults behind rounding noise; integers, one-hot and tie data turn them into wrong bits. Every kind
holds only numbers of the precision's own format, so that nothing is lost before the engine reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_trt.errors import SettingsError
from pytest_trt.numerics.formats import FORMATS, Float64, round_to
from pytest_trt.records import DATA_KINDS

# Kinds whose values do not come independently from one distribution: no statistical statement is made on them.
STRUCTURED = frozenset({"index", "impulse", "impulse_wide", "special", "int_ties"})
# Kinds that have no meaning under INT8: a NaN has no integer.
NOT_INT8 = frozenset({"special"})


@dataclass(frozen=True)
class Scale:
    """What the data generator knows about the network.

    Attributes
    ----------
    gain : float
        Largest row sum of |weights| of the operators that read the input: the output on all-ones data.
    spread : float
        Largest row norm of these weights: the output's standard deviation on unit-variance data.
    amax : float
        INT8 only: the calibrated range of the input; its scale is amax / 127.
    """

    gain: float = 1.0
    spread: float = 1.0
    amax: float = 1.0


# Half-width of an integer sum that every format can hold, and a sum that lies where the output spacing is 2
# (odd sums are then exact ties): 2**11..2**12 for fp16, 2**8..2**9 for bf16. fp32 keeps 24-bit sums below 2**24.
_EXACT_SUM = {"fp32": 2048.0, "tf32": 2048.0, "fp16": 2048.0, "bf16": 256.0}
_TIE_SUM = {"fp32": 2.0**21, "tf32": 2.0**19, "fp16": 3000.0, "bf16": 380.0}
_WIDE_BITS = {"fp32": 13, "tf32": 11, "fp16": 11, "bf16": 8}


def kinds_for(precision: str, kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds that mean something at a precision, in order."""
    return tuple(k for k in kinds if not (precision == "int8" and k in NOT_INT8))


def draw(kind: str, shape: Sequence[int], precision: str, scale: Scale, rng: np.random.Generator) -> Float64:
    """Return data of one kind.

    Parameters
    ----------
    kind : str
        A member of `records.DATA_KINDS`.
    shape : sequence of int
        The first axis is the batch.
    precision : str
        The precision under test; values are representable in it (for `int8`: on the grid amax/127 where it matters).
    rng : numpy Generator

    Returns
    -------
    float64 ndarray, shape `shape`

    Raises
    ------
    SettingsError
        The kind is unknown.
    """
    if kind not in DATA_KINDS:
        raise SettingsError(f"no data kind {kind!r}", why=f"known: {', '.join(DATA_KINDS)}")
    values = (
        _draw_int8(kind, shape, scale, rng)
        if precision == "int8"
        else _draw(kind, shape, precision, scale, rng)
    )
    return round_to(values, "fp32" if precision in ("int8", "fp32") else precision)


def _draw(kind: str, shape: Sequence[int], precision: str, scale: Scale, rng: np.random.Generator) -> Float64:
    gain = max(scale.gain, 2.0**-20)
    small = float(np.clip(np.floor(_EXACT_SUM[precision] / gain), 1, 8))
    top = 2.0 ** _WIDE_BITS[precision]
    if kind == "normal":
        return rng.standard_normal(shape)
    if kind == "uniform11":
        return rng.uniform(-1, 1, shape)
    if kind == "uniform01":
        return rng.uniform(0, 1, shape)
    if kind == "sparse":
        return np.asarray(rng.standard_normal(shape) * (rng.random(shape) < 0.1))
    if kind == "pow2":
        return np.asarray(np.ldexp(rng.choice([-1.0, 1.0], shape), rng.integers(-4, 5, shape)))
    if kind == "int_small":
        return rng.integers(-int(small), int(small) + 1, shape).astype(np.float64)
    if kind == "int_wide":
        wide = rng.integers(int(top) // 2, int(top), shape) | 1
        return np.asarray(wide * rng.choice([-1.0, 1.0], shape))
    if kind == "int_ties":
        reach = float(np.clip(np.round(_TIE_SUM[precision] / max(scale.spread, 2.0**-20)), 2, top - 1))
        return rng.integers(-int(reach), int(reach) + 1, shape).astype(np.float64)
    if kind == "index":
        return (np.arange(int(np.prod(shape)), dtype=np.float64) % min(top, 2048.0)).reshape(shape)
    if kind in ("impulse", "impulse_wide"):
        value = 1.0 if kind == "impulse" else top / 2 + 2 * float(rng.integers(0, int(top) // 4)) + 1
        return _impulses(shape, value, rng)
    if kind == "big":
        largest = FORMATS[precision].largest
        # In fp32's range a product of two inputs stays finite; fp16 is made to overflow on output.
        reach = largest / max(scale.spread, 1.0) * 1.5 if precision == "fp16" else 2.0**55 / gain
        return rng.uniform(-1, 1, shape) * min(reach, largest)
    if kind == "tiny":
        low = 2.0**-14 if precision == "fp16" else 2.0**-90
        return rng.uniform(-1, 1, shape) * (low / max(scale.spread, 2.0**-8))
    return _special(shape, rng)


def _impulses(shape: Sequence[int], value: float, rng: np.random.Generator) -> Float64:
    data = np.zeros(shape)
    flat = data.reshape(shape[0], -1)
    # One element in each batch item, and few more in large items so that every region of the output sees one.
    count = max(1, flat.shape[1] // 256)
    for row in flat:
        row[rng.choice(row.size, size=count, replace=False)] = value * rng.choice([-1.0, 1.0], count)
    return data


def _special(shape: Sequence[int], rng: np.random.Generator) -> Float64:
    data = rng.uniform(-1, 1, shape)
    flat = data.reshape(-1)
    places = rng.choice(flat.size, size=min(flat.size, 5), replace=False)
    for place, value in zip(places, (np.inf, np.nan, -np.inf, -0.0, 0.0), strict=False):
        flat[place] = value
    return data


def _draw_int8(kind: str, shape: Sequence[int], scale: Scale, rng: np.random.Generator) -> Float64:
    step = float(np.float32(scale.amax / 127.0))
    grid = {"int_small": 8, "index": 128, "int_wide": 127, "int_ties": 64}
    if kind == "int_ties":
        # Exact ties need a scale that is a power of two; elsewhere a quarter keeps every rounding decided.
        offset = 0.5 if np.frexp(step)[0] == 0.5 else 0.25
        return np.asarray((rng.integers(-grid[kind], grid[kind], shape) + offset) * step)
    if kind == "index":
        return (np.arange(int(np.prod(shape)), dtype=np.float64) % 255 - 127).reshape(shape) * step
    if kind in grid:
        return rng.integers(-grid[kind], grid[kind] + 1, shape).astype(np.float64) * step
    if kind in ("impulse", "impulse_wide"):
        return _impulses(shape, step if kind == "impulse" else 127 * step, rng)
    if kind == "sparse":
        return np.asarray(rng.uniform(-1, 1, shape) * scale.amax * (rng.random(shape) < 0.1))
    if kind == "pow2":
        return np.asarray(np.ldexp(rng.choice([-1.0, 1.0], shape), -rng.integers(0, 8, shape)) * scale.amax)
    if kind == "big":
        return rng.uniform(-4, 4, shape) * scale.amax
    if kind == "tiny":
        return rng.uniform(-2, 2, shape) * step
    if kind == "normal":
        return np.asarray(rng.standard_normal(shape) * (scale.amax / 3))
    low = 0.0 if kind == "uniform01" else -1.0
    return rng.uniform(low, 1, shape) * scale.amax
