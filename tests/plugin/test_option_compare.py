"""`--trt-compare`: which stored runs are compared with."""

from __future__ import annotations

import pytest

from tests.plugin.benches import change, compare_apart, elsewhere, prepare, store, stored
from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    check_precedence(trt, "--trt-compare", "same", (("any", "any"), ("same", "same"), ("ANY", "any")))


def test_unknown(trt: Trt) -> None:
    check_refusal(trt, "--trt-compare", "anything", "same, any")


def test_any_lets_another_machine_in(trt: Trt) -> None:
    store(prepare(trt))
    change(stored(trt)[-1], elsewhere)
    assert compare_apart(trt, "--trt-compare=any").ret == 0
    assert compare_apart(trt, "--trt-compare=same").ret == pytest.ExitCode.USAGE_ERROR
