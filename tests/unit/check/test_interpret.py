"""The limits of graphs against ONNX Runtime as an honest engine, at every precision and on every kind of data."""

from __future__ import annotations

import numpy as np
import onnx.defs
import pytest
from hypothesis import HealthCheck, given, seed, settings
from onnx import helper

from pytest_trt import strategies
from pytest_trt.check import operators
from pytest_trt.check.feeds import draw_feeds, scale_of
from pytest_trt.check.graph import Graph
from pytest_trt.check.interpret import interpret
from pytest_trt.check.reference import OnnxRuntime
from pytest_trt.numerics.battery import kinds_for
from pytest_trt.numerics.bounds import Bound, Contract
from pytest_trt.numerics.judge import measure
from pytest_trt.precision import measure_ranges, prepare
from pytest_trt.records import DATA_KINDS, PRECISIONS
from tests.unit.check.models import conv_model, make_model, unlimited_model

# bf16 graphs need operator set 22, which the oldest onnx that we allow does not know.
KNOWN = tuple(name for name in PRECISIONS if name != "bf16" or onnx.defs.onnx_opset_version() >= 22)
FAMILIES = ("conv", "conv_transpose", "pool", "gemm", "elementwise", "motif", "batch")


def honest_outputs(case, precision):
    """Yield (data kind, tensor, measure) for ONNX Runtime's own run of the typed graph."""
    model = case.model()
    source = Graph(model)
    scale, rng = scale_of(source), np.random.default_rng(0)
    ranges = {}
    if precision == "int8":
        reach = dict.fromkeys(source.inputs, 127 / 128)
        feeds = draw_feeds(source, case.input_shapes, "uniform11", "int8", scale, reach, rng)
        ranges = measure_ranges(model, [feeds]) | reach
    graph = Graph(prepare(model, precision, strong=True, ranges=ranges or None).matched)
    reference = OnnxRuntime(graph)
    contract = Contract().unfused()
    for kind in kinds_for(precision, DATA_KINDS):
        feeds = draw_feeds(source, case.input_shapes, kind, precision, scale, ranges, rng)
        exact = {n: Bound.exact(v.astype(np.float64), "fp32") for n, v in feeds.items()}
        bounds = interpret(graph, exact, contract)
        for name, values in reference.run(feeds).items():
            assert bounds.tensors[name].mid.shape == values.shape
            yield kind, name, measure(values, bounds.tensors[name])


@pytest.mark.parametrize("precision", KNOWN)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_honest_engine_stays_inside_its_limits(family, precision):
    @seed(11)
    @settings(max_examples=6, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(getattr(strategies, f"{family}_cases")())
    def check(case):
        for kind, name, found in honest_outputs(case, precision):
            assert found.bad == 0, (case.text, kind, name, found)

    check()


def test_integer_data_leave_one_value_in_every_precision():
    model = conv_model()
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, (2, 3, 6, 6)).astype(np.float64)
    for precision in {"fp32", "fp16", "bf16"}.intersection(KNOWN):
        graph = Graph(prepare(model, precision, strong=True).matched)
        bound = interpret(graph, {"x": Bound.exact(x, "fp32")}, Contract()).tensors["y"]
        assert np.array_equal(bound.low, bound.high)


def test_an_operator_without_a_limit_is_named_and_stops_there():
    x = np.zeros((1, 4, 6))
    found = interpret(Graph(unlimited_model()), {"x": Bound.exact(x, "fp32")}, Contract())
    assert found.unknown == {"Asinh": 1}
    assert "y" not in found.tensors
    assert "Asinh" not in operators.with_limit()


def test_a_tensor_given_cuts_the_graph():
    graph = Graph(conv_model(relu=True))
    inner = np.full((1, 12, 6, 6), -1.0)
    found = interpret(graph, {"c": Bound.exact(inner, "fp32")}, Contract())
    assert not found.tensors["y"].mid.any()


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_padding_moves_elements_as_onnx_runtime_does(mode):
    node = helper.make_node("Pad", ["x", "pads"], ["y"], name="pad", mode=mode)
    graph = Graph(make_model([node], (1, 5), {"pads": np.array([0, 2, 0, 1], np.int64)}))
    x = np.arange(5, dtype=np.float32)[None]
    bound = interpret(graph, {"x": Bound.exact(x.astype(np.float64), "fp32")}, Contract()).tensors["y"]
    assert np.array_equal(bound.mid, OnnxRuntime(graph).run({"x": x})["y"])
