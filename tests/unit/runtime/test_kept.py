"""What is kept of a long log."""

from __future__ import annotations

import threading

from pytest_trt.records import LogLine
from pytest_trt.runtime.kept import LINE_BYTES, KeptLog


def texts(log, level="VERBOSE"):
    return [line.text for line in log.lines(level)]


def test_lines_keep_their_order_and_levels_cut():
    log = KeptLog()
    for severity, text in [
        ("VERBOSE", "1"),
        ("ERROR", "2"),
        ("INFO", "3"),
        ("INTERNAL_ERROR", "4"),
        ("?", "5"),
    ]:
        log.add(LogLine(severity, text))
    assert texts(log) == ["1", "2", "3", "4", "5"]
    assert texts(log, "INFO") == ["2", "3", "4", "5"]
    assert texts(log, "ERROR") == ["2", "4"] and texts(log, "INTERNAL_ERROR") == ["4"]
    assert log.text("ERROR") == "[ERROR] 2\n[INTERNAL_ERROR] 4" and not KeptLog().text()


def test_the_mildest_goes_first_and_the_oldest_of_it():
    log = KeptLog(most_lines=3)
    for severity, text in [
        ("ERROR", "e1"),
        ("VERBOSE", "v1"),
        ("INFO", "i1"),
        ("VERBOSE", "v2"),
        ("WARNING", "w1"),
    ]:
        log.add(LogLine(severity, text))
    assert texts(log) == ["e1", "i1", "w1"]
    for number in range(3):
        log.add(LogLine("ERROR", f"n{number}"))
    assert texts(log) == ["n0", "n1", "n2"]
    assert (
        log.dropped() == 5
        and log.dropped("INFO") == 3
        and log.dropped("WARNING") == 2
        and log.dropped("ERROR") == 1
    )
    assert log.text("ERROR").startswith("(1 earlier or milder lines were dropped)\n[ERROR] n0")


def test_a_new_mild_line_does_not_displace_a_worse_one():
    log = KeptLog(most_lines=2)
    for severity, text in [("ERROR", "e1"), ("ERROR", "e2"), ("VERBOSE", "v1")]:
        log.add(LogLine(severity, text))
    assert texts(log) == ["e1", "e2"]


def test_bytes_are_bounded_and_a_long_line_is_cut():
    log = KeptLog(most_bytes=10)
    log.add(LogLine("INFO", "äää"))
    log.add(LogLine("INFO", "12345"))
    assert texts(log) == ["12345"]  # 6 bytes and 5
    log.add(LogLine("INFO", "x" * (LINE_BYTES + 1)))
    assert texts(log) == ["x" * LINE_BYTES + " ... (cut)"]


def test_threads_may_add_at_once():
    log = KeptLog(most_lines=50)
    threads = [
        threading.Thread(target=lambda: [log.add(LogLine("INFO", "x")) for _ in range(100)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(log.lines()) == 50 and log.dropped() == 350
