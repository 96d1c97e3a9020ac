"""GPU classes: what has one right answer has it on each of them.

Public bugs on one GPU class alone: NVIDIA/TensorRT issues 4822, 3999 and 2036. With a real GPU there is one class, and other
ones are compared through goldens.
"""

from __future__ import annotations

import pytest

from ._classes import check_classes
from ._named import demand


def test_every_gpu_class_gives_the_same_bits(trt_runtime, trt_settings, request):
    """A matrix product of small integers on every class that the emulator plays."""
    if not trt_runtime.emulated or trt_runtime.device != "cpu":
        pytest.skip("not applicable: a real GPU is of one class")
    demand(check_classes(trt_runtime, trt_settings), request)
