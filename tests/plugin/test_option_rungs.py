"""`--trt-rungs`: rungs of the ladder that pass."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    everything = ["direct", "unfused", "splitk", "winograd", "fft"]
    values = (("direct", ["direct"]), ("direct,fft", ["direct", "fft"]), ("splitk,splitk", ["splitk"]))
    check_precedence(trt, "--trt-rungs", everything, values)


def test_unknown(trt: Trt) -> None:
    good = "direct, unfused, splitk, winograd, fft"
    check_refusal(trt, "--trt-rungs", "winogard", good, "did you mean 'winograd'?")
