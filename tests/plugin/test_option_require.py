"""`--trt-require`: the option; its effect is in test_rule_require.py."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    values = (("gpu", ["gpu"]), ("build , golden", ["build", "golden"]), ("execute", ["execute"]))
    check_precedence(trt, "--trt-require", [], values)


def test_unknown(trt: Trt) -> None:
    check_refusal(trt, "--trt-require", "builder", "gpu, build, execute, golden", "did you mean 'build'?")
