"""`--trt-data`: the data battery alone."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal

QUICK = ["uniform11", "int_small", "int_ties", "tiny"]


def test_precedence(trt: Trt) -> None:
    values = (("normal", ["normal"]), ("big,big", ["big"]), ("quick,special", [*QUICK, "special"]))
    check_precedence(trt, "--trt-data", QUICK, values)


def test_unknown(trt: Trt) -> None:
    check_refusal(
        trt, "--trt-data", "norma1", "quick, default, full", "impulse_wide", "did you mean 'normal'?"
    )


def test_the_budget_stays(trt: Trt) -> None:
    given = trt.settings("--trt-budget=thorough", "--trt-data=quick")
    assert (given["budget"], given["data"]) == ("thorough", QUICK)
