"""Weights and inputs of the FP8 contract, for one kind of data."""

from __future__ import annotations

import math

import numpy as np

from pytest_trt.bite.floats import Floats
from pytest_trt.numerics import battery
from pytest_trt.numerics.formats import Float64, round_to


def round_e4m3(values: Float64) -> Float64:
    """Return values rounded to FP8 e4m3; infinities and NaN stay, since the tensors are FP16."""
    return np.where(np.isfinite(values), round_to(values, "e4m3"), values)


class Eights(Floats):
    """e4m3 numbers in FP16 tensors; bias and residual are FP16 numbers.

    Its accumulator has 14 bits, so exact data keep the sum of moduli below 2**14 quanta.
    """

    _TARGET = 6000.0  # sum of moduli where every product is positive: 13 bits, so FP16 has to round it
    _QUANTUM = 2.0**-9  # of e4m3's subnormal numbers

    def _inputs(self, scale: battery.Scale, rng: np.random.Generator) -> dict[str, Float64]:
        found = {"x": self._draw(self.problem.x, scale, rng)}
        if self.problem.residual:
            found["r"] = self._residual(scale, rng)
        return found

    def _draw(self, shape: tuple[int, ...], scale: battery.Scale, rng: np.random.Generator) -> Float64:
        if self.kind == "int_ties":
            return self._positive(shape, rng)
        if self.kind == "int_wide":
            return np.asarray((rng.integers(8, 16, shape) | 1) * rng.choice([-1.0, 1.0], shape))
        if self.kind == "tiny":
            return np.asarray(rng.integers(-3, 4, shape) * self._QUANTUM, np.float64)
        found = battery.draw(self.kind, shape, "fp16", scale, rng)
        # The interval is wide: what overflows has to overflow by far.
        return round_e4m3(3 * found if self.kind == "big" else found)

    def _residual(self, scale: battery.Scale, rng: np.random.Generator) -> Float64:
        steps = {"int_ties": 1.0, "tiny": self._QUANTUM**2}
        if self.kind in steps:
            return np.asarray(rng.integers(-8, 9, self.problem.y) * steps[self.kind], np.float64)
        return self._draw(self.problem.y, scale, rng)

    def _draw_weights(self) -> Float64:
        shape, rng = self.problem.w, self.rng
        if self.kind == "int_ties":
            return self._positive(shape, rng)
        if self.kind == "tiny":
            rare = rng.random(shape) < 64.0 / max(64, self.problem.terms)
            return np.asarray(rng.integers(-2, 3, shape) * rare * self._QUANTUM)
        return round_e4m3(super()._draw_weights())

    def _draw_bias(self) -> Float64:
        size, rng = self.problem.w[0], self.rng
        if self.kind in ("impulse", "impulse_wide"):
            # An FP16 bias of 9 or 10 bits beside single products.
            return np.asarray((rng.integers(256, 1024, size) | 1) * rng.choice([-1.0, 1.0], size))
        if self.kind == "int_ties":
            # Nine bits: no bfloat16 numbers.
            return np.asarray((rng.integers(256, 512, size) | 1) * rng.choice([-1.0, 1.0], size))
        if self.kind == "tiny":
            return np.asarray(rng.integers(-32, 33, size) * self._QUANTUM**2, np.float64)
        return super()._draw_bias()

    def _positive(self, shape: tuple[int, ...], rng: np.random.Generator) -> Float64:
        """Return integers of 4 bits, with exponents where sums are short, so that sums come near the target."""
        side = math.sqrt(4 * self._TARGET / self.problem.terms)
        top = int(np.clip(round(side), 1, 15))
        spread = max(0, math.ceil(math.log2(side / top)))
        values = rng.integers(0, top + 1, shape).astype(np.float64)
        return np.asarray(np.ldexp(values, rng.integers(0, spread + 1, shape)))
