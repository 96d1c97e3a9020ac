"""Work that crashes, hangs, exits, prints or raises ends with a name, and takes no other piece with it."""

from __future__ import annotations

import os
import sys

import pytest

from pytest_trt.errors import ExecutionError
from pytest_trt.runtime.contained import CRASHED, DONE, HUNG, RAISED, describe_exit, run_contained

MAKE = "tests.unit.runtime.workers:make"
posix = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")


def ran(items, **options):
    found = list(run_contained(MAKE, items, **options))
    assert len({ended.key for ended in found}) == len(found)
    return {ended.key: ended for ended in found}


@posix
def test_nothing_is_lost_and_each_end_has_a_name():
    bad = ("segfault", "abort", "exit", "leave", "raise", "print")
    items = {str(place): place for place in range(12)}
    for place, what in enumerate(bad):  # between pieces that are well
        items = {
            **dict(list(items.items())[: 2 * place + 1]),
            what: what,
            **dict(list(items.items())[2 * place + 1 :]),
        }
    found = ran(items, arguments={"offset": 100}, batch=7, workers=2)
    assert found.keys() == items.keys()
    assert {key: found[key].value for key in map(str, range(12))} == {str(n): n + 100 for n in range(12)}
    ends = {key: (found[key].how, found[key].words) for key in bad}
    assert ends == {
        "segfault": (CRASHED, "signal SIGSEGV"),
        "abort": (CRASHED, "signal SIGABRT"),
        "exit": (CRASHED, "exit status 3"),
        "leave": (CRASHED, "exit status 4"),
        "raise": (RAISED, "ValueError: no\nsuch thing"),
        "print": (DONE, ""),
    }
    assert "terminate called" in found["abort"].printed and found["print"].value == "print"


@posix
def test_what_hangs_is_ended_and_the_rest_goes_on():
    found = ran({"a": 1, "hang": "hang", "b": 2}, timeout=2.0, workers=1)
    assert (found["hang"].how, found["hang"].words) == (HUNG, "no end within 2 s")
    assert (found["a"].value, found["b"].value) == (1, 2)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_what_swells_is_ended():
    found = ran({"swell": "swell", "b": 2}, most_bytes=500 << 20, workers=1)
    assert found["swell"].how == CRASHED and "more than 500" in found["swell"].words
    assert found["b"].value == 2


def test_a_worker_that_does_not_start_is_an_error_and_no_endless_loop():
    with pytest.raises(ExecutionError, match="before it began anything: exit status 7"):
        list(run_contained("tests.unit.runtime.workers:make_nothing", {"a": 1}))
    with pytest.raises(ExecutionError) as caught:
        list(run_contained("tests.unit.runtime.workers:absent", {"a": 1}))
    assert any("absent" in line for line in caught.value.why)


def test_no_items_start_no_worker():
    assert list(run_contained("nowhere:nothing", {})) == []


def test_a_reader_that_leaves_early_leaves_no_process():
    run = run_contained(MAKE, {str(n): "slow" for n in range(500)}, workers=1)
    assert next(run).value == "slow"
    run.close()


def test_exit_statuses_have_names():
    assert [describe_exit(status) for status in (3, -9, -200)] == [
        "exit status 3",
        "signal SIGKILL",
        "signal 200",
    ]
