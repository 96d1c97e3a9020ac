"""Error recorders on the emulator: both spellings, bounds, inheritance, and the order of parser and recorder."""

from __future__ import annotations

import threading

import pytest

from pytest_trt.errors import UsageError
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from pytest_trt.runtime.recorder import ErrorRecorder, RecordedError, make_parser, recorded


@pytest.fixture(params=["tensorrt-8.6.1", "tensorrt-10.13", "tensorrt_rtx-1.7"])
def rt(request):
    return discover(Settings(runtime="emulator", emulate=request.param)).executor


def test_a_recorder_answers_in_both_spellings(rt):
    recorder = ErrorRecorder(rt.trt)
    raw, code = recorder.raw, rt.trt.ErrorCodeTRT.INVALID_CONFIG
    assert raw.report_error(code, "words") is True
    assert raw.get_num_errors() == raw.num_errors() == 1
    assert (raw.get_error_code(0), raw.get_error_desc(0)) == (code, "words")
    assert (raw.get_error_code(7), raw.get_error_desc(-1)) == (rt.trt.ErrorCodeTRT.INVALID_ARGUMENT, "")
    assert recorder.errors == (RecordedError("INVALID_CONFIG", "words"),)
    assert not raw.has_overflowed()
    raw.clear()
    assert recorder.errors == () and raw.num_errors() == 0


def test_a_recorder_is_bounded_and_says_so(rt):
    recorder = ErrorRecorder(rt.trt, most=2)
    code = rt.trt.ErrorCodeTRT.INVALID_STATE
    assert [recorder.raw.report_error(code, str(number)) for number in range(3)] == [True, True, False]
    assert [error.text for error in recorder.errors] == ["0", "1"] and recorder.raw.has_overflowed()
    recorder.clear()
    assert not recorder.overflowed


def test_threads_may_report_at_once(rt):
    recorder = ErrorRecorder(rt.trt)
    code = rt.trt.ErrorCodeTRT.INVALID_STATE
    threads = [
        threading.Thread(target=lambda: [recorder.raw.report_error(code, "x") for _ in range(100)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(recorder.errors) == 400


def test_errors_are_found_wherever_they_went(rt):
    builder = rt.trt.Builder(rt.logger.raw)
    with recorded(rt, builder) as said:
        network = builder.create_network(rt.features.network_flags(False))
        parser = make_parser(rt, network)
        assert network.error_recorder is said.recorder.raw
        assert not parser.parse(b"garbage")
        assert not said.recorder.errors
        assert builder.build_serialized_network(network, builder.create_builder_config()) is None
    assert [error.code for error in said.recorder.errors] == ["INVALID_CONFIG"]
    build, parse = said.errors
    assert "at least one output" in build and "MODEL_DESERIALIZE_FAILED" in parse
    assert builder.error_recorder is None


def test_a_parser_of_a_network_without_recorder_is_made_as_ever(rt):
    network = rt.trt.Builder(rt.logger.raw).create_network(rt.features.network_flags(False))
    assert make_parser(rt, network) is not None and network.error_recorder is None


def test_what_cannot_have_a_recorder_is_refused_before_anything_is_attached(rt):
    builder = rt.trt.Builder(rt.logger.raw)
    config = builder.create_builder_config()
    with (
        pytest.raises(UsageError, match="IBuilderConfig has no error_recorder"),
        recorded(rt, builder, config),
    ):
        raise AssertionError("not reached")
    assert builder.error_recorder is None


def test_recorders_are_taken_off_after_a_failure(rt):
    builder = rt.trt.Builder(rt.logger.raw)
    with pytest.raises(ValueError, match="inside"), recorded(rt, builder):
        raise ValueError("inside")
    assert builder.error_recorder is None
