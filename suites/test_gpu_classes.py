"""GPU classes: what has one right answer has it on each of them, and a GPU is what the table of classes says.

Public bugs on one GPU class alone: NVIDIA/TensorRT issues 4822, 3999 and 2036. With a real GPU there is one class, and other
ones are compared through goldens.
"""

from __future__ import annotations

import pytest

from ._classes import check_classes, check_device, check_table, read_device
from ._named import demand


def test_every_gpu_class_gives_the_same_bits(trt_runtime, trt_settings, request):
    """A matrix product of small integers on every class that the emulator plays."""
    if not trt_runtime.emulated or trt_runtime.device != "cpu":
        pytest.skip("not applicable: a real GPU is of one class")
    demand(check_classes(trt_runtime, trt_settings), request)


def test_figures_of_every_gpu_class_can_be_those_of_a_gpu(trt_runtime, request):
    """Order of magnitude of rates, bandwidth and multiprocessors in the table that speeds are held against. Needs no GPU.

    Source: data sheets and whitepapers, named in the table; CUDA C++ Programming Guide for operations a clock.
    """
    demand(check_table(), request)


def test_this_gpu_is_what_its_class_says(trt_runtime, request):
    """Multiprocessors, memory and compute capability that CUDA tells are those of the class; only a real GPU can show it."""
    if trt_runtime.device == "cpu":
        pytest.skip(
            "not applicable: no real GPU executes; --trt-device=cuda:0 lets the emulator compute on one"
        )
    demand(check_device(read_device(trt_runtime), trt_runtime.gpu), request)
