"""Tasks on several cores, and the bar."""

from __future__ import annotations

import io
import math

import pytest

from pytest_trt.bite.parallel import Progress, count_cores, run_all


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("jobs", "threads"), [(1, False), (2, True)])
def test_results_come_in_order(jobs, threads):
    assert run_all(math.sqrt, [9, 4, 1, 0], jobs, "roots", threads=threads) == [3, 2, 1, 0]


def test_other_processes_work():
    assert run_all(math.sqrt, [9, 4], 2, "roots") == [3, 2]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_ends_it(jobs):
    with pytest.raises(ValueError):
        run_all(math.sqrt, [4, -1, 9], jobs, "roots", threads=True)


def test_bar_is_drawn_on_a_terminal_only():
    screen, pipe = Terminal(), io.StringIO()
    for stream in (screen, pipe):
        bar = Progress("pairs", 2, stream)
        bar.step()
        bar.step()
    assert pipe.getvalue() == ""
    first, last = screen.getvalue().split("\r")[1:]
    assert first.startswith("pairs [###############               ] 1/2")
    assert last.startswith("pairs [##############################] 2/2") and last.endswith("\n")


def test_there_is_a_core():
    assert count_cores() >= 1
