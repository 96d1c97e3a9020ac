"""An engine with dummy ranges runs, for its speed; nobody judges what it gives."""

from __future__ import annotations

import pytest

from pytest_trt.check.examine import Examiner
from pytest_trt.check.graph import Graph
from pytest_trt.check.subject import Subject
from pytest_trt.errors import PrecisionError
from pytest_trt.precision import prepare
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from suites._precision import networks


@pytest.mark.parametrize(
    ("emulate", "strong"), [("tensorrt-8.6.1", False), ("tensorrt-10.13", True), ("tensorrt-11.4", True)]
)
def test_it_runs_in_int8_and_is_not_judged(emulate, strong):
    rt = discover(Settings(runtime="emulator", gpu="t4", emulate=emulate)).executor
    model = networks()["conv"]
    ready = prepare(model, "int8", strong=strong, dummy_range=4.0)
    with Subject(rt, ready, None) as subject:
        assert not subject.plan.accurate
        assert "int8" in {layer.inputs[0] for layer in subject.plan.layers if layer.name == "conv"}
        with pytest.raises(PrecisionError, match="its outputs mean nothing"):
            Examiner(subject, Graph(model), ("direct",))
