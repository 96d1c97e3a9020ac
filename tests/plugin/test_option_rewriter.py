"""`--trt-rewriter`: who writes types and Q/DQ into graphs."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    check_precedence(
        trt,
        "--trt-rewriter",
        "builtin",
        (("onnxruntime", "onnxruntime"), ("builtin", "builtin"), ("ModelOpt", "modelopt")),
    )


def test_unknown(trt: Trt) -> None:
    check_refusal(
        trt, "--trt-rewriter", "buildin", "builtin, onnxruntime, modelopt", "did you mean 'builtin'?"
    )
