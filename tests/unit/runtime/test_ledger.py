"""What was given out and is alive."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from pytest_trt.errors import LeakWarning
from pytest_trt.runtime.ledger import Ledger, Live


class Thing:
    nbytes = 7


class Slotted:
    """Takes no weak reference."""

    __slots__ = ()


def test_what_is_alive_is_counted_until_it_is_given_back_or_dropped() -> None:
    ledger = Ledger()
    buffers = [Thing(), Thing()]
    for buffer in buffers:
        ledger.add("buffers", buffer)
    event = Thing()
    ledger.add("events", event)
    assert ledger.live(100) == Live(buffers=2, bytes=14, events=1, pinned_bytes=100)
    ledger.remove("buffers", buffers[0])
    del buffer, buffers
    assert ledger.live() == Live(events=1)
    with pytest.warns(LeakWarning, match=r"the device is given back while 1 event\(s\) of it are alive"):
        ledger.end_close("the device")


@pytest.mark.parametrize("kind", [Thing, Slotted])
def test_giving_back_twice_and_what_was_never_given_out(kind: Any) -> None:
    ledger, stream = Ledger(), kind()
    ledger.add("streams", stream)
    assert ledger.live() == Live(streams=1)
    for _ in range(2):
        ledger.remove("streams", stream)
        assert ledger.live() == Live()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ledger.end_close("the device")


def test_what_is_to_be_done_before_is_done_last_first_and_once() -> None:
    ledger, done = Ledger(), list[int]()
    for number in range(3):
        ledger.before_close(lambda n=number: done.append(n))  # type: ignore[misc]
    ledger.begin_close()
    ledger.begin_close()
    assert done == [2, 1, 0]
