"""Limits of large convolutions: sums in FP32, their error counted, against the same limits in float64."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.check import large, products
from pytest_trt.check.admissible import Admissible
from pytest_trt.check.graph import Graph
from pytest_trt.check.interpret import interpret
from pytest_trt.numerics.bounds import Bound, Contract
from pytest_trt.precision import prepare

SHAPES = [
    ((2, 6, 9, 8), (8, 6, 3, 3), {"pads": [1, 0, 2, 1]}),
    ((1, 8, 7, 7), (4, 4, 3, 2), {"group": 2, "strides": [2, 1], "dilations": [1, 2]}),
    ((3, 5, 20), (7, 5, 4), {"pads": [3, 0], "strides": [3]}),
]


def conv(x, w, attributes, *, integer, seed=0):
    rng = np.random.default_rng(seed)

    def draw(shape):
        return rng.integers(-4, 5, shape) if integer else rng.standard_normal(shape).astype(np.float16)

    constants = {"w": draw(w), "b": draw(w[:1])}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"], **attributes)],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model, {"x": draw(x).astype(np.float32)}


@pytest.fixture(autouse=True)
def every_convolution_is_large(monkeypatch):
    monkeypatch.setattr(products, "LARGE", 1)


def both(model, feeds, precision, contract):
    graph = Graph(prepare(model, precision, strong=True).matched)
    exact = {n: Bound.exact(v.astype(np.float64), graph.inputs[n][0]) for n, v in feeds.items()}
    fast = interpret(graph, exact, contract, fast=True)
    slow = interpret(graph, exact, contract)
    assert fast.fast and not slow.fast
    name = next(iter(graph.outputs))
    return fast.tensors[name], slow.tensors[name]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("likely", [False, True])
@pytest.mark.parametrize(("precision", "tf32"), [("fp16", False), ("fp32", False), ("tf32", True)])
def test_the_limits_hold_those_of_float64_and_are_little_wider(shape, precision, tf32, likely):
    model, feeds = conv(*shape, integer=False)
    contract = Contract(tf32=tf32, likely=likely, statistics=True)
    fast, slow = both(model, feeds, precision, contract)
    assert (fast.low <= slow.low).all() and (fast.high >= slow.high).all()
    if precision == "fp32":
        # The sum's own bound is of the kernel's size; two units of rounding beside it.
        step = 2.0**-23 * np.abs(slow.mid)
        wide = 2.1 if not likely else 40
        assert (fast.high - fast.low <= wide * (slow.high - slow.low) + 2 * step).all()
        assert (fast.sigma is not None) == likely
    else:
        assert np.mean(fast.low == fast.high) > np.mean(slow.low == slow.high) - 0.1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_exact_sums_keep_one_admissible_value(shape, precision):
    model, feeds = conv(*shape, integer=True)
    fast, slow = both(model, feeds, precision, Contract())
    assert np.array_equal(fast.low, slow.low) and np.array_equal(fast.high, slow.high)
    assert fast.certified == fast.mid.size


def test_what_these_limits_refuse_is_judged_in_float64():
    model, feeds = conv(*SHAPES[0], integer=False)
    graph = Graph(prepare(model, "fp32", strong=True).matched)
    admissible = Admissible(graph, feeds, Contract(statistics=True), ("direct",))
    right = admissible.on("direct").tensors["y"].mid.astype(np.float32)
    assert admissible.judge("y", right, statistics=True).status == "conforms"
    assert admissible.on("direct").fast
    wrong = right.copy()
    wrong[0, 0, 0, 0] *= 1.01
    judged = admissible.judge("y", wrong, statistics=True)
    assert judged.status == "violates" and not admissible.on("direct").fast


def test_wrong_sums_of_the_reference_are_noticed(monkeypatch):
    """A sample is held against float64; where it disagrees the whole is taken in float64."""
    model, feeds = conv(*SHAPES[0], integer=False)
    honest = large._session

    class Wrong:
        def __init__(self, *key):
            self.session = honest(*key)

        def run(self, names, feeds):
            sums, *rest = self.session.run(names, feeds)
            return [sums * np.float32(1.001), *rest]

    monkeypatch.setattr(large, "_session", Wrong)
    graph = Graph(model)
    exact = {n: Bound.exact(v.astype(np.float64), "fp32") for n, v in feeds.items()}
    fast, slow = interpret(graph, exact, Contract(), fast=True), interpret(graph, exact, Contract())
    assert np.array_equal(fast.tensors["y"].mid, slow.tensors["y"].mid)


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e30])
def test_operands_that_overflow_are_left_to_float64(value):
    model, feeds = conv(*SHAPES[0], integer=False)
    feeds["x"].reshape(-1)[3] = value
    graph = Graph(model)
    exact = {n: Bound.exact(v.astype(np.float64), "fp32") for n, v in feeds.items()}
    assert not interpret(graph, exact, Contract(), fast=True).fast
