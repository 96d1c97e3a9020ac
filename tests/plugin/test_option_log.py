"""`--trt-log`: which messages of TensorRT are kept."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    check_precedence(
        trt, "--trt-log", "WARNING", (("info", "INFO"), ("ERROR", "ERROR"), ("Verbose", "VERBOSE"))
    )


def test_unknown(trt: Trt) -> None:
    good = "INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE"
    check_refusal(trt, "--trt-log", "VERBOS", good)
