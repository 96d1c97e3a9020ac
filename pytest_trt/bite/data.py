"""Weights, inputs and the typed ONNX graph of a configuration, for one kind of data.

The weights belong to the kind: integers where the inputs are, so that every partial sum is exact and equality decides; powers
of two; normal numbers else. Every value is a number of the format that the contract stores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pytest_trt.bite.problems import Problem
from pytest_trt.emulator import dtypes
from pytest_trt.numerics import battery
from pytest_trt.numerics.formats import Float64, round_to
from pytest_trt.records import DATA_KINDS

Arrays = dict[str, NDArray[Any]]

_ELEMS = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_STORED = {
    "fp32": "fp32",
    "tf32": "fp32",
    "int8": "fp32",
    "bf16": "bf16",
    "fp16": "fp16",
    "fp16acc": "fp16",
    "fp8": "fp16",
}
_HALF = frozenset({"fp16", "fp16acc", "fp8"})
_OPSETS = {"bf16": (22, 10)}  # operator set and IR version; bfloat16 convolutions came with set 22
_DEFAULT_OPSET = (17, 8)

# Significands that use every bit; 13 bits are not a TF32, bfloat16 or FP16 number.
_WIDE_BITS = {"fp32": 13, "tf32": 11, "fp16": 11, "fp16acc": 11, "bf16": 8, "fp8": 4, "int8": 7}
_INTEGER = frozenset({"int_small", "int_wide", "int_ties", "index", "impulse", "impulse_wide"})


@dataclass(frozen=True)
class Drawn:
    """One configuration on one kind of data.

    Attributes
    ----------
    model : ModelProto
        Typed; inputs `x` and, where there is a residual, `r`; output `y`; a symbolic batch.
    values : dict of str to float64 ndarray
        The inputs.
    """

    model: ModelProto
    values: dict[str, Float64]

    @cached_property
    def feeds(self) -> Arrays:
        """The inputs as they lie in an engine's buffers."""
        table = {value.name: value.type.tensor_type.elem_type for value in self.model.graph.input}
        with np.errstate(over="ignore"):
            return {
                name: dtypes.to_stored(values.astype(np.float32), table[name])
                for name, values in self.values.items()
            }


def draw(problem: Problem, kind: str, again: int = 0) -> Drawn:
    """Return the model and inputs of a configuration for one kind of data.

    Parameters
    ----------
    problem : Problem
    kind : str
        A member of `records.DATA_KINDS`.
    again : int
        Other inputs for the same weights and scales.
    """
    place = DATA_KINDS.index(kind)
    maker = _Integers if problem.contract == "int8" else _Floats
    return maker(problem, kind, np.random.default_rng([*problem.seed, 1, place])).drawn(
        [np.random.default_rng([*problem.seed, 2, place, number]) for number in range(again + 1)]
    )


def draw_model(problem: Problem, kind: str) -> ModelProto:
    """Return the typed graph of a configuration for one kind of data."""
    return draw(problem, kind).model


def carried(problem: Problem, stored: NDArray[Any]) -> NDArray[Any]:
    """Return a stored output as numbers."""
    return dtypes.to_carried(stored, _ELEMS[_STORED[problem.contract]])


class _Floats:
    """Weights and inputs of the contracts on floating numbers."""

    def __init__(self, problem: Problem, kind: str, rng: np.random.Generator) -> None:
        self.problem, self.kind, self.rng = problem, kind, rng
        self.weights = self._round(self._draw_weights())
        self.bias = self._round(self._draw_bias()) if problem.bias else None

    def drawn(self, sources: list[np.random.Generator]) -> Drawn:
        """Return the model with the inputs of the last source."""
        rows = np.abs(self.weights.reshape(self.weights.shape[0], -1))
        scale = battery.Scale(
            gain=float(rows.sum(axis=1).max()), spread=float(np.sqrt((rows**2).sum(axis=1).max()))
        )
        return Drawn(self._model(), self._inputs(scale, sources[-1]))

    def _inputs(self, scale: battery.Scale, rng: np.random.Generator) -> dict[str, Float64]:
        found = {"x": self._draw(self.problem.x, scale, rng)}
        if self.problem.residual:
            found["r"] = self._draw(self.problem.y, scale, rng)
        return found

    def _draw(self, shape: tuple[int, ...], scale: battery.Scale, rng: np.random.Generator) -> Float64:
        contract = self.problem.contract
        if contract == "fp8" and self.kind == "tiny":
            # About the subnormal numbers of e4m3, which end at 2**-9; FP16's all round to zero.
            return self._round(np.asarray(rng.uniform(-1, 1, shape) * 2.0**-5))
        return self._round(
            battery.draw(self.kind, shape, _STORED[contract] if contract in _HALF else contract, scale, rng)
        )

    def _round(self, values: Float64) -> Float64:
        contract = self.problem.contract
        if contract == "fp8":
            return round_e4m3(values)
        return round_to(values, "fp16" if contract == "fp16acc" else contract)

    def _draw_weights(self) -> Float64:
        shape, rng, terms = self.problem.w, self.rng, self.problem.terms
        bits = _WIDE_BITS[self.problem.contract]
        if self.kind in ("impulse", "index") and self.problem.contract != "fp16acc":
            # One product at a time (impulse), or few bits in the data: the weights may use all of theirs.
            room = (
                bits if self.kind == "impulse" else max(1, min(bits, 24 - 11 - math.ceil(math.log2(terms))))
            )
            wide = rng.integers(2 ** (room - 1), 2**room, shape) | 1
            return np.asarray(wide * rng.choice([-1.0, 1.0], shape))
        if self.kind in _INTEGER:
            reach = 3 if terms <= 128 else 2 if terms <= 256 else 1
            if self.kind == "int_wide":
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
        if kind in ("int_small", "impulse_wide") or (kind in _INTEGER and self.problem.contract == "fp16acc"):
            return rng.integers(-8, 9, size).astype(np.float64)
        if kind in _INTEGER:
            top = 2 ** _WIDE_BITS[self.problem.contract]
            return np.asarray((rng.integers(top // 2, top, size) | 1) * rng.choice([-1.0, 1.0], size))
        if kind == "pow2":
            return np.asarray(np.ldexp(rng.choice([-1.0, 1.0], size), rng.integers(-4, 3, size)))
        return np.asarray(rng.standard_normal(size) * self._level())

    def _level(self) -> float:
        """Return the magnitude of a bias that matters beside the sums of a kind."""
        half = self.problem.contract in _HALF
        if self.kind == "tiny":
            return (2.0**-6 if self.problem.contract == "fp8" else 2.0**-15) if half else 2.0**-91
        if self.kind == "big":
            return 2.0**12 if half else 2.0**50
        return 0.5

    def _model(self) -> ModelProto:
        problem = self.problem
        stored = _STORED[problem.contract]
        weights = self.weights if problem.transposed or not problem.is_gemm else self.weights.T
        tensors = [_tensor("w", weights, stored)]
        if self.bias is not None:
            tensors.append(_tensor("b", self.bias, stored))
        names = ["product", "sum"] if problem.residual else ["product"]
        last = "y" if not problem.relu else names[-1]
        names[-1] = last
        nodes = [_product(problem, ["x", "w", *(["b"] if problem.bias else [])], names[0])]
        if problem.residual:
            nodes.append(helper.make_node("Add", [names[0], "r"], [names[1]], name="residual"))
        if problem.relu:
            nodes.append(helper.make_node("Relu", [last], ["y"], name="relu"))
        return _finish(problem, nodes, tensors, _ELEMS[stored])


class _Integers(_Floats):
    """Scales, weights and inputs of the INT8 contract; weights and scales are held as what Q/DQ makes of them."""

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

    def drawn(self, sources: list[np.random.Generator]) -> Drawn:
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
        return Drawn(self._model(), inputs)

    def _draw(self, shape: tuple[int, ...], scale: battery.Scale, rng: np.random.Generator) -> Float64:
        return round_to(battery.draw(self.kind, shape, "int8", scale, rng), "fp32")

    def _bias_for(self, reach: float) -> Float64:
        """Return a bias of the size of the sums; with dyadic scales a whole number of their quanta."""
        values = self.rng.uniform(-0.5, 0.5, self.problem.w[0]) * reach
        if self.problem.dyadic:
            step = self.x_scale * self.w_scales
            values = np.rint(values / step) * step
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
        if self.kind in _INTEGER:
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
            tensors.append(_tensor("b", self.bias, "fp32"))
        nodes.append(_product(problem, ["x_dq", "w", *(["b"] if self.bias is not None else [])], "product"))
        last = "product"
        if problem.residual:
            nodes += self._through_int8("r", self.r_scale, tensors)
            nodes.append(helper.make_node("Add", [last, "r_dq"], ["sum"], name="residual"))
            last = "sum"
        if problem.relu:
            nodes.append(helper.make_node("Relu", [last], ["rectified"], name="relu"))
            last = "rectified"
        nodes += self._through_int8(last, self.y_scale, tensors, "y")
        return _finish(problem, nodes, tensors, TensorProto.FLOAT)

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


def _tensor(name: str, values: Float64, stored: str) -> TensorProto:
    if stored == "bf16":
        bits = dtypes.bf16_bits(values.astype(np.float32))
        return helper.make_tensor(
            name, TensorProto.BFLOAT16, values.shape, bits.astype("<u2").tobytes(), raw=True
        )
    kind = np.float16 if stored == "fp16" else np.float32
    return numpy_helper.from_array(np.ascontiguousarray(values.astype(kind)), name)


def _product(problem: Problem, inputs: list[str], output: str) -> NodeProto:
    if problem.is_gemm:
        return helper.make_node("Gemm", inputs, [output], name="product", transB=int(problem.transposed))
    return helper.make_node(
        "Conv",
        inputs,
        [output],
        name="product",
        kernel_shape=list(problem.w[2:]),
        group=problem.groups,
        strides=list(problem.strides),
        dilations=list(problem.dilations),
        pads=list(problem.pads),
    )


def _finish(problem: Problem, nodes: list[NodeProto], tensors: list[TensorProto], elem: int) -> ModelProto:
    shapes = {"x": problem.x, **({"r": problem.y} if problem.residual else {})}
    inputs = [helper.make_tensor_value_info(n, elem, ["batch", *shape[1:]]) for n, shape in shapes.items()]
    output = helper.make_tensor_value_info("y", elem, ["batch", *problem.y[1:]])
    opset, version = _OPSETS.get(problem.contract, _DEFAULT_OPSET)
    graph = helper.make_graph(nodes, "bite", inputs, [output], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version)


_E4M3_LARGEST = 448.0
_E4M3_STEP = -9  # exponent of the subnormal spacing


def round_e4m3(values: Float64) -> Float64:
    """Return values rounded to FP8 e4m3, ties to even, saturated at 448; infinities and NaN stay.

    Source: Micikevicius et al., FP8 Formats for Deep Learning, arXiv 2209.05433, table 1.
    """
    _, exponent = np.frexp(values)
    step = np.ldexp(1.0, np.maximum(exponent - 4, _E4M3_STEP))
    with np.errstate(invalid="ignore"):
        rounded = np.clip(np.rint(values / step) * step, -_E4M3_LARGEST, _E4M3_LARGEST)
    return np.where(np.isfinite(values), rounded, values)
