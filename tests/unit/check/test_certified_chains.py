"""Exact results go on being exact: what reads them is certified as well."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pytest_trt.check import operators
from pytest_trt.check.graph import Graph
from pytest_trt.check.interpret import interpret
from pytest_trt.numerics.bounds import Bound, Contract, sharpen
from pytest_trt.precision import prepare
from tests.unit.check.models import make_model

assert operators  # registers the handlers
RNG = np.random.default_rng(0)
NODES = [
    helper.make_node("MatMul", ["x", "w"], ["m"], name="m"),
    helper.make_node("Add", ["m", "b"], ["a"], name="a"),
    helper.make_node("Relu", ["a"], ["r"], name="r"),
    helper.make_node("MatMul", ["r", "v"], ["n"], name="n"),
    helper.make_node("Add", ["n", "r"], ["y"], name="y"),
]


def limits(precision, top):
    """Return the bound of a chain of products on integers up to `top`, and the values."""
    constants = {
        "w": RNG.integers(-1, 2, (12, 8)).astype(np.float32),
        "b": RNG.integers(-3, 4, 8).astype(np.float32),
        "v": RNG.integers(-1, 2, (8, 8)).astype(np.float32),
    }
    model = make_model(NODES, ("N", 12), constants)
    x = RNG.integers(-top, top + 1, (3, 12)).astype(np.float32)
    graph = Graph(prepare(model, precision, strong=True).matched)
    bound = interpret(graph, {"x": Bound.exact(x.astype(np.float64), "fp32")}, Contract()).tensors["y"]
    r = np.maximum(x @ constants["w"] + constants["b"], 0)
    return bound, r @ constants["v"] + r


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_second_product_of_integers_has_one_admissible_value(precision):
    bound, values = limits(precision, 2)
    assert bound.is_exact
    np.testing.assert_array_equal(bound.mid, values)


@pytest.mark.parametrize(("precision", "top"), [("fp32", 2**22), ("fp16", 900)])
def test_sums_that_the_accumulator_or_the_format_does_not_hold_round(precision, top):
    bound, _ = limits(precision, top)
    assert (bound.low < bound.high).any() and not bound.is_exact


def test_what_is_free_or_not_finite_is_not_made_exact():
    one = np.ones(2)

    def bound(values, **fields):
        return Bound(values, values.copy(), values.copy(), **fields)

    assert sharpen(bound(one)).is_exact
    assert not sharpen(Bound(one, one.copy(), one + 1)).is_exact
    assert not sharpen(bound(one, loose=np.array([True, False]))).is_exact
    assert not sharpen(bound(one, kind="int8")).is_exact
    assert not sharpen(bound(np.array([np.inf, 1.0]))).is_exact
