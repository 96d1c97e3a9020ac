"""Limits of normalisations: both forms of the variance pass; a wrong epsilon, count, axis or order does not."""

from __future__ import annotations

import numpy as np
import onnx.defs
import pytest

from pytest_trt.numerics.bounds import Bound, Contract
from pytest_trt.numerics.formats import round_to
from tests.unit.check.nodes import OneNode, refused

RNG = np.random.default_rng(8)
X = RNG.standard_normal((3, 8, 48)) * 0.5 + 0.25
SCALE, SHIFT = RNG.uniform(0.5, 2, 48), RNG.standard_normal(48)
F = np.float32


def layer(x=X, epsilon=1e-5, axis=-1, scale=SCALE, shift=SHIFT):
    return OneNode("LayerNormalization", x, scale, shift, opset=17, axis=axis, epsilon=epsilon)


def exact(x, epsilon=1e-5, axis=(-1,), scale=SCALE, shift=SHIFT, spare=0):
    x = x.astype(np.float32).astype(np.float64)
    centre = x.mean(axis=axis, keepdims=True)
    n = np.prod([x.shape[a] for a in axis])
    variance = ((x - centre) ** 2).sum(axis=axis, keepdims=True) / (n - spare)
    return (x - centre) / np.sqrt(variance + epsilon) * scale.astype(F) + shift.astype(F)


@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16"])
def test_layer_normalisation(kind):
    made = layer()
    limits, honest = made.limits(kind), made.run(kind)
    assert refused(honest, limits, kind) == 0
    assert refused(honest * 1.01, limits, kind) > honest.size / 2
    assert refused(exact(X, spare=1), limits, kind) > honest.size / 4, "the variance of a sample"
    assert refused(exact(X, shift=0 * SHIFT), limits, kind) > honest.size / 2
    assert refused(exact(X, axis=(1, 2)), limits, kind) > honest.size / 2
    assert refused(exact(X, scale=np.roll(SCALE, 1)), limits, kind) > honest.size / 2


def test_another_epsilon_is_refused_in_fp32():
    limits = layer().limits()
    assert refused(exact(X), limits) == 0
    assert refused(exact(X, epsilon=1e-3), limits) > X.size / 2
    assert refused(exact(X, epsilon=0.0), limits) > X.size / 4


@pytest.mark.parametrize("offset", [0.0, 3.0, 100.0])
def test_the_variance_may_be_computed_in_one_pass_or_two(offset):
    x = (X + offset).astype(F)
    limits = layer(x).limits()
    mean = x.mean(axis=-1, keepdims=True, dtype=F)
    one = np.maximum((x * x).mean(axis=-1, keepdims=True, dtype=F) - mean * mean, F(0))
    two = ((x - mean) ** 2).mean(axis=-1, keepdims=True, dtype=F)
    for variance in (one, two):
        factor = F(1) / np.sqrt(variance + F(1e-5))
        assert refused((x - mean) * factor * SCALE.astype(F) + SHIFT.astype(F), limits) == 0
        folded = factor * SCALE.astype(F)
        assert refused(x * folded + (SHIFT.astype(F) - mean * folded), limits) == 0


def test_a_stored_normalised_value_is_on_the_rung_of_unfused_graphs():
    made = layer()
    x = round_to(made.feeds["x0"].astype(np.float64), "bf16")
    scale, shift = (round_to(made.feeds[n].astype(np.float64), "bf16") for n in ("x1", "x2"))
    plain = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    stored = round_to(round_to(plain, "bf16") * scale, "bf16") + shift
    assert refused(stored, made.limits("bf16"), "bf16") > 0
    assert refused(stored, made.limits("bf16", Contract().unfused()), "bf16") == 0


def test_a_row_with_a_nan_is_nan_and_one_with_an_infinity_is_open():
    x = X.copy()
    x[0, 0, 0], x[1, 1, 1] = np.nan, np.inf
    limits = layer(x).limits()
    honest = layer(x).run()
    assert refused(honest, limits) == 0
    assert np.isnan(honest[0, 0]).all() and refused(np.where(np.isnan(honest), 0.0, honest), limits) == 48
    assert limits.loose[1, 1].all() and limits.loose.sum() == 48


def test_inputs_and_parameters_that_are_not_known_exactly():
    x = X.astype(F).astype(np.float64)
    room = np.full(X.shape, 0.01)
    scale, shift = SCALE.astype(F).astype(np.float64), SHIFT.astype(F).astype(np.float64)
    limits = layer().limits(
        x0=Bound(x, x - room, x + room, "fp32"),
        x1=Bound(scale, scale - 1e-3, scale + 1e-3, "fp32"),
        x2=Bound(shift, shift - 1e-3, shift + 1e-3, "fp32"),
    )
    for number in range(20):
        rng = np.random.default_rng(number)
        sign = rng.choice([-1, 1], X.shape) if number % 2 else rng.uniform(-1, 1, X.shape)
        near = layer(x + sign * room, scale=scale + 1e-3, shift=shift - 1e-3)
        assert refused(near.run(), limits) == 0
    assert refused(layer(x + 0.3 * RNG.standard_normal(X.shape)).run(), limits) > 100


@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16"])
def test_instance_normalisation(kind):
    x = RNG.standard_normal((2, 6, 5, 7)) + 0.5
    scale, shift = SCALE[:6], SHIFT[:6]
    made = OneNode("InstanceNormalization", x, scale, shift, epsilon=1e-3)
    limits, honest = made.limits(kind), made.run(kind)
    assert refused(honest, limits, kind) == 0
    wide = {"scale": scale.reshape(6, 1, 1), "shift": shift.reshape(6, 1, 1)}
    for wrong in ({"axis": (1, 2, 3)}, {"axis": (2, 3), "spare": 1}, {"axis": (0, 2, 3)}):
        assert refused(exact(x, 1e-3, **wrong, **wide), limits, kind) > x.size / 4


@pytest.mark.skipif(
    onnx.defs.onnx_opset_version() < 21, reason="onnx lacks operator set 21: pip install -U onnx"
)
def test_group_normalisation_has_a_scale_a_channel_and_before_one_a_group():
    x = RNG.standard_normal((2, 6, 5))
    made = OneNode("GroupNormalization", x, SCALE[:6], SHIFT[:6], opset=21, num_groups=3, epsilon=1e-5)
    parts = x.reshape(2, 3, 2, 5)
    wide = {"scale": SCALE[:6].reshape(3, 2, 1), "shift": SHIFT[:6].reshape(3, 2, 1)}
    want = exact(parts, axis=(2, 3), **wide).reshape(x.shape)
    assert refused(want, made.limits()) == 0
    assert refused(exact(parts, axis=(3,), **wide).reshape(x.shape), made.limits()) > 30
    older = OneNode("GroupNormalization", x, SCALE[:3], SHIFT[:3], opset=18, num_groups=3)
    wide = {"scale": SCALE[:3].reshape(3, 1, 1), "shift": SHIFT[:3].reshape(3, 1, 1)}
    assert refused(exact(parts, axis=(2, 3), **wide).reshape(x.shape), older.limits()) == 0


@pytest.mark.skipif(
    onnx.defs.onnx_opset_version() < 23, reason="onnx lacks operator set 23: pip install -U onnx"
)
def test_rms_normalisation_subtracts_no_mean():
    made = OneNode("RMSNormalization", X, SCALE, opset=23, axis=-1, epsilon=1e-5)
    x = X.astype(F).astype(np.float64)
    want = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * SCALE.astype(F)
    assert refused(want, made.limits()) == 0
    assert refused(exact(X, shift=0 * SHIFT), made.limits()) > X.size / 2


@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset", [11, 13])
def test_softmax_and_its_logarithm(op, opset, kind):
    made = OneNode(op, X * 8, opset=opset, axis=1)
    limits, honest = made.limits(kind), made.run(kind)
    assert refused(honest, limits, kind) == 0
    assert refused(honest * 1.01, limits, kind) > X.size / 4
    other = OneNode(op, X * 8, opset=opset, axis=2).run(kind)
    assert refused(other, limits, kind) > X.size / 2


def test_the_logarithm_of_a_stored_softmax_is_on_the_rung_of_unfused_graphs():
    made = OneNode("LogSoftmax", X * 8, axis=-1)
    x = round_to(made.feeds["x0"].astype(np.float64), "fp16")
    p = np.exp(x - x.max(-1, keepdims=True))
    with np.errstate(divide="ignore"):
        stored = np.log(round_to(p / p.sum(-1, keepdims=True), "fp16"))
    assert np.isneginf(stored).any()
    assert refused(stored, made.limits("fp16"), "fp16") > 0
    assert refused(stored, made.limits("fp16", Contract().unfused()), "fp16") == 0


@pytest.mark.parametrize("p", [1, 2])
def test_vectors_are_divided_by_their_norm(p):
    made = OneNode("LpNormalization", X, axis=1, p=p)
    limits, honest = made.limits(), made.run()
    assert refused(honest, limits) == 0
    assert refused(OneNode("LpNormalization", X, axis=1, p=3 - p).run(), limits) > X.size / 2
    assert refused(OneNode("LpNormalization", X, axis=2, p=p).run(), limits) > X.size / 2
    zero = OneNode("LpNormalization", np.zeros((2, 3)), axis=1, p=p).limits()
    assert refused([[np.nan] * 3, [0.0] * 3], zero) == 0


def test_local_response_normalisation():
    attributes = {"alpha": 0.5, "beta": 0.75, "bias": 2.0}
    x = RNG.standard_normal((2, 9, 4, 3)) * 3
    made = OneNode("LRN", x, size=3, **attributes)
    limits, honest = made.limits(), made.run()
    assert refused(honest, limits) == 0
    assert refused(OneNode("LRN", x, size=5, **attributes).run(), limits) > x.size / 2
    x[0, 4, 0, 0] = np.nan
    made = OneNode("LRN", x, size=3, **attributes)
    assert refused(made.run(), made.limits()) == 0
