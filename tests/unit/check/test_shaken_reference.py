"""A reference that is shaken by rounding errors: what two honest runs of a network may lie apart."""

from __future__ import annotations

import numpy as np
from onnx import helper

from pytest_trt.check.graph import Graph
from pytest_trt.check.reference import OnnxRuntime
from tests.unit.check.models import conv_model, make_model

FEED = {"x": np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32)}


def test_every_stored_tensor_is_shaken_by_its_unit_and_runs_repeat():
    graph, unit = Graph(conv_model(integer=False)), 2.0**-11
    want = OnnxRuntime(graph).run(FEED)["y"]
    first, again = (OnnxRuntime(graph, unit=unit).run(FEED)["y"] for _ in range(2))
    assert np.array_equal(first, again)
    change = np.abs(first / want - 1)
    assert 0.8 * unit < change.max() <= 1.01 * unit and (change > 0).mean() > 0.9


def test_numbers_that_may_be_a_shape_are_left_alone():
    """One axis: the sizes of a Resize, the ends of a Range."""
    constants = {"two": np.array([2.0], np.float32)}
    model = make_model([helper.make_node("Mul", ["x", "two"], ["y"])], (5,), constants)
    feed = {"x": np.arange(5, dtype=np.float32)}
    assert np.array_equal(OnnxRuntime(Graph(model), unit=0.1).run(feed)["y"], 2 * feed["x"])
