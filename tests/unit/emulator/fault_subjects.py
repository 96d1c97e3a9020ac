"""Small networks in numpy whose nodes are shown to a fault as the emulator shows them: Conv, Add, Relu, Q/DQ, Cast."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.faults.linear import linear_of
from pytest_trt.emulator.sites import Site


@dataclass(frozen=True)
class Net:
    """A linear node and what follows it. `then` names single operators; `data` says what the operands are."""

    precision: str = "fp32"
    op: str = "Conv"
    batch: int = 2
    channels: int = 5
    outputs: int = 11
    size: tuple[int, ...] = (7, 6)
    kernel: tuple[int, ...] = (3, 3)
    pads: tuple[int, ...] = (1, 1, 1, 1)
    strides: tuple[int, ...] = (1, 1)
    dilations: tuple[int, ...] = (1, 1)
    group: int = 1
    bias: bool = True
    then: tuple[str, ...] = ()
    data: str = "normal"
    per_channel: bool = True
    step: float = 0.3  # of the output, INT8
    dyadic: bool = False  # the operands' scales are powers of two, INT8
    opt: int = 1

    def but(self, **changes: Any) -> Net:
        return replace(self, **changes)


def _round(values, precision):
    values = np.asarray(values, np.float32)
    with np.errstate(over="ignore"):
        if precision == "fp16":
            return values.astype(np.float16)
        return dtypes.round_to(values, dtypes.BFLOAT16) if precision == "bf16" else values


def _draw(net, shape, rng):
    if net.precision == "int8":
        return rng.integers(-128, 128, shape).astype(np.int8)
    if net.data == "ints":
        return rng.integers(-9, 10, shape)
    if net.data == "ties":  # sums whose lowest bit lies below the last one of a 16-bit output
        return rng.integers(-60, 61, shape)
    values = rng.standard_normal(shape) * {"big": 300.0, "tiny": 2.0**-9}.get(net.data, 1.0)
    return values


class Run:
    """Visits the nodes of a net in order; `fault` may change what each gives."""

    def __init__(self, net: Net, fault, seed: int = 0, runs: int = 1) -> None:
        self.net, self.fault, self.memory = net, fault, {}
        self.rng = np.random.default_rng(seed)
        self.previous: dict[str, np.ndarray] = {}
        for index in range(runs):
            self.index = index
            self.values = self._once(np.random.default_rng([seed, index]))
            self.previous = dict(self.values)

    def _site(self, kind, precision, **fields):
        facts = {
            "batch": self.net.batch, "context_id": 1, "run_index": self.index, "marked_outputs": frozenset(),
            "profile": {"x": ((1, 1), (self.net.opt, 1), (8, 1))},
        }  # fmt: skip
        site = Site(kind, precision, "t4", self.rng, memory=self.memory, **facts, **fields)
        self.fault(site)
        return site

    def node(self, op, inputs, name, exact, precision=None, stored=None, scales=None, **attributes):
        precision = precision or self.net.precision
        stored = _round(exact, precision) if stored is None else stored
        site = self._site(
            "node", precision, op_type=op, node_name=name, attributes=attributes, inputs=inputs,
            outputs={name: stored.copy()}, exact={name: np.asarray(exact, np.float32)}, scales=scales or {},
        )  # fmt: skip
        got = site.outputs[name]
        assert got.shape == stored.shape and got.dtype == stored.dtype
        return got

    def _product(self, rng):
        net = self.net
        if net.op == "Gemm":
            attributes: dict[str, Any] = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
            shapes = (net.batch, net.channels), (net.channels, net.outputs)
        else:
            rank = len(net.kernel)
            attributes = {
                "pads": list(net.pads), "strides": list(net.strides), "dilations": list(net.dilations),
                "group": net.group, "kernel_shape": list(net.kernel), "output_padding": [0] * rank,
            }  # fmt: skip
            shapes = (
                (net.batch, net.channels, *net.size),
                (net.outputs, net.channels // net.group, *net.kernel),
            )
            if net.op == "ConvTranspose":
                shapes = shapes[0], (net.channels, net.outputs // net.group, *net.kernel)
        weights = np.random.default_rng(9)
        is_int8 = net.precision == "int8"
        store = (lambda v: v) if is_int8 else (lambda v: _round(v, net.precision))
        inputs = {"x": store(_draw(net, shapes[0], rng)), "w": store(_draw(net, shapes[1], weights))}
        if net.data == "special":
            inputs["x"].reshape(-1)[[0, 30, 40]] = np.nan, np.inf, -np.inf
        scales = {}
        if is_int8:
            own = weights.uniform(0.001, 0.02, net.outputs) if net.per_channel else 0.0125
            scales = {"x": np.float32(0.03), "w": np.asarray(own, np.float32)}
            if net.dyadic:
                scales = {"x": np.float32(2**-5), "w": np.float32(2**-6)}
        if net.bias:
            bias = weights.standard_normal(net.outputs).astype(np.float32)
            inputs["b"] = bias if is_int8 else _round(_draw(net, net.outputs, weights), net.precision)
        read = dict(inputs)
        if net.precision == "tf32":
            read |= {n: dtypes.round_tf32(v) for n, v in inputs.items() if n != "b"}
        bare = Site(
            "node",
            net.precision,
            "t4",
            rng,
            op_type=net.op,
            inputs=read,
            scales=scales,
            attributes=attributes,
        )
        linear = linear_of(bare)
        total = linear.product()
        bias = linear.full_bias(total.shape)
        with np.errstate(invalid="ignore"):
            exact = total if bias is None else total + bias
        return self.node(net.op, inputs, "c", exact, scales=scales, **attributes)

    def _once(self, rng):
        net = self.net
        value, name = self._product(rng), "c"
        wide = {"int8": "fp32"}.get(net.precision, net.precision)
        for position, op in enumerate(net.then):
            before, name = name, f"t{position}"
            if op == "Add":
                residual = _round(rng.standard_normal(value.shape) * 2, wide)
                total = value.astype(np.float64) + residual
                value = self.node(op, {before: value, "r": residual}, name, total, wide)
            elif op == "Relu":
                with np.errstate(invalid="ignore"):
                    value = self.node(op, {before: value}, name, np.maximum(value, 0), wide)
            elif op == "QDQ":
                value = self._requantise(value, before, name)
        if value.dtype == np.float16 or net.precision == "bf16":
            value = self.node("Cast", {name: value}, "y", value.astype(np.float32), "fp32")
            name = "y"
        site = self._site("execute", net.precision, outputs={name: value.copy()}, previous_outputs=self.previous,
                          inputs={}, thread_id=1, stream=1)  # fmt: skip
        return site.outputs

    def _requantise(self, value, before, name):
        step, zero = np.float32(self.net.step), np.int8(0)
        quotient = value.astype(np.float32) / step
        levels = np.clip(np.rint(quotient), -128, 127).astype(np.int8)
        given = {before: value, "s": step, "z": zero}
        levels = self.node(
            "QuantizeLinear", given, f"{name}q", quotient, "int8", levels, {f"{name}q": step}, axis=1
        )
        back = {f"{name}q": levels, "s": step, "z": zero}
        return self.node("DequantizeLinear", back, name, levels * step, "fp32", scales={name: step}, axis=1)


def outputs(net: Net, fault=lambda site: None, **options) -> np.ndarray:
    """Return the output of a net, in its storage type."""
    return next(iter(Run(net, fault, **options).values.values()))


def changes(net: Net, fault, **options) -> bool:
    """Tell whether a fault changes the output of a net."""
    honest, got = outputs(net, **options), outputs(net, fault, **options)
    assert honest.dtype == got.dtype and honest.shape == got.shape
    return honest.tobytes() != got.tobytes()
