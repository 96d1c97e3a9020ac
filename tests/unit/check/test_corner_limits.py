"""Corners at which a correct kernel was once refused: folded scales, parts that overflow, tiles that spread a NaN."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pytest_trt.check.admissible import Admissible
from pytest_trt.check.graph import Graph
from pytest_trt.numerics.bounds import Contract
from pytest_trt.numerics.linear import Window, columns
from pytest_trt.precision import prepare
from tests.unit.check.models import conv_model, make_model


def test_a_kernel_may_fold_the_output_scale_into_factor_and_bias():
    """INT8 with exact sums that the bias nearly cancels: `acc (s_x s_w / s_y) + b / s_y` rounds what the plain form does not."""
    rng = np.random.default_rng(0)
    terms, filters, scale = 690, 200, np.float32(12291)
    x = rng.integers(90, 128, (1, terms, 1, 1)).astype(np.float32)
    w = rng.integers(90, 128, (filters, terms, 1, 1)).astype(np.int8)
    sums = x.reshape(terms).astype(np.float64) @ w.reshape(filters, terms).T
    b = (np.floor(scale * (np.arange(filters) % 60 + 0.5)) - sums).astype(np.float32)
    one = np.float32(1)
    constants = {"sx": one, "sw": one, "sy": scale, "z": np.int8(0), "w": w, "b": b}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "sx", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "sw"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd", "b"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "sy", "z"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "sy", "z"], ["y"]),
    ]
    admissible = Admissible(Graph(make_model(nodes, x.shape, constants)), {"x": x}, Contract())
    folded = sums.astype(np.float32) * (one / scale) + b / scale
    plain = (sums.astype(np.float32) + b) / scale
    assert (np.rint(folded) != np.rint(plain)).any()
    for levels in (folded, plain):
        got = (np.rint(levels) * scale).reshape(1, filters, 1, 1)
        assert admissible.judge("y", got, statistics=False).status == "conforms"
    wrong = ((np.rint(plain) + 2) * scale).reshape(1, filters, 1, 1)
    assert admissible.judge("y", wrong, statistics=False).status == "violates"


def typed(value):
    model = conv_model(integer=False)
    graph = Graph(prepare(model, "fp16", strong=True).matched)
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float16).astype(np.float32)
    if value is None:
        x *= 3e4
    else:
        x[1, 0, 0, 0] = value
    return graph, {"x": x}


def test_a_part_of_split_k_may_overflow_although_the_sum_does_not():
    graph, feeds = typed(None)
    admissible = Admissible(graph, feeds, Contract(), ("direct", "unfused"))
    limits = admissible.on("direct").tensors["y"]
    got = limits.mid.astype(np.float32)
    with np.errstate(invalid="ignore"):
        got = got.astype(np.float16).astype(np.float32)
    at = np.argwhere(np.isfinite(got) & (np.abs(got) > 3e4))[0]
    got[tuple(at)] = np.inf
    assert admissible.judge("y", got, statistics=False).status == "violates"
    judged = Admissible(graph, feeds, Contract()).judge("y", got, statistics=False)
    assert (judged.status, judged.rung) == ("conforms", "splitk")


@pytest.mark.parametrize("rung", ["winograd", "fft"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_tile_may_spread_what_is_not_finite_over_its_item_alone(rung, value):
    graph, feeds = typed(value)
    limits = Admissible(graph, feeds, Contract()).on(rung).tensors["y"]
    assert limits.loose is not None and limits.loose[1].all() and not limits.loose[0].any()
    direct = Admissible(graph, feeds, Contract()).on("direct").tensors["y"]
    assert direct.loose is None or (not direct.loose[0].any() and not direct.loose[1].all())


def test_a_bias_may_be_added_to_a_stored_sum_where_that_rung_passes():
    """A library adds it in a kernel of its own: the sum is rounded before the bias comes."""
    graph, feeds = typed(0.25)
    node = next(n for n in graph.nodes if n.op == "Conv")
    w, bias = (graph.constant(name) for name in node.inputs[1:])
    assert w is not None and bias is not None
    window = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))
    sums = columns(feeds["x"].astype(np.float64), window, 1).times(w.mid)
    got = (sums.astype(np.float16) + bias.mid.astype(np.float16).reshape(1, -1, 1, 1)).astype(np.float32)
    judged = Admissible(graph, feeds, Contract(), ("direct", "unfused")).judge("y", got, statistics=False)
    assert (judged.status, judged.rung) == ("conforms", "unfused")
    assert (
        Admissible(graph, feeds, Contract(), ("direct",)).judge("y", got, statistics=False).status
        == "violates"
    )


def test_a_residual_may_be_the_first_term_of_the_sum():
    """FP32: a fused kernel starts its accumulator with the addend, and rounds small products away against it."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 4, 6, 6)).astype(np.float32)
    r = (rng.standard_normal((1, 5, 4, 4)) * 100).astype(np.float32)
    w = (rng.standard_normal((5, 4, 3, 3)) * 1e-4).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Add", ["c", "r"], ["y"])]
    model = make_model(nodes, x.shape, {"w": w, "r": r})
    admissible = Admissible(Graph(model), {"x": x}, Contract(statistics=True), ("direct",))
    taps = columns(x.astype(np.float64), Window((3, 3), (1, 1), (1, 1), (0, 0), (0, 0)), 1).data[0, 0]
    total = r.reshape(5, 16).copy()
    for k, column in enumerate(w.reshape(5, -1).T):
        total = (total + column[:, None] * taps[k].astype(np.float32)).astype(np.float32)
    got = total.reshape(r.shape)
    plain = admissible.on("direct").tensors["y"].mid.astype(np.float32)
    assert (got != plain).any()
    for honest in (got, plain):
        assert admissible.judge("y", honest, statistics=True).status == "conforms"
    assert admissible.judge("y", got + np.float32(1e-3), statistics=True).status != "conforms"
