"""`trt_timer`: device times in pytest-benchmark's table and files, reasons, and what it does where benchmarks are off."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.plugin.conftest import ROOT, Trt

MODEL = """
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

def model():
    weights = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"], name="product"), helper.make_node("Relu", ["h"], ["y"], name="relu")],
        "timed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

@pytest.fixture
def ready(trt_session):
    session = trt_session(model(), precision="fp32", profile={"x": ((1, 6), (4, 6), (8, 6))})
    session.run({"x": np.ones((2, 6), np.float32)})
    return session
"""
ONE = """
def test_it(ready, trt_timer):
    found = trt_timer(ready, batch=2, label="product")
    assert found.reliable and len(found.seconds) == 20
    assert found.median_seconds == pytest.approx(4e-6)
"""
BENCHMARK = ("-p", "pytest_benchmark.plugin")


def run(trt: Trt, body: str, *options: str) -> pytest.RunResult:
    trt.tests(MODEL + body)
    return trt.run("-p", "pytest_trt.timing", "--trt-runtime=emulator", "--trt-precision=fp32", *options)


def entries(trt: Trt, body: str, *options: str) -> list[dict[str, Any]]:
    """Return what pytest-benchmark wrote of a session that passed."""
    path = trt.pytester.path / "benchmark.json"
    result = run(trt, body, *BENCHMARK, f"--benchmark-json={path}", *options)
    assert result.ret == 0, result.stdout.str()
    found: list[dict[str, Any]] = json.loads(path.read_text())["benchmarks"]
    return found


def test_the_table_and_the_file_have_device_times_of_one_run(bare_trt: Trt) -> None:
    (entry,) = entries(bare_trt, ONE)
    assert entry["stats"]["median"] == pytest.approx(4e-6)
    assert entry["stats"]["rounds"] == 20 and entry["stats"]["iterations"] == 1
    assert entry["options"]["timer"] == "device_seconds_of_one_run"
    told = entry["extra_info"]["trt"]
    assert told["reliable"] is True and told["reasons"] == []
    assert told["clock"] == "modelled device of the emulator, not a GPU"
    assert (told["batch"], told["precision"], told["gpu"]) == (2, "fp32", "t4")
    assert told["runtime"].startswith("emulator (tensorrt-") and told["label"] == "product"
    assert set(told["percentiles"]) == {"50", "90", "99"} and told["warm_up"]["warm"] is True
    assert told["telemetry"]["source"] == "" and told["variation"] < 1e-9


def test_rounds_of_many_runs_are_divided(bare_trt: Trt) -> None:
    body = """
def test_it(ready, trt_timer, monkeypatch):
    monkeypatch.setattr("pytest_trt.bench.measure._prepare", prepare)
    assert trt_timer(ready, rounds=3).runs == 7

def prepare(timed, round_seconds):
    from pytest_trt.bench.warm import WarmUp
    timed.runs = 7
    timed.take()
    return WarmUp(0, ())
"""
    (entry,) = entries(bare_trt, body)
    assert entry["stats"]["data"] == pytest.approx([4e-6] * 3)
    assert entry["extra_info"]["trt"]["runs"] == 7


def test_a_second_call_measures_and_is_not_in_the_table(bare_trt: Trt) -> None:
    body = """
def test_it(ready, trt_timer):
    assert trt_timer(ready, rounds=4, label="first").reliable
    assert len(trt_timer(ready, rounds=6, label="second").seconds) == 6
"""
    (entry,) = entries(bare_trt, body)
    assert entry["stats"]["rounds"] == 4 and entry["extra_info"]["trt"]["label"] == "first"


def test_the_precision_of_the_test_is_told(bare_trt: Trt) -> None:
    body = """
def test_it(trt_session, trt_timer, trt_precision):
    session = trt_session(model(), profile={"x": ((1, 6), (4, 6), (8, 6))})
    session.run({"x": np.ones((2, 6), np.float32)})
    trt_timer(session)
"""
    found = entries(bare_trt, body, "--trt-precision=fp32,fp16")
    assert [entry["extra_info"]["trt"]["precision"] for entry in found] == ["fp32", "fp16"]


def test_a_marker_of_the_test_keeps_its_other_arguments(bare_trt: Trt) -> None:
    body = '@pytest.mark.benchmark(group="ours")' + ONE
    (entry,) = entries(bare_trt, body)
    assert entry["group"] == "ours" and entry["options"]["timer"] == "device_seconds_of_one_run"


def test_another_timer_is_refused(bare_trt: Trt) -> None:
    result = run(bare_trt, "import time\n@pytest.mark.benchmark(timer=time.perf_counter)" + ONE, *BENCHMARK)
    assert result.ret != 0
    assert "uses trt_timer, which brings the device's clock" in result.stdout.str() + result.stderr.str()


def test_the_fixture_of_pytest_benchmark_is_not_shared(bare_trt: Trt) -> None:
    body = """
def test_it(ready, trt_timer, benchmark):
    benchmark.pedantic(ready.launch, rounds=2)
    trt_timer(ready)
"""
    result = run(bare_trt, body, *BENCHMARK)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*has used pytest-benchmark's fixture before trt_timer*"])


@pytest.mark.parametrize("options", [(*BENCHMARK, "--benchmark-disable"), ()])
def test_it_measures_where_there_is_no_table(bare_trt: Trt, options: tuple[str, ...]) -> None:
    result = run(bare_trt, ONE, *options)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*Name (time in*")


def test_it_is_a_benchmark_to_the_options_of_pytest_benchmark(bare_trt: Trt) -> None:
    other = "\ndef test_other():\n    pass\n"
    result = run(bare_trt, ONE + other, *BENCHMARK, "--benchmark-only", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result = run(bare_trt, ONE + other, *BENCHMARK, "--benchmark-skip", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*--benchmark-skip*"])


def test_what_cannot_be_relied_on_is_warned_of_with_reasons(bare_trt: Trt) -> None:
    body = """
def test_it(ready, trt_timer, monkeypatch):
    from pytest_trt.errors import UnreliableWarning
    monkeypatch.setattr("pytest_trt.bench.timer.MODELLED", "a clock of this test")
    with pytest.warns(UnreliableWarning, match="product: unreliable times: the clock stands still"):
        monkeypatch.setattr("pytest_trt.runtime.events._HostEvent.seconds_since", lambda self, other: 1e-3)
        assert not trt_timer(ready, label="product").reliable
"""
    (entry,) = entries(bare_trt, body)
    told = entry["extra_info"]["trt"]
    assert told["reliable"] is False and any("the clock stands still" in reason for reason in told["reasons"])


def test_it_is_in_the_report(bare_trt: Trt) -> None:
    result = run(bare_trt, ONE, *BENCHMARK, "--trt-report=out")
    result.assert_outcomes(passed=1)
    page = (bare_trt.pytester.path / "out" / "report.md").read_text()
    assert "Device time of one run: product" in page and "90 %: 4" in page


def test_a_session_that_has_not_run_is_refused(bare_trt: Trt) -> None:
    body = """
def test_it(trt_session, trt_timer):
    trt_timer(trt_session(model(), precision="fp32", profile={"x": ((1, 6), (4, 6), (8, 6))}))
"""
    result = run(bare_trt, body, *BENCHMARK)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*there is nothing to measure*"])


def test_the_example_of_the_documents_runs_and_is_in_its_page(bare_trt: Trt) -> None:
    example = (ROOT / "docs/examples/test_latency.py").read_text(encoding="utf-8")
    page = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    assert example[example.index("def test_latency") :] in page
    path = bare_trt.pytester.path / "out.json"
    bare_trt.tests(example)
    ours = ("-p", "pytest_trt.timing", "--trt-runtime=emulator", "--trt-precision=fp32,int8")
    bare_trt.run(*ours, *BENCHMARK, f"--benchmark-json={path}").assert_outcomes(passed=2)
    assert len(json.loads(path.read_text())["benchmarks"]) == 2
