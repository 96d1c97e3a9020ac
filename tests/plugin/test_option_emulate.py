"""`--trt-emulate`: which TensorRT the emulator plays."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    values = (
        ("tensorrt-8.6.1", "tensorrt-8.6.1"),
        ("tensorrt_rtx-1.7", "tensorrt_rtx-1.7"),
        ("TensorRT-11.4", "tensorrt-11.4"),
    )
    check_precedence(trt, "--trt-emulate", "tensorrt-10.13", values)


def test_unknown(trt: Trt) -> None:
    check_refusal(trt, "--trt-emulate", "10.13", "tensorrt-8.6.1", "tensorrt_rtx-1.7")
