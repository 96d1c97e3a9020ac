"""Timing caches: kept, handed on, refused, and without effect."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_trt.errors import UnsupportedError
from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import discover
from pytest_trt.runtime.timing_cache import TimingCache

from .external_model import product

REQUEST = BuildRequest(product().SerializeToString())


def played(version: str) -> Any:
    return discover(Settings(runtime="emulator", emulate=version)).executor


def test_a_cache_fills_and_is_handed_on() -> None:
    rt = played("tensorrt-10.13")
    cache = TimingCache(rt)
    assert cache.data == b""
    build_plan(rt, REQUEST, configure=cache.attach)
    filled = cache.data
    assert filled.startswith(b"tensorrt-10.13.3.9 sm75\n") and cache.warned == []
    strict = BuildRequest(REQUEST.model, flags=frozenset({"ERROR_ON_TIMING_CACHE_MISS"}))
    build_plan(rt, strict, configure=TimingCache(rt, filled).attach)
    with pytest.raises(UnsupportedError, match="Timing cache miss for node product"):
        build_plan(rt, strict, configure=TimingCache(rt).attach)


@pytest.mark.parametrize("given", [b"tensorrt-8.6.1 sm75", b"tensorrt-10.13.3.9 sm89\n", b"\xff\x00"])
def test_a_cache_of_something_else_is_refused(given: bytes) -> None:
    rt = played("tensorrt-10.13")
    with pytest.raises(UnsupportedError, match="did not take the timing cache"):
        build_plan(rt, REQUEST, configure=TimingCache(rt, given).attach)


def test_entries_that_do_not_fit_the_layer_are_measured_again() -> None:
    rt = played("tensorrt-10.13")
    cache = TimingCache(rt)
    build_plan(rt, REQUEST, configure=cache.attach)
    spoiled = cache.data.replace(b"direct=", b"other=")
    again = TimingCache(rt, spoiled)
    build_plan(rt, REQUEST, configure=again.attach)
    assert again.data == cache.data != spoiled


def test_rtx_warns_and_keeps_nothing() -> None:
    rt = played("tensorrt_rtx-1.7")
    cache = TimingCache(rt)
    build_plan(rt, REQUEST, configure=cache.attach)
    assert cache.data.count(b"\n") == 0 and any("deprecated" in words for words in cache.warned)
