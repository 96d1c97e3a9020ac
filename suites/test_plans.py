"""Plans: a good one is loaded and computes its own network, a damaged or foreign one is refused in words.

Claim 15 of the TensorRT FAQ: an engine runs on the version and the GPU that it was built for and no other. Since then it may be
built to be compatible (VERSION_COMPATIBLE, hardware_compatibility_level; TensorRT-RTX plans fit several GPUs), and
deserialisation of anything else fails with an error (TensorRT documentation, "Engine Compatibility"). A network may have several
optimization profiles.
"""

from __future__ import annotations

import pytest

from ._compatible import check_compatible, check_contained, check_validity, plans_of
from ._named import demand, demand_built
from ._plans import check_plans

pytestmark = pytest.mark.faq(15)


def test_plans_are_loaded_or_refused(trt_runtime, request):
    """Good, damaged, truncated, foreign plans; plans of two networks; two optimization profiles."""
    demand(check_plans(trt_runtime), request)


def test_compatible_plans(trt_runtime, request):
    """Plans of the versions before and after, and for other GPUs: loaded where they were built for it, and where that is allowed.

    On the emulator, which plays two versions and three GPUs; it says nothing about a real TensorRT's lean runtime.
    """
    if not trt_runtime.emulated:
        pytest.skip(
            "not applicable: one machine has one TensorRT and its GPUs; goldens of two are compared by --trt-golden-from"
        )
    demand(check_compatible(trt_runtime), request)


def test_no_plan_ends_the_process(trt_runtime, request):
    """A real TensorRT that executes: garbage, damaged and foreign plans, each tried in a child process."""
    if trt_runtime.emulated:
        pytest.skip(
            "not applicable: the emulator's plans are no native code; a real TensorRT that builds has its own test"
        )
    demand(check_contained(trt_runtime, *plans_of(trt_runtime)), request)


def test_no_plan_ends_the_process_of_the_builder(targeted):
    """The same where a real TensorRT only builds: without a GPU it refuses good plans too, in words."""
    plan, others = plans_of(targeted)
    rows = list(check_contained(targeted, plan, others))
    if targeted.features.engine_validity:
        rows += check_validity(targeted, plan)
    demand_built(rows)
