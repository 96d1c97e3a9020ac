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
from pytest_trt.bench.timer import CUDA_EVENTS, name_clock

from ._named import demand
from ._times import (
    EQUAL_SPEED,
    check_clock,
    check_events,
    check_layer_sum,
    check_profile,
    compare_contexts,
    take_profile,
)


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
    if change.verdict == UNRELIABLE and name_clock(trt_runtime) == CUDA_EVENTS:
        pytest.skip(f"times cannot be compared: {change}; to get it: lock the clocks of an idle GPU")
    demand([(EQUAL_SPEED, None if change.verdict == SAME else str(change))], request)


@pytest.mark.faq(10)
def test_events_tell_the_time_of_what_lies_between_them(trt_runtime, request):
    """A block of enqueues takes what the host's loop takes, twice as many twice as long; and timed runs write their outputs.

    CUDA events have a resolution of half a microsecond (CUDA Driver API, cuEventElapsedTime). On a GPU they tell a loop to 2 %;
    on the emulator's CPU, which is busy with other things as well, to a factor of 1.5 and 0.3.
    """
    demand(check_events(trt_runtime), request)


@pytest.mark.faq(10)
def test_layers_sum_up_to_a_run_without_profiler(trt_runtime, request):
    """The profile's layers take 50 to 150 % of what a run takes without a profiler; on the emulator they are equal.

    The profiler disturbs what it measures, so both are never timed in one run. On a GPU whose times are unreliable, or whose
    layers are too short for a profiler, nothing is judged, in words.
    """
    if trt_runtime.emulated and name_clock(trt_runtime) == CUDA_EVENTS:
        pytest.skip(
            f"not applicable: {trt_runtime.title} has no layer times of the GPU: its profiler runs layers on the CPU"
        )
    profile = take_profile(trt_runtime)
    if profile.blurred:
        pytest.skip(
            f"times cannot be compared: {'; '.join(profile.blurred)}; to get it: lock the clocks of an idle GPU"
        )
    demand(check_layer_sum(profile), request)
