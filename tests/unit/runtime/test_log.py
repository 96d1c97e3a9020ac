from __future__ import annotations

import logging
import threading

import pytest

from pytest_trt.records import LogLine
from pytest_trt.runtime.log import TrtLogger, errors_in, keep, logger_of

from .fake_trt import FakeTrt, Severity


def test_a_module_has_one_logger_and_it_calls_the_base_init() -> None:
    trt = FakeTrt()
    assert logger_of(trt) is logger_of(trt)
    assert logger_of(trt).raw.ready


def test_lines_go_to_the_open_collector_and_to_no_other() -> None:
    logger = TrtLogger(FakeTrt())
    with logger.collect() as first:
        logger.raw.log(Severity.INFO, "one")
    with logger.collect() as second:
        logger.raw.log(Severity.ERROR, "two")
    assert first == [LogLine("INFO", "one")]
    assert second == [LogLine("ERROR", "two")]


def test_nested_collectors_both_get_the_line() -> None:
    logger = TrtLogger(FakeTrt())
    with logger.collect() as outer, logger.collect() as inner:
        logger.raw.log(Severity.INFO, "both")
    assert outer == inner == [LogLine("INFO", "both")]


def test_threads_collect_their_own_lines() -> None:
    logger = TrtLogger(FakeTrt())
    both = threading.Barrier(2)
    seen: dict[str, list[LogLine]] = {}

    def work(name: str) -> None:
        with logger.collect() as lines:
            both.wait(10)
            logger.raw.log(Severity.INFO, name)
            both.wait(10)
        seen[name] = lines

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"a": [LogLine("INFO", "a")], "b": [LogLine("INFO", "b")]}


def test_a_line_of_tensorrts_own_thread_reaches_every_collector() -> None:
    logger = TrtLogger(FakeTrt())
    with logger.collect() as lines:
        thread = threading.Thread(target=logger.raw.log, args=(Severity.WARNING, "from inside"))
        thread.start()
        thread.join()
    assert lines == [LogLine("WARNING", "from inside")]


def test_a_line_that_nobody_collects_goes_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="pytest_trt.tensorrt"):
        TrtLogger(FakeTrt()).raw.log(Severity.INTERNAL_ERROR, "lost?")
    assert [(record.levelno, record.message) for record in caplog.records] == [(logging.CRITICAL, "lost?")]


def test_levels_and_errors() -> None:
    lines = [
        LogLine("INFO", "i"),
        LogLine("ERROR", " e "),
        LogLine("INTERNAL_ERROR", "f"),
        LogLine("ERROR", "e"),
    ]
    assert [line.text for line in keep(lines, "INFO")] == ["i", " e ", "f", "e"]
    assert errors_in(lines) == ("e", "f")
