"""`--trt-case`: one configuration, replayed."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence


def test_precedence(trt: Trt) -> None:
    check_precedence(
        trt, "--trt-case", None, (("conv2d-a", "conv2d-a"), ("gemm-b", "gemm-b"), ("Pool-c", "Pool-c"))
    )


def test_empty(trt: Trt) -> None:
    assert "paste the line" in trt.refusal("--trt-case=")
