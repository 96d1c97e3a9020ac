"""Limits of reductions: any order passes, another axis or another count does not."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.numerics.bounds import Bound
from tests.unit.check.nodes import OneNode, refused

RNG = np.random.default_rng(3)
X = RNG.standard_normal((4, 5, 4, 6)) + 0.5
OPS = {
    "ReduceSum": np.sum,
    "ReduceMean": np.mean,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceL1": lambda v, **k: np.abs(v).sum(**k),
    "ReduceL2": lambda v, **k: np.sqrt((v * v).sum(**k)),
    "ReduceSumSquare": lambda v, **k: (v * v).sum(**k),
    "ReduceProd": np.prod,
}


def node(op, axes=(1, 3), x=X, **attributes):
    return OneNode(op, x, constants=[np.array(axes, np.int64)] if axes else [], opset=18, **attributes)


@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("op", OPS)
def test_reductions_pass_and_wrong_ones_do_not(op, kind):
    made = node(op)
    limits, honest = made.limits(kind), made.run(kind)
    assert limits.mid.shape == honest.shape == (4, 1, 4, 1)
    assert refused(honest, limits, kind) == 0
    assert (
        refused(honest * 1.01, limits, kind) > honest.size / 3
    )  # products go down to subnormal FP16 numbers
    x = made.feeds["x0"].astype(np.float64)
    assert refused(OPS[op](x, axis=(1, 2), keepdims=True)[:, :, :, :4].transpose(0, 1, 3, 2), limits, kind)
    assert refused(OPS[op](x[:, :-1], axis=(1, 3), keepdims=True), limits, kind)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("axes", [(0,), (-1,), (2, 1), ()])
def test_axes_and_keepdims(op, keep, axes):
    made = node(op, axes, keepdims=keep)
    honest = made.run()
    assert made.limits().mid.shape == honest.shape
    assert refused(honest, made.limits()) == 0


def test_axes_are_an_attribute_in_older_operator_sets():
    made = OneNode("ReduceMean", X, opset=13, axes=[1], keepdims=0)
    assert refused(made.run(), made.limits()) == 0
    assert made.limits().mid.shape == (4, 4, 6)


def test_no_axes_may_mean_no_reduction():
    made = OneNode("ReduceMax", X, opset=18, noop_with_empty_axes=1)
    assert made.limits().mid.shape == X.shape
    assert refused(X.astype(np.float32), made.limits()) == 0


def test_a_mean_divides_by_the_number_of_elements():
    made = node("ReduceMean")
    assert refused(made.run() * 30 / 29, made.limits()) == 16


def test_sums_of_integers_are_exact():
    made = node("ReduceSum", x=np.rint(X * 4))
    assert np.array_equal(made.limits().low, made.limits().high)
    limits = node("ReduceSumSquare", x=np.rint(X * 4)).limits()
    assert np.array_equal(limits.low, limits.high)
    limits = node("ReduceProd", (2,), x=np.rint(X * 4)).limits()
    assert np.array_equal(limits.low, limits.high)


def test_sums_in_any_order_pass():
    x = (RNG.standard_normal((1, 4000)) * 10 ** RNG.uniform(-3, 3, (1, 4000))).astype(np.float32)
    limits = node("ReduceSum", (1,), x=x).limits()
    for order in (np.arange(4000), np.argsort(x[0]), np.argsort(-np.abs(x[0])), RNG.permutation(4000)):
        assert refused(np.add.accumulate(x[:, order], axis=1, dtype=np.float32)[:, -1:], limits) == 0


@pytest.mark.parametrize("op", OPS)
def test_inputs_that_are_not_known_exactly(op):
    x = X.astype(np.float32).astype(np.float64)
    low, high = x - 0.01, x + 0.02
    limits = node(op).limits(x0=Bound(x, low, high, "fp32"))
    for share in (0.0, 0.4, 1.0):
        assert refused(node(op, x=low + share * (high - low)).run(), limits) == 0
    mixed = np.where(RNG.random(X.shape) < 0.5, low, high)
    assert refused(node(op, x=mixed).run(), limits) == 0
    assert refused(node(op, x=x + 1.0).run(), limits) > 4


@pytest.mark.parametrize("op", OPS)
def test_special_values(op):
    x = X.copy()
    x[0, 0, 0, 0], x[1, 1, 1, 1], x[2, 2, 2, 2], x[2, 3, 2, 2] = np.nan, np.inf, np.inf, -np.inf
    made = node(op, x=x)
    limits, honest = made.limits(), made.run()
    assert refused(honest, limits) == 0
    if op not in ("ReduceMax", "ReduceMin"):
        assert refused(np.where(np.isnan(honest), 0.0, honest), limits) > 0, "a NaN must come out"


def test_squares_beyond_the_range_may_overflow_or_be_scaled():
    limits = node("ReduceL2", (1,), x=np.full((1, 4), 1e25)).limits()
    assert refused([[np.inf]], limits) == 0 and refused([[2e25]], limits) == 0
    assert refused([[1e25]], limits) == 1
    limits = node("ReduceSumSquare", (1,), x=np.full((1, 4), 1e-30)).limits()
    assert refused([[0.0]], limits) == 0 and refused([[1e-30]], limits) == 1


def test_partial_sums_beyond_the_range_promise_nothing():
    limits = node("ReduceSum", (1,), x=np.array([[3e38, 3e38, -3e38]])).limits()
    assert refused([[np.inf]], limits) == 0
