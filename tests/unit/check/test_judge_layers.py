"""Layers are judged in graph order, each on what the engine itself gave before it."""

from __future__ import annotations

import numpy as np

from pytest_trt.check import operators  # noqa: F401  (registers the limits)
from pytest_trt.check.graph import Graph
from pytest_trt.check.layers import judge_layers
from pytest_trt.numerics.bounds import Bound, Contract
from tests.unit.check.deep_models import SHAPE, deep_model

GRAPH = Graph(deep_model())
FEEDS = {"x": np.random.default_rng(0).uniform(-1, 1, SHAPE).astype(np.float32)}


def run():
    """Every ReLU's output and the logits, worked out exactly and rounded once."""
    from pytest_trt.check.interpret import interpret

    known = {"x": Bound.exact(FEEDS["x"].astype(np.float64), "fp32")}
    got = {}
    for name in ("r0", "r1", "r2", "r3", "r4", "r5", "y"):
        made = interpret(GRAPH, known, Contract(), wanted=(name,)).tensors[name].mid.astype(np.float32)
        got[name] = made
        known[name] = Bound.exact(made.astype(np.float64), "fp32")
    return got


def test_all_layers_of_an_exact_run_conform():
    report = judge_layers(GRAPH, FEEDS, run(), Contract(), statistics=True)
    assert [entry.tensor for entry in report.judged] == ["r0", "r1", "r2", "r3", "r4", "r5", "y"]
    assert not report.bad and not report.unjudged


def test_wrong_layers_come_in_graph_order_whatever_the_order_of_outputs():
    got = run()
    for name in ("r4", "r1"):
        got[name][0, 0, 0, 0] += 1
    backwards = dict(reversed(list(got.items())))
    report = judge_layers(GRAPH, FEEDS, backwards, Contract())
    # What r1 got wrong is the input of the next layers: r2 was computed from another.
    assert report.bad[0].layer == "relu1"
    assert report.bad[0].measure.bad == 1 and report.bad[0].status == "violates"
    assert "r1" not in report.before("r1") and "r2" in report.before("r1")


def test_what_another_run_showed_alike_is_passed_over():
    got = run()
    other = {name: values.copy() for name, values in got.items()}
    assert not judge_layers(GRAPH, FEEDS, got, Contract(), same=other).judged
    got["r3"][0, 0, 0, 0] += 1
    report = judge_layers(GRAPH, FEEDS, got, Contract(), same=other)
    assert [entry.tensor for entry in report.judged] == ["r3", "r4", "r5", "y"]
    assert report.bad[0].tensor == "r3"


def test_another_shape_is_a_violation():
    got = run()
    got["r5"] = got["r5"][..., :-1]
    report = judge_layers(GRAPH, FEEDS, got, Contract())
    assert [(e.tensor, e.measure.cause, e.limits) for e in report.bad if e.tensor == "r5"] == [
        ("r5", "shape", None)
    ]
