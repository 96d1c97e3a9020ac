"""Scales, weights and inputs of the INT8 contract, for one kind of data."""

from __future__ import annotations

import math

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pytest_trt.bite.floats import INTEGER, Floats
from pytest_trt.bite.graphs import make_graph, make_product, make_tensor
from pytest_trt.bite.problems import Problem
from pytest_trt.numerics import battery
from pytest_trt.numerics.formats import Float64, round_to


class Integers(Floats):
    """What one configuration has at INT8; `weights` are what Q/DQ makes of the integers."""

    def __init__(self, problem: Problem, kind: str, rng: np.random.Generator) -> None:
        self.problem, self.kind, self.rng = problem, kind, rng
        channels = problem.w[0]
        if problem.dyadic:
            self.x_scale = float(2.0 ** -rng.integers(4, 9))
            self.w_scales = np.ldexp(1.0, -rng.integers(5, 9, channels))
        else:
            self.x_scale = float(np.float32(rng.uniform(0.5, 4) / 127))
            self.w_scales = rng.uniform(0.5, 1.5, channels).astype(np.float32).astype(np.float64) / 127
            self.w_scales = self.w_scales.astype(np.float32).astype(np.float64)
        self.integers = self._draw_integers()
        shape = (-1, *(1,) * (len(problem.w) - 1))
        self.weights = self.integers * self.w_scales.reshape(shape)
        self.bias = None

    def drawn(self, sources: list[np.random.Generator]) -> tuple[ModelProto, dict[str, Float64]]:
        """Return the model, with scales from the first source's inputs, and the inputs of the last."""
        scale = battery.Scale(amax=127.0 * self.x_scale)
        calibration = self._inputs(scale, sources[0])
        x = np.clip(np.rint(calibration["x"] / self.x_scale), -128, 127) * self.x_scale
        rows = np.abs(self.weights.reshape(self.weights.shape[0], -1))
        spread = float(np.sqrt((rows**2).sum(axis=1).max()))
        reach = max(
            2.5 * spread * float(np.sqrt((x**2).mean())), 0.5 * float(np.abs(x).max() * rows.max()), 1e-6
        )
        if self.problem.bias and self.bias is None:
            self.bias = self._bias_for(reach)
        self.r_scale = self._grid(float(np.abs(calibration["r"]).max()) if "r" in calibration else 1.0)
        if self.problem.residual:
            reach += 64 * self.r_scale
        self.y_scale = self._grid(reach)
        inputs = calibration if len(sources) == 1 else self._inputs(scale, sources[-1])
        return self._model(), inputs

    def _draw(self, shape: tuple[int, ...], scale: battery.Scale, rng: np.random.Generator) -> Float64:
        return round_to(battery.draw(self.kind, shape, "int8", scale, rng), "fp32")

    def _bias_for(self, reach: float) -> Float64:
        """Return a bias of the size of the sums, on the grid of an INT32 bias: kernels that take no other agree."""
        step = self.x_scale * self.w_scales
        values = np.rint(self.rng.uniform(-0.5, 0.5, self.problem.w[0]) * reach / step) * step
        return round_to(values, "fp32")

    def _grid(self, reach: float) -> float:
        step = max(reach, 1e-30) / 127
        return float(2.0 ** math.ceil(math.log2(step))) if self.problem.dyadic else float(np.float32(step))

    def _draw_integers(self) -> Float64:
        shape, rng = self.problem.w, self.rng
        if self.kind in ("int_small", "int_ties"):
            return rng.integers(-8, 9, shape).astype(np.float64)
        if self.kind == "pow2":
            return np.asarray(np.ldexp(rng.choice([-1.0, 1.0], shape), rng.integers(0, 7, shape)))
        if self.kind in INTEGER:
            return rng.integers(-127, 128, shape).astype(np.float64)
        return np.clip(np.rint(rng.standard_normal(shape) * 40), -127, 127)

    def _model(self) -> ModelProto:
        problem = self.problem
        tensors = [
            numpy_helper.from_array(self.integers.astype(np.int8), "w_q"),
            numpy_helper.from_array(self.w_scales.astype(np.float32), "w_scale"),
            numpy_helper.from_array(np.zeros(problem.w[0], np.int8), "w_zero"),
            numpy_helper.from_array(np.zeros((), np.int8), "zero"),
        ]
        nodes = self._through_int8("x", self.x_scale, tensors)
        nodes.append(
            helper.make_node("DequantizeLinear", ["w_q", "w_scale", "w_zero"], ["w"], name="w_dq", axis=0)
        )
        if self.bias is not None:
            tensors.append(make_tensor("b", self.bias, "fp32"))
        nodes.append(
            make_product(problem, ["x_dq", "w", *(["b"] if self.bias is not None else [])], "product")
        )
        last = "product"
        if problem.residual:
            nodes += self._through_int8("r", self.r_scale, tensors)
            nodes.append(helper.make_node("Add", [last, "r_dq"], ["sum"], name="residual"))
            last = "sum"
        if problem.relu:
            nodes.append(helper.make_node("Relu", [last], ["rectified"], name="relu"))
            last = "rectified"
        nodes += self._through_int8(last, self.y_scale, tensors, "y")
        return make_graph(problem, nodes, tensors, TensorProto.FLOAT)

    @staticmethod
    def _through_int8(
        name: str, scale: float, tensors: list[TensorProto], output: str = ""
    ) -> list[NodeProto]:
        """Return QuantizeLinear and DequantizeLinear behind a tensor."""
        tensors.append(numpy_helper.from_array(np.asarray(scale, np.float32), f"{name}_scale"))
        return [
            helper.make_node(
                "QuantizeLinear", [name, f"{name}_scale", "zero"], [f"{name}_q"], name=f"{name}_quantize"
            ),
            helper.make_node(
                "DequantizeLinear",
                [f"{name}_q", f"{name}_scale", "zero"],
                [output or f"{name}_dq"],
                name=f"{name}_dequantize",
            ),
        ]
