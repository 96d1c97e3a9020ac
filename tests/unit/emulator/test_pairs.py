"""Implicit INT8 as a graph: which layers get Q/DQ, and what becomes of weights and normalisations."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper

from pytest_trt.emulator.graph import load
from pytest_trt.emulator.pairs import insert_pairs, tensors_without_scale
from pytest_trt.emulator.program import cpu_session

from .models import make

RNG = np.random.default_rng(5)
WEIGHTS = RNG.standard_normal((4, 3, 2, 2)).astype(np.float32)


def normalised(epsilon=None, second_reader=False, dynamic_bias=False):
    constants = {"w": WEIGHTS, "k": np.float32([1, -2, 3, 0.5])}
    constants |= {name: RNG.uniform(0.5, 2, 4).astype(np.float32) for name in ("g", "b", "m", "v")}
    nodes = [
        helper.make_node("Conv", ["x", "w", "d" if dynamic_bias else "k"], ["c"], name="conv"),
        helper.make_node(
            "BatchNormalization", ["c", "g", "b", "m", "v"], ["n"], name="bn",
            **({} if epsilon is None else {"epsilon": epsilon}),
        ),
        helper.make_node("Relu", ["n"], ["y"], name="relu"),
    ]  # fmt: skip
    outputs = {"y": [1, 4, 3, 3]}
    if second_reader:
        nodes.append(helper.make_node("Neg", ["c"], ["z"], name="neg"))
        outputs["z"] = [1, 4, 3, 3]
    inputs = {"x": [1, 3, 4, 4], **({"d": [4]} if dynamic_bias else {})}
    return make(nodes, inputs, outputs, constants)


def ops(graph):
    return [node.op_type for node in graph.nodes]


@pytest.mark.parametrize("epsilon", [None, 0.25])
def test_a_normalisation_is_folded_before_weights_are_quantized(epsilon):
    model = normalised(epsilon)
    changed = insert_pairs(load(normalised_copy(model)), {"x": np.float32(0.02)})
    assert ops(changed) == ["QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "Conv", "Relu"]
    held = {t.name: numpy_helper.to_array(t) for t in changed.model.graph.initializer}
    gain = held["g"].astype(float) / np.sqrt(held["v"].astype(float) + (1e-5 if epsilon is None else epsilon))
    folded = (WEIGHTS * gain.reshape(-1, 1, 1, 1)).astype(np.float32)
    scale = np.abs(folded).max(axis=(1, 2, 3)) / np.float32(127)
    np.testing.assert_array_equal(held["conv@weights_scale"], scale)
    np.testing.assert_array_equal(
        held["conv@weights_q"], np.rint(folded / scale.reshape(-1, 1, 1, 1)).astype(np.int8)
    )
    x = RNG.uniform(-2, 2, (1, 3, 4, 4)).astype(np.float32)
    got = cpu_session(changed.model).run(["y"], {"x": x})[0]
    want = cpu_session(model).run(["y"], {"x": x})[0]
    assert 0 < np.abs(got - want).max() < 0.3


def normalised_copy(model):
    made = type(model)()
    made.CopyFrom(model)
    return made


@pytest.mark.parametrize("options", [{"second_reader": True}, {"dynamic_bias": True}])
def test_a_normalisation_stays_where_it_cannot_be_folded(options):
    changed = insert_pairs(load(normalised(**options)), {"x": np.float32(0.02)})
    assert "BatchNormalization" in ops(changed) and "QuantizeLinear" in ops(changed)


def products():
    shapes = {"w": (3, 4), "batched": (2, 4, 3), "t": (5, 3), "u": (3, 5)}
    constants = {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    constants["u"][:, 2] = 0
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="plain"),
        helper.make_node("MatMul", ["a", "batched"], ["b"], name="batched"),
        helper.make_node("MatMul", ["x", "x2"], ["d"], name="dynamic"),
        helper.make_node("Gemm", ["f", "t"], ["e"], name="turned", transB=1),
        helper.make_node("Gemm", ["f", "u"], ["h"], name="straight"),
        helper.make_node("MatMul", ["w", "w2"], ["i"], name="constant"),
    ]
    constants["w2"] = RNG.standard_normal((4, 2)).astype(np.float32)
    inputs = {"x": [2, 5, 3], "x2": [2, 3, 3], "f": [2, 3]}
    outputs = {"b": [2, 5, 3], "d": [2, 5, 3], "e": [2, 5], "h": [2, 5], "i": [3, 2]}
    return make(nodes, inputs, outputs, constants)


def test_scales_run_along_output_channels():
    scales = dict.fromkeys(["x", "a", "f"], np.float32(0.02))
    changed = insert_pairs(load(products()), scales)
    held = {t.name: numpy_helper.to_array(t) for t in changed.model.graph.initializer}
    sizes = {name: held[f"{name}@weights_scale"].shape for name in ("plain", "batched", "turned", "straight")}
    assert sizes == {"plain": (4,), "batched": (), "turned": (5,), "straight": (5,)}
    assert held["straight@weights_scale"][2] == 1.0
    assert "dynamic@weights_q" not in held and "constant@weights_q" not in held
    assert ops(changed).count("QuantizeLinear") == 3


def test_tensors_that_would_be_read_in_int8():
    graph = load(products())
    assert tensors_without_scale(graph, {}) == ["x", "a", "f"]
    assert tensors_without_scale(graph, {"x": 1.0, "f": 1.0}) == ["a"]
