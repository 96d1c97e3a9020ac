"""Errors of CUDA by number, name and text."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from pytest_trt.runtime.cuda_errors import KNOWN, of_code, of_text


def test_numbers_and_names_are_each_there_once() -> None:
    assert len({one.code for one in KNOWN}) == len({one.symbol for one in KNOWN}) == len(KNOWN) > 20


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("cuMemAlloc failed: out of memory", "CUDA_ERROR_OUT_OF_MEMORY"),
        (
            "Error Code 1: Cuda Runtime (an illegal memory access was encountered)",
            "CUDA_ERROR_ILLEGAL_ADDRESS",
        ),
        ("cuCtxSynchronize failed: unspecified launch failure", "CUDA_ERROR_LAUNCH_FAILED"),
        ("CUDA failure 719: unspecified launch failure ; GPU=0", "CUDA_ERROR_LAUNCH_FAILED"),
        ("CUDA_ERROR_ECC_UNCORRECTABLE", "CUDA_ERROR_ECC_UNCORRECTABLE"),
        ("cu: invalid argument, then cu: misaligned address", "CUDA_ERROR_MISALIGNED_ADDRESS"),
        (
            "the tensor has a misaligned address",
            "",
        ),  # nothing of CUDA: TensorRT refuses such addresses in these words
        ("cuFoo failed: something new", ""),
    ],
)
def test_a_text_is_recognised(text: str, symbol: str) -> None:
    found = of_text(text)
    assert ("" if found is None else found.symbol) == symbol


def test_the_driver_names_what_is_not_in_the_table() -> None:
    class Library:
        def cuGetErrorName(self, code: int, told: Any) -> int:
            ctypes.cast(told, ctypes.POINTER(ctypes.c_char_p))[0] = b"CUDA_ERROR_INVALID_CLUSTER_SIZE"
            return 0

        def cuGetErrorString(self, code: int, told: Any) -> int:
            return 1

    assert str(of_code(912, Library())) == "CUDA_ERROR_INVALID_CLUSTER_SIZE (912): CUDA error 912"
    assert of_code(912).symbol == "CUDA error 912"
    assert str(of_code(700)) == "CUDA_ERROR_ILLEGAL_ADDRESS (700): an illegal memory access was encountered"
