"""`--trt-allow`: what a kernel may do besides."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    values = (("ties", ["ties"]), ("flush,nan", ["flush", "nan"]), ("nan,nan", ["nan"]))
    check_precedence(trt, "--trt-allow", [], values)


def test_unknown(trt: Trt) -> None:
    check_refusal(trt, "--trt-allow", "flushh", "half, ties, flush, nan", "did you mean 'flush'?")
