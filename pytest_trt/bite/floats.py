"""Weights and inputs of the contracts on floating numbers, for one kind of data.

The weights belong to the kind: integers where the inputs are, so that every partial sum is exact and equality decides; powers
of two; normal numbers else. Every value is a number of the format that the contract stores.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import ModelProto, helper

from pytest_trt.bite.graphs import ELEMS, STORED, make_graph, make_product, make_tensor
from pytest_trt.bite.problems import Problem
from pytest_trt.numerics import battery
from pytest_trt.numerics.formats import Float64, round_to

HALF = frozenset({"fp16", "fp16acc", "fp8"})
# Significands that use every bit; 13 bits are not a TF32, bfloat16 or FP16 number.
WIDE_BITS = {"fp32": 13, "tf32": 11, "fp16": 11, "fp16acc": 11, "bf16": 8, "fp8": 4}
INTEGER = frozenset({"int_small", "int_wide", "int_ties", "index", "impulse", "impulse_wide"})


class Floats:
    """Weights and inputs of the contracts on floating numbers."""

    def __init__(self, problem: Problem, kind: str, rng: np.random.Generator) -> None:
        self.problem, self.kind, self.rng = problem, kind, rng
        self.weights = self._round(self._draw_weights())
        self.bias = self._round(self._draw_bias()) if problem.bias else None

    def drawn(self, sources: list[np.random.Generator]) -> tuple[ModelProto, dict[str, Float64]]:
        """Return the model, and the inputs that the last source gives."""
        rows = np.abs(self.weights.reshape(self.weights.shape[0], -1))
        scale = battery.Scale(
            gain=float(rows.sum(axis=1).max()), spread=float(np.sqrt((rows**2).sum(axis=1).max()))
        )
        return self._model(), self._inputs(scale, sources[-1])

    def _inputs(self, scale: battery.Scale, rng: np.random.Generator) -> dict[str, Float64]:
        found = {"x": self._draw(self.problem.x, scale, rng)}
        if self.problem.residual:
            found["r"] = self._draw(self.problem.y, scale, rng)
        return found

    def _draw(self, shape: tuple[int, ...], scale: battery.Scale, rng: np.random.Generator) -> Float64:
        contract = self.problem.contract
        if self._cancels:
            # Equal neighbours meet opposite weights: every sum is its bias, and the smallest bit of a weight shows.
            rows = rng.choice([-1.0, 1.0], (shape[0], math.prod(shape[1:])))
            rows[:, 1::2] = rows[:, : 2 * (rows.shape[1] // 2) : 2]
            return np.asarray(rows.reshape(shape)) if shape == self.problem.x else np.zeros(shape)
        if self._is_wide_half:
            rare = rng.random(shape) < 3.0 / self.problem.terms
            if self.problem.is_gemm:  # few rows: none may be empty
                rare = np.argsort(np.argsort(rng.random(shape), axis=1), axis=1) < 3
            return np.asarray((rng.integers(256, 512, shape) | 1) * rng.choice([-1.0, 1.0], shape) * rare)
        found = battery.draw(self.kind, shape, STORED[contract] if contract in HALF else contract, scale, rng)
        if self.kind == "big" and contract in ("fp16acc", "fp8"):
            # Their intervals are wide: what overflows has to overflow by far.
            found = np.clip(3 * found, -65504.0, 65504.0)
        return self._round(found)

    @property
    def _is_wide_half(self) -> bool:
        """FP16 accumulators hold no sum that FP16 would round: in place of ties, few odd numbers of nine bits."""
        return (self.kind, self.problem.contract) == ("int_ties", "fp16acc")

    @property
    def _cancels(self) -> bool:
        """FP16 accumulators lose what is below a sum's own last bit: products have to cancel. Only matrix products."""
        return (self.kind, self.problem.contract) == ("impulse_wide", "fp16acc") and self.problem.is_gemm

    def _round(self, values: Float64) -> Float64:
        contract = self.problem.contract
        return round_to(values, "fp16" if contract in HALF else contract)

    def _draw_weights(self) -> Float64:
        shape, rng, terms = self.problem.w, self.rng, self.problem.terms
        bits = WIDE_BITS[self.problem.contract]
        if self.kind in ("impulse", "index") and self.problem.contract != "fp16acc":
            # One product at a time (impulse), or few bits in the data: the weights may use all of theirs.
            room = (
                bits if self.kind == "impulse" else max(1, min(bits, 24 - 11 - math.ceil(math.log2(terms))))
            )
            wide = rng.integers(2 ** (room - 1), 2**room, shape) | 1
            return np.asarray(wide * rng.choice([-1.0, 1.0], shape))
        if self._is_wide_half:
            return rng.choice([-1.0, 1.0], shape)
        if self._cancels:
            rows = rng.choice([-1.0, 1.0], (shape[0], math.prod(shape[1:])))
            rows[:, 1::2] = -rows[:, : 2 * (rows.shape[1] // 2) : 2]
            return np.asarray(rows.reshape(shape))
        if self.kind in INTEGER:
            reach = 3 if terms <= 128 else 2 if terms <= 256 else 1
            if self.kind == "int_wide" or (self.kind, self.problem.contract) == ("impulse_wide", "fp16acc"):
                # Sums of about 2**bits * sqrt(terms) stay below 2**24, and below FP16's largest number.
                reach = 1
            values = rng.integers(-reach, reach + 1, shape).astype(np.float64)
            if self.kind in ("int_wide", "index"):
                values *= rng.random(shape) < 150.0 / max(150, terms)
            return values
        if self.kind == "pow2":
            return np.asarray(np.ldexp(rng.choice([-1.0, 1.0], shape), rng.integers(-4, 1, shape)))
        return np.asarray(rng.standard_normal(shape) * (1.5 / math.sqrt(terms)))

    def _draw_bias(self) -> Float64:
        size, rng, kind = self.problem.w[0], self.rng, self.kind
        if self.problem.contract == "fp16acc" and kind in ("impulse", "impulse_wide"):
            # Beside single products FP16 sums are exact: up to 2**11 in all.
            wide = (rng.integers(128, 512, size) | 1) * rng.choice([-2.0, 1.0], size)
            return np.asarray(wide if kind == "impulse" else np.zeros(size))
        if self._cancels:
            return np.ones(size)
        if self._is_wide_half:
            return np.asarray((rng.integers(256, 512, size) | 1) * rng.choice([-1.0, 1.0], size))
        if kind in ("int_small", "impulse_wide") or (kind in INTEGER and self.problem.contract == "fp16acc"):
            return rng.integers(-8, 9, size).astype(np.float64)
        if kind in INTEGER:
            top = 2 ** WIDE_BITS[self.problem.contract]
            return np.asarray((rng.integers(top // 2, top, size) | 1) * rng.choice([-1.0, 1.0], size))
        if kind == "pow2":
            return np.asarray(np.ldexp(rng.choice([-1.0, 1.0], size), rng.integers(-4, 3, size)))
        return np.asarray(rng.standard_normal(size) * self._level())

    def _level(self) -> float:
        """Return the magnitude of a bias that matters beside the sums of a kind."""
        half = self.problem.contract in HALF
        if self.kind == "tiny":
            return (2.0**-6 if self.problem.contract == "fp8" else 2.0**-15) if half else 2.0**-91
        if self.kind == "big":
            return 2.0**12 if half else 2.0**50
        return 0.5

    def _model(self) -> ModelProto:
        problem = self.problem
        stored = STORED[problem.contract]
        weights = self.weights if problem.transposed or not problem.is_gemm else self.weights.T
        tensors = [make_tensor("w", weights, stored)]
        if self.bias is not None:
            tensors.append(make_tensor("b", self.bias, stored))
        names = ["product", "sum"] if problem.residual else ["product"]
        last = "y" if not problem.relu else names[-1]
        names[-1] = last
        nodes = [make_product(problem, ["x", "w", *(["b"] if problem.bias else [])], names[0])]
        if problem.residual:
            nodes.append(helper.make_node("Add", [names[0], "r"], [names[1]], name="residual"))
        if problem.relu:
            nodes.append(helper.make_node("Relu", [last], ["y"], name="relu"))
        return make_graph(problem, nodes, tensors, ELEMS[stored])
