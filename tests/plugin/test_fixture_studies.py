"""Fixtures that study a model: what they return, attach and raise."""

from __future__ import annotations

from tests.plugin.conftest import Trt

MODEL = """
import numpy as np
from onnx import TensorProto, helper, numpy_helper

def model(slope=None):
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((6, 8)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], name="product")]
    tensors = [numpy_helper.from_array(weights, "w")]
    if slope is not None:
        nodes.append(helper.make_node("PRelu", ["h", "slope"], ["y"], name="prelu"))
        tensors.append(numpy_helper.from_array(np.full(8, slope, np.float32), "slope"))
    else:
        nodes.append(helper.make_node("Identity", ["h"], ["y"], name="same"))
    graph = helper.make_graph(
        nodes, "studied",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8])], tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

def data(n, seed=1):
    return np.random.default_rng(seed).standard_normal((n, 6)).astype(np.float32)
"""


def run(trt: Trt, body: str, *options: str):
    trt.tests(MODEL + body)
    return trt.run("--trt-runtime=emulator", *options)


def test_lint_returns_advice(bare_trt: Trt) -> None:
    body = """
def test_it(trt_lint):
    found = trt_lint(model(0.25), precisions=["fp32"])
    assert [one.rule for one in found if one.node == "prelu"] and any(one.fixable for one in found)
    assert not [one for one in trt_lint(model(), precisions=["fp32"]) if one.severity == "error"]
"""
    run(bare_trt, body).assert_outcomes(passed=1)


def test_fp16_report_tells_every_tensor(bare_trt: Trt) -> None:
    body = """
def test_it(trt_fp16_report):
    report = trt_fp16_report(model(0.25), {"x": data(4)})
    assert report.precision == "fp16" and {row.tensor for row in report.rows} >= {"y"}
"""
    result = run(bare_trt, body)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["FP16 report*", "*elements deviate*"])


def test_audit_raises_on_a_wrong_range(bare_trt: Trt) -> None:
    body = """
import pytest
from pytest_trt.errors import CalibrationError
from pytest_trt.precision.calibration import Calibration, calibrate

def test_it(trt_audit):
    feeds = [{"x": data(64)}]
    good = calibrate(model(), Calibration(feeds))
    with pytest.raises(CalibrationError, match="beyond its INT8 range"):
        trt_audit(model(), {name: amax / 8 for name, amax in good.items()}, feeds)
"""
    run(bare_trt, body).assert_outcomes(passed=1)


def test_accuracy_runs_once_per_precision(bare_trt: Trt) -> None:
    body = """
def test_it(trt_accuracy, trt_precision):
    x = data(2000)
    labels = (x @ np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)).argmax(axis=1)
    found = trt_accuracy(model(), x, labels, calibration=[{"x": data(64, 2)}], limit=0.2)
    assert found.outcome == "accepted" and found.paired.n == 2000
"""
    run(bare_trt, body, "--trt-precision=fp32,fp16,int8").assert_outcomes(passed=3)


def test_accuracy_wants_other_data_for_the_scales(bare_trt: Trt) -> None:
    body = """
import pytest
from pytest_trt.errors import InputError

@pytest.mark.trt_precision("int8")
def test_it(trt_accuracy):
    with pytest.raises(InputError, match="besides the labelled samples"):
        trt_accuracy(model(), data(8), [0] * 8)
"""
    run(bare_trt, body, "--trt-precision=int8").assert_outcomes(passed=1)


def test_a_lossy_engine_is_rejected(bare_trt: Trt) -> None:
    body = """
import pytest

@pytest.mark.trt_precision("fp32")
def test_it(trt_accuracy):
    x = data(500)
    labels = (x @ np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)).argmax(axis=1)
    with pytest.raises(AssertionError, match="top-1 loss"):
        trt_accuracy(model(), x, labels)
"""
    fault = "--trt-fault=pytest_trt.emulator.faults:last_input_channel_dropped"
    run(bare_trt, body, "--trt-precision=fp32", fault).assert_outcomes(passed=1)
