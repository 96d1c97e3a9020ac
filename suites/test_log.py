"""Logging: who is told what, by a logger and by an error recorder (FAQ 13).

Claims: severities are INTERNAL_ERROR 0 to VERBOSE 4; a build of a good model says nothing above INFO; an error is said once, to
the logger, or, where an error recorder is attached, to that one alone; what is made from an object inherits its recorder (API
reference of `ILogger` and `IErrorRecorder`, TensorRT documentation). The order of parser and recorder is one that was found:
TensorRT-RTX 1.7.1 crashes where a parser is made of a network that has a recorder, as both are released.

They run on the emulator (TensorRT's API played over ONNX Runtime) and on a real TensorRT that builds, each situation that needs
a logger of its own or may crash in a child process. No GPU is needed.
"""

from __future__ import annotations

import signal

import pytest

from pytest_trt.check.named import demand
from pytest_trt.check.said import Answer, ask, ask_child
from pytest_trt.runtime.load import Runtime, discover
from pytest_trt.session import session_of

from ._log import ALONE, CRASHING, TOGETHER, check_log, check_recorder, check_second_logger, model

CRASHES = ("tensorrt_rtx", "1.7.1")  # product, and the start of the version that was seen to crash


@pytest.fixture(params=["executor", "builder"])
def speaker(request, trt_settings) -> Runtime:
    """Who speaks: the runtime that executes, and the real TensorRT that builds where that is another one."""
    if request.param == "executor":
        return request.getfixturevalue("trt_runtime")
    builder = request.getfixturevalue("targeted")
    if builder is session_of(request.config).discovery.executor:
        pytest.skip(f"not applicable: {builder.title} executes as well, and has been asked as the executor")
    return builder


def answer(rt: Runtime, settings, *names: str) -> Answer:
    """Return what a TensorRT says that nothing else was asked of: a fresh emulator, or a real one in a child."""
    if not rt.emulated:
        return ask_child(rt, names, model())
    fresh = discover(settings).executor
    assert fresh is not None
    return ask(fresh, names, model())


@pytest.mark.faq(13)
def test_lines_go_to_whom_they_are_meant_for(speaker, trt_settings):
    """Severities, a quiet good build, one error for an empty network, recorders inherited, threads, a logger that raises."""
    told = answer(speaker, trt_settings, *TOGETHER)
    assert told.status == 0, f"the process that was asked ended with status {told.status}"
    demand(check_log(told.facts), speaker, trt_settings)


@pytest.mark.faq(13)
def test_a_second_logger_loses_no_error(speaker, trt_settings):
    """A builder with a logger of its own: whichever logger is used, its error is said."""
    demand(check_second_logger(answer(speaker, trt_settings, ALONE[0])), speaker, trt_settings)


@pytest.mark.faq(13)
def test_recorder_and_parser_in_our_order_live_and_die(speaker, trt_settings):
    """The parser is made first: all errors are found, and nothing crashes as recorder, parser and network are released."""
    demand(check_recorder(answer(speaker, trt_settings, ALONE[1])), speaker, trt_settings)


@pytest.mark.faq(13)
def test_the_order_that_crashes_is_still_the_one_that_we_avoid(targeted, trt_settings):
    """TensorRT-RTX 1.7.1, real: a parser of a network that has a recorder ends the process with SIGSEGV."""
    told = answer(targeted, trt_settings, CRASHING)
    product, version = CRASHES
    known = targeted.product == product and (targeted.version + ".").startswith(version + ".")
    if known:
        assert told.status == -signal.SIGSEGV, (
            f"{targeted.title} no longer crashes (status {told.status}) where a parser is made of a network with a recorder:"
            " the note in docs/logging.md and runtime/recorder.py can go"
        )
        return
    words = "does not crash" if told.status == 0 else f"ends with status {told.status}"
    pytest.skip(f"not applicable: the crash was seen with {product} {version}; {targeted.title} {words}")
