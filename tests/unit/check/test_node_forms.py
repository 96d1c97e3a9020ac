"""Forms of operators that the node cases of `onnx` have and the drawn configurations lack."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_trt.check.graph import Graph
from pytest_trt.check.interpret import HANDLERS, Step
from pytest_trt.check.relations import EXTRA_OUTPUT, Base, compare_rows
from pytest_trt.check.scaling import scales
from pytest_trt.numerics.bounds import Bound, Contract
from pytest_trt.numerics.judge import measure_slices
from tests.unit.check.nodes import OneNode, refused

X = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)


@pytest.mark.parametrize("axis", [-4, -3, -2, -1, 0, 1, 4])
def test_flatten_counts_a_negative_axis_from_the_rank(axis):
    node = OneNode("Flatten", X, axis=axis)
    assert node.limits().mid.shape == node.run().shape
    assert refused(node.run(), node.limits()) == 0


def test_flatten_of_nothing_keeps_both_sizes():
    assert OneNode("Flatten", np.zeros((0, 3, 2)), axis=1).limits().mid.shape == (0, 6)


def test_a_transposed_convolution_grows_to_its_output_shape():
    x, w = X[:1, :1, :3, :3], np.ones((1, 2, 3, 3), np.float32)
    node = OneNode("ConvTranspose", x, constants=[w], strides=[3, 2], output_shape=[10, 8])
    assert node.limits().mid.shape == node.run().shape == (1, 2, 10, 8)
    assert refused(node.run(), node.limits()) == 0


@pytest.mark.skipif(
    "mode" not in onnx.defs.get_schema("SpaceToDepth").attributes, reason="this onnx has no SpaceToDepth-28"
)
@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_space_to_depth_has_two_modes(mode):
    x = np.arange(48, dtype=np.float32).reshape(1, 2, 4, 6)
    found = OneNode("SpaceToDepth", x, opset=28, blocksize=2, mode=mode).limits().mid
    parts = x.reshape(1, 2, 2, 2, 3, 2)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    assert np.array_equal(found, parts.transpose(order).reshape(1, 8, 2, 3))


@pytest.mark.parametrize(("op", "value"), [("ReduceMax", -np.inf), ("ReduceMin", np.inf)])
def test_an_extreme_of_nothing_is_an_infinity(op, value):
    node = OneNode(op, np.zeros((2, 0, 4)), constants=[np.array([1], np.int64)], opset=20)
    assert np.all(node.limits().mid == value) and node.limits().mid.shape == (2, 1, 4)
    exact = Bound.exact(np.zeros((2, 0, 4)), "int32")
    step = Step(node.graph.nodes[0], (exact, node.graph.constant("c0")), Contract(), "int32", 20)
    assert HANDLERS[op](step) == []


def test_what_is_drawn_or_made_from_the_batch_has_no_limit():
    dropped = OneNode("Dropout", X, constants=[np.float32(0.5), np.bool_(True)], opset=13)
    assert dropped.limits() is None
    kept = OneNode("Dropout", X, constants=[np.float32(0.5), np.bool_(False)], opset=13)
    assert np.array_equal(kept.limits().mid, X)
    ones = [np.ones(3, np.float32)] * 4
    assert OneNode("BatchNormalization", X, constants=ones, opset=15, training_mode=1).limits() is None
    assert OneNode("BatchNormalization", X, constants=ones, opset=15).limits() is not None


def test_one_number_without_a_dimension_is_compared():
    value = np.array(3.0, np.float32)
    base = Base({}, {"y": value}, {"y": Bound.exact(value.astype(np.float64), "fp32")})
    assert compare_rows(EXTRA_OUTPUT, {"y": value}, base) is None
    assert compare_rows(EXTRA_OUTPUT, {"y": np.array(4.0, np.float32)}, base) is not None


def test_slices_of_one_number_are_none():
    one = np.array(3.0)
    want = Bound(one, one - 1.0, one + 1.0, "fp32", sigma=np.array(0.1), bias=np.array(0.0))
    found = measure_slices(np.array(3.5, np.float32), want)
    assert found is not None and found.bad == 0


@pytest.mark.parametrize(("outputs", "expected"), [(["y"], True), (["y", "place"], False)])
def test_where_a_maximum_was_does_not_scale(outputs, expected):
    value = helper.make_tensor_value_info
    kinds = {"y": TensorProto.FLOAT, "place": TensorProto.INT64}
    node = helper.make_node("MaxPool", ["x"], outputs, kernel_shape=[2, 2])
    given = [value("x", TensorProto.FLOAT, [1, 1, 4, 4])]
    graph = helper.make_graph([node], "g", given, [value(n, kinds[n], [1, 1, 3, 3]) for n in outputs])
    assert scales(Graph(helper.make_model(graph, ir_version=9)), "fp32") == expected
