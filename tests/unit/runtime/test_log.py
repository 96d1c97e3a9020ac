from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

import pytest

from pytest_trt.records import LogLine
from pytest_trt.runtime.log import TrtLogger, errors_in, keep, listen, logger_of

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


class Hearing:
    """A listener that notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.calls: list[tuple[str, ...]] = []
        self.stray: list[str] = []

    def hear(self, line: LogLine) -> None:
        self.heard.append(line.text)

    def note_call(self, lines: Sequence[LogLine]) -> None:
        self.calls.append(tuple(line.text for line in lines))

    def note_stray(self, line: LogLine) -> None:
        self.stray.append(line.text)


@pytest.fixture
def hearing() -> Iterator[Hearing]:
    listener = Hearing()
    end = listen(listener)
    yield listener
    end()
    end()


def test_the_listener_hears_all_and_is_told_of_calls_that_succeeded(hearing: Hearing) -> None:
    logger = TrtLogger(FakeTrt())
    logger.raw.log(Severity.ERROR, "stray")
    with logger.call() as lines:
        logger.raw.log(Severity.ERROR, "in a call")
    assert [line.text for line in lines] == ["in a call"]
    with pytest.raises(ValueError, match="failed"), logger.call():
        logger.raw.log(Severity.ERROR, "told by the failure")
        raise ValueError("failed")
    with logger.collect(), logger.call():
        logger.raw.log(Severity.ERROR, "read by the collector")
    with logger.call():
        pass
    assert hearing.heard == ["stray", "in a call", "told by the failure", "read by the collector"]
    assert hearing.calls == [("in a call",)] and hearing.stray == ["stray"]


def test_a_collector_of_another_thread_does_not_excuse_a_call(hearing: Hearing) -> None:
    logger = TrtLogger(FakeTrt())

    def work() -> None:
        with logger.call():
            logger.raw.log(Severity.ERROR, "theirs")

    with logger.collect() as lines:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert hearing.calls == [("theirs",)] and lines == []


def test_a_later_listener_takes_over_until_it_ends(hearing: Hearing) -> None:
    logger, later = TrtLogger(FakeTrt()), Hearing()
    end = listen(later)
    logger.raw.log(Severity.INFO, "one")
    end()
    logger.raw.log(Severity.INFO, "two")
    assert later.heard == ["one"] and hearing.heard == ["two"]
