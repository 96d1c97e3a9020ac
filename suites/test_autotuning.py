"""Auto-tuning: repeatable with a timing cache, bound to the types whose flags are set, and never another answer.

Claims: a weakly typed builder times float32 and every type whose flag is set, INT8 alone allows no FP16, and it adds layers that
convert; a timing cache lets a second build pick as the first did (TensorRT documentation, "Timing Cache"; `BuilderFlag`);
TensorRT-RTX tunes nothing while it builds, and its timing cache does nothing.
"""

from __future__ import annotations

import pytest

from ._autotuning import check_cache, check_no_op, check_pools, check_steering
from ._named import demand


@pytest.mark.faq(5)
def test_timing_cache(trt_runtime, request):
    """Kept as bytes, shared, combined, empty, of another version. Runs on the emulator, or on a GPU."""
    demand(check_cache(trt_runtime), request)


@pytest.mark.faq(5)
def test_timing_cache_of_the_builder(trt_runtime, targeted, request):
    """TensorRT-RTX: the calls do nothing and say so, and two builds are the same, byte for byte."""
    if not targeted.features.rtx:
        pytest.skip(f"not applicable: {targeted.title} times its tactics on a GPU, which the test before did")
    demand(check_no_op(targeted), request)


@pytest.mark.faq(5)
def test_types_of_weak_typing(trt_runtime, request):
    """FP16, BF16 and INT8, alone and both: no layer has another type, and none converts unseen. On the emulator, or on a GPU."""
    if not trt_runtime.features.weak_typing:
        pytest.skip(f"not applicable: {trt_runtime.title} has no weak typing")
    demand(check_pools(trt_runtime), request)


@pytest.mark.faq(5)
def test_steered_tuning(trt_runtime, request):
    """Optimisation levels, timing iterations, numbers of tactics, tactic sources. Runs on the emulator, or on a GPU."""
    demand(check_steering(trt_runtime), request)


@pytest.mark.faq(5)
def test_steered_tuning_of_the_builder(trt_runtime, targeted, request):
    """The real TensorRT that builds takes the same settings and gives a plan; that no answer changes needs a GPU."""
    demand(check_steering(targeted), request)
