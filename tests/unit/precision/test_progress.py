"""Progress of a calibration on a terminal."""

from __future__ import annotations

import io
import sys

from pytest_trt.precision.progress import terminal_progress


class Terminal(io.StringIO):
    def isatty(self):
        return not super().isatty()  # which raises where the stream is closed


def test_a_bar_that_ends_its_line():
    stream = Terminal()
    show = terminal_progress(stream)
    for done in (1, 2, 3):
        show(done, 3)
    first, second, third = stream.getvalue().split("\r")[1:]
    assert first == f"calibration [{'#' * 10}{'.' * 20}] 1/3"
    assert second.startswith(f"calibration [{'#' * 20}")
    assert third == f"calibration [{'#' * 30}] 3/3\n"
    show.close()
    assert stream.getvalue().count("\n") == 1


def test_a_count_where_nobody_knows_how_many():
    stream = Terminal()
    show = terminal_progress(stream, "reading")
    show(9, None)
    show(10, None)
    show(10, 10)
    assert stream.getvalue().startswith("\rreading 9 batches\rreading 10 batches\r")
    assert stream.getvalue().endswith("10/10\n")


def test_a_shorter_line_wipes_the_longer_one():
    stream = Terminal()
    show = terminal_progress(stream, "x")
    show(1, 3)
    show(1, None)
    assert stream.getvalue().endswith("\r" + "x 1 batches".ljust(len(f"x [{'#' * 30}] 1/3")))
    show.close()
    assert stream.getvalue().endswith("\n")


def test_nothing_is_written_elsewhere():
    for stream in (io.StringIO(), object()):
        show = terminal_progress(stream)
        show(1, 2)
        show.close()
    closed = Terminal()
    closed.close()
    terminal_progress(closed)(2, 2)


def test_the_stream_is_stderr(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    terminal_progress()(1, 1)
    assert "1/1" in sys.stderr.getvalue()
