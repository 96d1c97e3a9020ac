"""`--trt-device`: where the emulator computes."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    check_precedence(trt, "--trt-device", "cpu", (("cuda:1", "cuda:1"), ("cpu", "cpu"), ("CUDA:0", "cuda:0")))


def test_unknown(trt: Trt) -> None:
    check_refusal(trt, "--trt-device", "cuda", "cpu, cuda:N", "did you mean 'cuda:0'?")
