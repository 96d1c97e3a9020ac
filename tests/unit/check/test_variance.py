"""The likely values of a deep graph hold what honest arithmetic gives, and are narrow enough to see a fault."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import helper

from pytest_trt.check import operators  # noqa: F401  (registers the limits)
from pytest_trt.check.graph import Graph
from pytest_trt.check.reference import OnnxRuntime
from pytest_trt.check.variance import end_to_end
from pytest_trt.numerics.bounds import Contract
from pytest_trt.precision import measure_ranges, prepare
from tests.unit.check.deep_models import SHAPE, deep_model
from tests.unit.check.models import make_model


def feeds(seed=1, shape=SHAPE):
    return {"x": np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)}


def typed(model, precision):
    return Graph(prepare(model, precision, strong=True).matched)


def scores(model, precision, seed=1, shape=SHAPE):
    """Errors of ONNX Runtime, which stores every tensor, in the model's standard deviations."""
    graph, given = typed(model, precision), feeds(seed, shape)
    likely = end_to_end(graph, given, Contract())["y"]
    got = OnnxRuntime(graph).run(given)["y"].astype(np.float64)
    assert ((got >= likely.low) & (got <= likely.high)).all()
    error = got - likely.mid
    # Elements that cannot err have no deviation, and do not.
    return np.divide(error, likely.sigma, out=error, where=likely.sigma > 0), likely


@pytest.mark.parametrize("depth", [2, 8, 16])
def test_errors_of_16_bit_networks_have_the_size_that_is_foretold(depth):
    z = np.concatenate([scores(deep_model(depth, seed=seed), "fp16", seed)[0].ravel() for seed in range(4)])
    assert 0.3 < np.sqrt((z**2).mean()) < 1.5 and np.abs(z).max() < 5


def test_errors_of_fp32_networks_are_smaller_than_foretold():
    z, _ = scores(deep_model(8), "fp32")
    assert np.abs(z).max() < 3


def chain(*ops):
    nodes, before = [helper.make_node("Conv", ["x", "w"], ["t"], pads=[1] * 4)], "t"
    for number, (op, given, attributes) in enumerate(ops):
        name = "y" if number == len(ops) - 1 else f"t{number}"
        nodes.append(helper.make_node(op, [before, *given], [name], **attributes))
        before = name
    rng = np.random.default_rng(5)
    constants = {
        "w": rng.standard_normal((6, 3, 3, 3)).astype(np.float32) / 5,
        "v": rng.standard_normal((8, 7)).astype(np.float32),
        "one": rng.uniform(1, 2, 6).astype(np.float32),
        "flat": np.array([0, -1, 1, 1], np.int64),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
    }
    used = {name for node in nodes for name in node.input}
    return make_model(nodes, ("N", 3, 8, 8), {k: v for k, v in constants.items() if k in used})


@pytest.mark.parametrize(
    "ops",
    [
        [("Sigmoid", [], {})],
        [("Relu", [], {}), ("MaxPool", [], {"kernel_shape": [2, 2]})],
        [("AveragePool", [], {"kernel_shape": [3, 3], "strides": [2, 2]})],
        [("HardSwish", [], {}), ("GlobalAveragePool", [], {})],
        [("BatchNormalization", ["one", "one", "one", "one"], {})],
        [("Softmax", [], {"axis": -1})],
        [("Mul", ["t"], {})],
        [("Max", ["t"], {}), ("Sub", ["t"], {})],
        [("Div", ["one_"], {})],
        [("Pad", ["pads"], {}), ("Transpose", [], {"perm": [0, 2, 3, 1]})],
        [("Concat", ["t"], {"axis": 1}), ("Reshape", ["flat"], {})],
        [("MatMul", ["v"], {}), ("Tanh", [], {})],
    ],
    ids=lambda ops: "-".join(op for op, _, _ in ops),
)
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_each_operator_passes_errors_on(ops, precision):
    ops = [
        (op, ["t" if name == "one_" else name for name in given], attributes) for op, given, attributes in ops
    ]
    z, likely = scores(chain(*ops), precision)
    finite = np.isfinite(z)
    assert (likely.sigma[finite] >= 0).all() and np.abs(z[finite]).max(initial=0) < 8


def test_a_part_in_fifty_is_outside_of_a_deep_fp16_network():
    graph = typed(deep_model(16), "fp16")
    likely = end_to_end(graph, feeds(), Contract())["y"]
    got = OnnxRuntime(graph).run(feeds())["y"] * 1.02
    assert ((got < likely.low) | (got > likely.high)).mean() > 0.5


def test_errors_that_all_point_the_same_way_widen_the_interval():
    """A box filter adds what its inputs share: drawn errors show that, variances alone do not."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["t0"], pads=[1] * 4)]
    for number in range(5):
        name = "y" if number == 4 else f"t{number + 1}"
        nodes.append(helper.make_node("Conv", [f"t{number}", "box"], [name], pads=[1] * 4))
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.standard_normal((3, 3, 3, 3)).astype("f4"),
        "box": np.full((3, 3, 3, 3), 1 / 27, np.float32),
    }
    z, _ = scores(make_model(nodes, ("N", 3, 8, 8), constants), "fp16")
    assert np.sqrt((z**2).mean()) < 1.5


def test_an_algorithm_of_the_ladder_widens_it():
    graph = typed(deep_model(4), "fp32")
    direct = end_to_end(graph, feeds(), Contract())["y"]
    winograd = end_to_end(graph, feeds(), Contract(), "winograd")["y"]
    assert (winograd.sigma > direct.sigma).all()


def test_what_is_not_covered_is_not_judged():
    assert (
        end_to_end(
            Graph(prepare(deep_model(), "fp16", strong=True).matched), feeds(), replace(Contract(), weak=True)
        )
        is None
    )
    ranges = measure_ranges(deep_model(), [feeds()])
    quantised = prepare(deep_model(), "int8", strong=True, ranges=ranges)
    assert end_to_end(Graph(quantised.matched), feeds(), Contract()) is None
    other = make_model(
        [helper.make_node("Conv", ["x", "w"], ["t"]), helper.make_node("Asinh", ["t"], ["y"])],
        ("N", 3, 8, 8),
        {"w": np.ones((3, 3, 1, 1), np.float32)},
    )
    assert end_to_end(Graph(other), feeds(), Contract()) is None


def test_what_is_not_finite_is_left_open():
    given = feeds()
    given["x"][0, 0, 0, 0] = np.inf
    likely = end_to_end(typed(deep_model(4), "fp16"), given, Contract())["y"]
    assert likely.loose[0].any() and not likely.loose[1:].any()


@pytest.mark.parametrize(("factor", "covered"), [(1.0, True), (1e3, True), (6e4, False)])
def test_what_may_leave_the_range_of_16_bits_inside_is_not_covered(factor, covered):
    """x * Sigmoid(x) with infinity is NaN in a correct engine, and a finite number in exact arithmetic."""
    model = chain(("Sigmoid", [], {}), ("Mul", ["t"], {}))
    graph, given = typed(model, "fp16"), {"x": feeds(shape=(2, 3, 8, 8))["x"] * np.float32(factor)}
    likely = end_to_end(graph, given, Contract())
    assert (likely is not None) == covered
    if likely is not None:
        got = OnnxRuntime(graph).run(given)["y"].astype(np.float64)
        assert ((got >= likely["y"].low) & (got <= likely["y"].high)).all()
