"""The fixture `trt_layers`: what it returns and attaches."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.test_fixture_studies import MODEL


def run(trt: Trt, body: str, *options: str):
    trt.tests(MODEL + body)
    return trt.run("--trt-runtime=emulator", *options)


def test_layers_are_dumped_and_attached(bare_trt: Trt) -> None:
    body = """
def test_it(trt_layers):
    dump = trt_layers(model(0.25), {"x": data(4)}, precision="fp32")
    assert dump.passed and dump.first_bad is None and set(dump.tensors) == {"h", "y"}
    assert "prelu" in str(dump)
"""
    result = run(bare_trt, body, "--trt-precision=fp32")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["Layers in fp32: 2 tensors, 0 outside*"])


def test_layers_run_once_a_precision(bare_trt: Trt) -> None:
    body = """
def test_it(trt_layers, trt_precision):
    assert trt_layers(model(0.25), {"x": data(4)}).precision == trt_precision
"""
    run(bare_trt, body, "--trt-precision=fp32,fp16").assert_outcomes(passed=2)


def test_a_bad_layer_is_in_the_failure(bare_trt: Trt) -> None:
    body = """
def test_it(trt_layers):
    dump = trt_layers(model(0.25), {"x": data(4)}, precision="fp32")
    assert dump.passed, str(dump)
"""
    fault = "--trt-fault=pytest_trt.emulator.faults:last_input_channel_dropped"
    result = run(bare_trt, body, "--trt-precision=fp32", fault)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*first bad layer: 'product', tensor 'h'*"])
