"""`--trt-hybrid`: the type of what is not INT8."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    check_precedence(trt, "--trt-hybrid", "off", (("fp16", "fp16"), ("off", "off"), ("BF16", "bf16")))


def test_unknown(trt: Trt) -> None:
    check_refusal(trt, "--trt-hybrid", "fp61", "off, fp16, bf16", "did you mean 'fp16'?")
