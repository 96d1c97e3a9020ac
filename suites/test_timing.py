"""Times: the clock can be trusted, a profile comes when it is asked for, and contexts of one engine are equally fast (FAQ 10).

Claims: TensorRT's profiler reports each layer of a run, once (`IProfiler`, TensorRT documentation, "Per-Layer Profiling"); a run
that was not enqueued takes no time; times are those of the device, so none is longer than the wait for it; with
`enqueue_emits_profile` off nothing is reported before `report_to_profiler` (API reference of `IExecutionContext`). Needs no
baseline. On the emulator, TensorRT's API played over ONNX Runtime, the times are those of a CPU and say nothing about a GPU:
those of a GPU need one.
"""

from __future__ import annotations

import pytest

from pytest_trt.bench.stability import SAME, UNRELIABLE

from ._named import demand
from ._times import EQUAL_SPEED, check_clock, check_profile, compare_contexts


@pytest.mark.faq(10)
def test_clock_can_be_trusted(trt_runtime, request):
    """Layer times are complete, of the right size, and move; failed runs and idle streams have none."""
    demand(check_clock(trt_runtime), request)


@pytest.mark.faq(10)
def test_profile_comes_when_it_is_asked_for(trt_runtime, request):
    """`report_to_profiler` tells the layers, after a run that told none; whole runs are timed with the profiler off."""
    demand(check_profile(trt_runtime), request)


@pytest.mark.faq(10)
def test_contexts_of_one_engine_are_equally_fast(trt_runtime, request):
    """A second context does the same work in the same time: a change of 5 % is excluded, or told."""
    change = compare_contexts(trt_runtime)
    if change.verdict == UNRELIABLE and not trt_runtime.emulated:
        pytest.skip(f"times cannot be compared: {change}; to get it: lock the clocks of an idle GPU")
    demand([(EQUAL_SPEED, None if change.verdict == SAME else str(change))], request)
