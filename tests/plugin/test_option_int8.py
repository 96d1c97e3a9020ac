"""`--trt-int8`: Q/DQ graph or calibrator."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    values = (("implicit", "implicit"), ("explicit", "explicit"), ("Implicit", "implicit"))
    check_precedence(trt, "--trt-int8", "explicit", values)


def test_unknown(trt: Trt) -> None:
    check_refusal(trt, "--trt-int8", "implict", "explicit, implicit", "did you mean 'implicit'?")
