"""`--trt-budget`: how much is drawn."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    values = (("standard", "standard"), ("quick", "quick"), ("thorough", "thorough"))
    check_precedence(trt, "--trt-budget", "quick", values)


def test_unknown(trt: Trt) -> None:
    check_refusal(trt, "--trt-budget", "quik", "quick, standard, thorough", "did you mean 'quick'?")


def test_the_battery_follows(trt: Trt) -> None:
    sizes = [len(trt.settings(f"--trt-budget={name}")["data"]) for name in ("quick", "standard", "thorough")]
    assert sizes == [4, 8, 14]
