"""A dump names the first bad layer: of a deep network, and of a fusion that marking breaks."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pytest_trt.check.dump import CUT, dump_layers
from pytest_trt.check.views import MARKED, UNFUSED
from pytest_trt.check.workbench import Workbench
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from tests.unit.check.deep_models import SHAPE, deep_model
from tests.unit.check.models import make_model

SHIPPED, OWN = "pytest_trt.emulator.faults:", "tests.bite.dump_faults:"
X = {"x": np.random.default_rng(0).uniform(-1, 1, SHAPE).astype(np.float32)}
# Without unfused debug tensors networks are cut off; with them the fused engine shows its own tensors.
BOTH = ["tensorrt-8.6.1", "tensorrt-10.13"]


def dump(fault="", *, emulate="tensorrt-10.13", precision="fp32", how="auto", model=None, hybrid="off"):
    faults = (fault,) if fault else ()
    made = Settings(runtime="emulator", gpu="a100", emulate=emulate, faults=faults, hybrid=hybrid)
    bench = Workbench(made, discover(made))
    return dump_layers(bench, deep_model() if model is None else model, X, precision=precision, how=how)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("emulate", BOTH)
def test_an_honest_engine_has_no_bad_layer(emulate, precision):
    found = dump(emulate=emulate, precision=precision)
    assert found.passed and found.first_bad is None and found.bisection is None and len(found.rows) > 16


@pytest.mark.parametrize("hybrid", ["fp16", "bf16"])
@pytest.mark.parametrize("how", ["auto", "debug", "unfused"])
def test_an_honest_hybrid_engine_has_no_bad_layer(hybrid, how):
    assert dump(precision="int8", hybrid=hybrid, how=how).passed


@pytest.mark.parametrize("how", ["auto", "marked", "debug", "unfused"])
def test_a_wrong_layer_in_the_middle_is_named(how):
    found = dump(OWN + "wrong_middle", how=how)
    assert found.first_bad.layer == "conv3" and [row.tensor for row in found.bad] == ["c3"]
    assert found.wrong and not found.passed and found.bisection is None


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("emulate", BOTH)
@pytest.mark.parametrize("name", ["fused_channel_zero_unless_marked", "fused_activation_lost_unless_marked"])
def test_a_fusion_that_any_mark_mends_is_named(name, emulate, precision):
    found = dump(SHIPPED + name, emulate=emulate, precision=precision)
    assert found.first_bad.layer == "relu0" and not found.passed
    assert found.first_bad.seen == (CUT if emulate == BOTH[0] else UNFUSED)
    assert len(found.bisection.mends) == 1 and found.bisection.complete


@pytest.mark.parametrize("how", ["auto", "marked", "debug"])
@pytest.mark.parametrize("emulate", BOTH)
def test_the_mark_that_mends_is_found(emulate, how):
    if how == "debug" and emulate == BOTH[0]:
        return
    found = dump(OWN + "relu_of_a_fusion_lost", emulate=emulate, how=how)
    assert found.bisection.mends == ("c3",) and found.first_bad.layer == "relu3"
    assert found.row("c3").status == "conforms"
    shown = emulate != BOTH[0] and how == "auto"
    assert found.bisection.earliest == ("" if shown else "r3")
    assert "marking 'c3' makes the output right: the defect is in a fusion that 'c3' breaks" in str(found)


@pytest.mark.parametrize("emulate", BOTH)
def test_marks_that_mend_together_are_found(emulate):
    found = dump(OWN + "wrong_unless_two_are_kept", emulate=emulate)
    assert found.bisection.mends == ("c1", "c4") and found.first_bad.layer == "pool"
    assert "a fusion that 'c1' and 'c4' break together" in str(found)


def test_on_a_branch_the_wrong_one_is_named():
    weights = {"w": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)}
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="start"),
        helper.make_node("Conv", ["a", "w"], ["l"], name="left"),
        helper.make_node("Sigmoid", ["l"], ["ls"], name="left_end"),
        helper.make_node("Conv", ["a", "w"], ["r"], name="right"),
        helper.make_node("Sigmoid", ["r"], ["rs"], name="right_end"),
        helper.make_node("Add", ["ls", "rs"], ["y"], name="sum"),
    ]
    model = make_model(nodes, ("N", *SHAPE[1:]), weights)
    found = dump(OWN + "wrong_behind_a_branch", emulate=BOTH[0], model=model)
    assert found.first_bad.layer == "left" and found.bisection.earliest == "l"


def test_what_is_wrong_is_seen_as_it_was():
    found = dump(OWN + "relu_of_a_fusion_lost", emulate=BOTH[0])
    row = found.first_bad
    assert (row.seen, row.status) == (CUT, "violates") and row.values.min() < 0 and row.error > row.limit
    assert found.row("c3").seen == MARKED
