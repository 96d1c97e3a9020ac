"""The width of an interval is told by its parts, and axes have names."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pytest_trt.check import operators  # noqa: F401  (registers the limits)
from pytest_trt.check.graph import Graph
from pytest_trt.check.interpret import interpret
from pytest_trt.check.sources import axes_of, last_products, list_sources
from pytest_trt.numerics.bounds import Bound, Contract
from tests.unit.check.models import conv_model, make_model

X = np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype("f4").astype("f8")
AT = (1, 4, 2, 3)


def parts(graph, contract, known=None):
    return dict(list_sources(graph, known or {"x": Bound.exact(X, "fp32")}, "y", AT, contract))


def test_a_sum_has_its_accumulation_and_its_rounding():
    graph = Graph(conv_model(integer=False))
    found = parts(graph, Contract())
    assert list(found) == ["accumulation", "rounding to fp32"]
    bound = interpret(graph, {"x": Bound.exact(X, "fp32")}, Contract()).tensors["y"]
    assert found["accumulation"] == pytest.approx(bound.high[AT] - bound.mid[AT], rel=0.2)


def test_tf32_is_the_largest_part_where_it_is_allowed():
    assert next(iter(parts(Graph(conv_model(integer=False)), Contract(tf32=True)))) == "operands read as TF32"


def test_what_the_inputs_bring_in_is_told_apart():
    wide = Bound(X, X - 1e-3, X + 1e-3, "fp32")
    found = parts(Graph(conv_model(integer=False)), Contract(), {"x": wide})
    assert next(iter(found)) == "inherited from the inputs' intervals" and found["accumulation"] < 1e-4


@pytest.mark.parametrize("rung", ["winograd", "fft"])
def test_the_algorithm_of_the_rung_is_told_apart(rung):
    assert f"algorithm {rung}" in parts(Graph(conv_model(integer=False)), Contract().rung(rung))


def test_a_certified_sum_has_its_rounding_only():
    known = {"x": Bound.exact(np.rint(X), "fp32")}
    assert list(parts(Graph(conv_model()), Contract(), known)) == ["rounding to fp32"]


def test_pointwise_arithmetic_is_told_with_and_without_a_sum():
    alone = Graph(make_model([helper.make_node("Sigmoid", ["x"], ["y"])], ("N", 3, 6, 6)))
    assert "arithmetic" in dict(
        list_sources(alone, {"x": Bound.exact(X, "fp32")}, "y", (0, 0, 0, 0), Contract())
    )
    model = conv_model(integer=False)
    model.graph.node[0].output[0] = "c"
    model.graph.node.append(helper.make_node("Sigmoid", ["c"], ["y"]))
    assert {"accumulation", "pointwise arithmetic"} <= parts(Graph(model), Contract()).keys()


def test_axes_are_named_where_images_run_and_numbered_elsewhere():
    assert axes_of(Graph(conv_model(relu=True)), "y", 4) == ("N", "C", "H", "W")
    assert axes_of(Graph(conv_model(relu=True)), "x", 4) == ("N", "C", "H", "W")
    product = Graph(make_model([helper.make_node("MatMul", ["x", "x"], ["y"])], (2, 3, 6, 6)))
    assert axes_of(product, "y", 4) == ("axis 0", "axis 1", "axis 2", "axis 3")
    assert axes_of(product, "y", 2) == ("axis 0", "axis 1")


def test_the_last_sum_before_a_tensor_is_found():
    graph = Graph(conv_model(relu=True))
    assert last_products(graph, "y", {}).op == "Conv"
    assert last_products(graph, "y", {"c": Bound.exact(X, "fp32")}) is None
