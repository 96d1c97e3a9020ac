"""References are kept: a second check on the same inputs costs the judgement alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_trt.check import admissible
from pytest_trt.check.graph import Graph
from pytest_trt.check.recall import Recall
from pytest_trt.check.reference import OnnxRuntime
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import ConformanceError
from pytest_trt.numerics.bounds import Contract
from pytest_trt.records import RUNGS, Settings
from pytest_trt.runtime.load import discover
from tests.unit.check.models import PROFILE, conv_model

FEED = {"x": np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32)}


class Counting(OnnxRuntime):
    runs = 0

    def run(self, feeds):
        Counting.runs += 1
        return super().run(feeds)


@pytest.fixture
def graph():
    Counting.runs = 0
    return Graph(conv_model())


def test_equal_arguments_give_the_same_object_and_run_nothing(graph):
    recall, reference = Recall(), Counting(graph).run
    first = recall.look_up(graph, FEED, Contract(), RUNGS, reference)
    again = recall.look_up(Graph(conv_model()), {"x": FEED["x"].copy()}, Contract(), list(RUNGS), reference)
    assert first[0] is again[0] and first[1] is again[1] and Counting.runs == 1


def test_other_inputs_contracts_rungs_and_graphs_are_apart(graph):
    recall, reference = Recall(), Counting(graph).run
    first = recall.look_up(graph, FEED, Contract(), RUNGS, reference)[0]
    other = FEED["x"].copy()
    other[0, 0, 0, 0] = np.nextafter(other[0, 0, 0, 0], np.float32(9))
    for changed in (
        (graph, {"x": other}, Contract(), RUNGS),
        (graph, FEED, replace(Contract(), sm=80), RUNGS),
        (graph, FEED, Contract(), ("direct",)),
        (Graph(conv_model(relu=True)), FEED, Contract(), RUNGS),
    ):
        assert recall.look_up(*changed, reference)[0] is not first
    assert recall.look_up(graph, FEED, Contract(), RUNGS, reference)[0] is first


def test_the_oldest_are_forgotten_when_room_is_short(graph):
    recall, reference = Recall(kept_bytes=10_000), Counting(graph).run
    feeds = [{"x": FEED["x"] + np.float32(k)} for k in range(4)]
    for feed in feeds:
        recall.look_up(graph, feed, Contract(), RUNGS, reference)
    recall.look_up(graph, feeds[-1], Contract(), RUNGS, reference)
    assert Counting.runs == 4
    recall.look_up(graph, feeds[0], Contract(), RUNGS, reference)
    assert Counting.runs == 5
    nothing = Recall(kept_bytes=0)
    nothing.look_up(graph, FEED, Contract(), RUNGS, reference)
    nothing.look_up(graph, FEED, Contract(), RUNGS, reference)
    assert Counting.runs == 7


def test_a_second_check_works_out_no_limits_and_still_judges(monkeypatch):
    settings = Settings(runtime="emulator", gpu="t4")
    bench = Workbench(settings, discover(settings))
    made = []
    honest = admissible.interpret
    monkeypatch.setattr(admissible, "interpret", lambda *a, **k: made.append(1) or honest(*a, **k))
    options = {"precision": "fp32", "profile": PROFILE}
    assert bench.check(conv_model(), FEED, **options).passed and made
    made.clear()
    assert bench.check(conv_model(), FEED, **options).passed and not made
    broken = Settings(runtime="emulator", gpu="t4", faults=("tests.bite.faults:conv_scaled",))
    other = Workbench(broken, discover(broken))
    other.recall = bench.recall
    with pytest.raises(ConformanceError):
        other.check(conv_model(), FEED, **options)
