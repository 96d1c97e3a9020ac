"""`--trt-typing`: builder flags or a typed graph."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    check_precedence(trt, "--trt-typing", "auto", (("weak", "weak"), ("auto", "auto"), ("STRONG", "strong")))


def test_unknown(trt: Trt) -> None:
    check_refusal(trt, "--trt-typing", "weka", "auto, weak, strong", "did you mean 'weak'?")
