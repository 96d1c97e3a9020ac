"""Limits of transcendental functions: honest values pass at the edges too, wrong functions do not."""

from __future__ import annotations

import math

import numpy as np
import onnx.defs
import onnxruntime
import pytest

from pytest_trt.numerics.bounds import Bound
from tests.unit.check.nodes import OneNode, refused

RNG = np.random.default_rng(5)
X = np.concatenate([RNG.standard_normal(300) * 2, np.linspace(-9, 9, 181), [0.0, -0.0, 1e-6, -1e-6]])
POSITIVE = np.abs(X) + 2.0**-8
EDGES = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 3e4, -3e4, 1e-30, -1e-30, 88.0, -88.0, -104.0])

FUNCTIONS = {
    "Exp": (X, {}, 13),
    "Log": (POSITIVE, {}, 13),
    "Sqrt": (POSITIVE, {}, 13),
    "Reciprocal": (POSITIVE, {}, 13),
    "Sin": (X, {}, 13),
    "Cos": (X, {}, 13),
    "Sigmoid": (X, {}, 13),
    "Tanh": (X, {}, 13),
    "Erf": (X, {}, 13),
    "Softplus": (X, {}, 13),
    "Softsign": (X, {}, 13),
    "Elu": (X, {"alpha": 0.7}, 13),
    "Selu": (X, {}, 13),
    "Celu": (X, {"alpha": 1.5}, 13),
    "Mish": (X, {}, 18),
    "HardSigmoid": (X, {}, 13),
    "HardSwish": (X, {}, 14),
    "LeakyRelu": (X, {"alpha": 0.1}, 16),
    "ThresholdedRelu": (X, {"alpha": 0.3}, 13),
    "Gelu": (X, {"approximate": "none"}, 20),
    "Gelu tanh": (X, {"approximate": "tanh"}, 20),
}
ONNXRUNTIME = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
KNOWN = [name for name in FUNCTIONS if FUNCTIONS[name][2] <= onnx.defs.onnx_opset_version()]


def node(name, x=None):
    values, attributes, opset = FUNCTIONS[name]
    return OneNode(name.split()[0], values if x is None else x, opset=opset, **attributes)


@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", KNOWN)
def test_a_function_passes_and_one_percent_more_does_not(name, kind):
    made = node(name)
    limits, honest = made.limits(kind), made.run(kind)
    assert refused(honest, limits, kind) == 0
    assert refused(honest * 1.01, limits, kind) > honest.size / 5
    if kind == "fp32":
        assert refused(honest * 1.0001, limits, kind) > honest.size / 5


@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", KNOWN)
def test_infinities_zeros_and_far_values_pass(name, kind):
    if name in ("Sqrt", "Erf") and ONNXRUNTIME < (1, 20):
        pytest.skip(
            "this ONNX Runtime makes a number of NaN, or NaN of a number: pip install onnxruntime>=1.20"
        )
    made = node(name, EDGES)
    assert refused(made.run(kind), made.limits(kind), kind) == 0


@pytest.mark.parametrize("name", KNOWN)
def test_an_input_that_is_not_known_exactly_covers_all_that_it_may_be(name):
    """Inputs in an interval: whatever point of it is taken, the result is inside; but not one from far outside."""
    x = np.asarray(FUNCTIONS[name][0], np.float64)
    room = 0.05 * (1 + np.abs(x))
    low = np.maximum(x - room, 2.0**-9) if FUNCTIONS[name][0] is POSITIVE else x - room
    bound = Bound(x, low, x + room, "fp32")
    limits = node(name).limits("fp32", x0=bound)
    for share in (0.0, 0.3, 0.5, 0.8, 1.0):
        honest = node(name, low + share * (x + room - low)).run()
        assert refused(honest, limits) == 0
    assert refused(node(name, x + 4 * room).run(), limits) > x.size / 10


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("Gelu", lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
        ("Gelu tanh", lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))),
        ("Gelu", lambda x: x / (1 + np.exp(-1.702 * x))),
        ("Mish", lambda x: x / (1 + np.exp(-x))),
        ("Elu", lambda x: np.where(x > 0, x, np.expm1(x))),
        ("Selu", lambda x: np.where(x > 0, x, np.expm1(x))),
        ("Sigmoid", lambda x: np.clip(0.25 * x + 0.5, 0, 1)),
        ("Log", lambda x: np.log2(x)),
        ("Erf", lambda x: np.tanh(2 / np.sqrt(np.pi) * x * (1 + 0.0893 * x * x))),
    ],
)
def test_another_function_in_its_place_is_refused(name, wrong):
    if name not in KNOWN:
        pytest.skip("this onnx does not know the operator set; pip install -U onnx")
    made = node(name)
    assert refused(wrong(made.feeds["x0"].astype(np.float64)), made.limits()) > X.size / 5


POWERS = (2.0, 3.0, 0.5, -1.0, 1.0, 0.0, 1.75, -0.5)


@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("exponent", POWERS)
def test_powers(exponent, kind):
    made = OneNode("Pow", X if exponent in (2.0, 3.0) else POSITIVE, np.float32(exponent))
    limits, honest = made.limits(kind), made.run(kind)
    assert refused(honest, limits, kind) == 0
    assert refused(np.abs(honest) * 1.01, limits, kind) > honest.size / 5


def test_a_square_of_a_negative_number_is_no_nan():
    made = OneNode("Pow", [-2.0, -3.0, 2.0], np.float32(2.0))
    with np.errstate(invalid="ignore"):
        by_logarithm = np.exp2(2.0 * np.log2(made.feeds["x0"]))
    assert refused(by_logarithm, made.limits()) == 2


def test_powers_of_intervals_that_reach_across_zero():
    x = np.array([-1.0, 0.5, 2.0])
    limits = OneNode("Pow", x, np.float32(2.0)).limits(x0=Bound(x, x - 1, x + 1, "fp32"))
    assert limits.low[0] <= 0 <= limits.low[2] and np.all(limits.high >= [4, 2.25, 9])
    assert refused([0.0, 0.0, 1.0], limits) == 0 and refused([5.0, 3.0, 10.0], limits) == 3
    limits = OneNode("Pow", x, np.float32(-1.0)).limits(x0=Bound(x, x - 1, x + 1, "fp32"))
    assert limits.loose.tolist() == [True, True, False]


def test_a_nan_that_a_function_swallows_is_refused():
    for name in ("Erf", "Log", "Sin", "Softplus", "Exp", "Reciprocal"):
        assert refused([0.0], node(name, [np.nan]).limits()) == 1
    assert refused([0.0], node("Log", [-1.0]).limits()) == 1
    assert refused([np.nan], node("Log", [-1.0]).limits()) == 0
