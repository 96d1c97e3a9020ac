"""`--trt-constraints`: types given to every layer under weak typing."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    check_precedence(
        trt, "--trt-constraints", "off", (("prefer", "prefer"), ("off", "off"), ("OBEY", "obey"))
    )


def test_unknown(trt: Trt) -> None:
    check_refusal(trt, "--trt-constraints", "obay", "off, prefer, obey", "did you mean 'obey'?")
