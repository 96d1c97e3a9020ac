"""`--trt-precision`: which precisions run."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    values = (("fp32", ["fp32"]), ("tf32 , fp16", ["tf32", "fp16"]), ("INT8,int8", ["int8"]))
    check_precedence(trt, "--trt-precision", ["fp32", "fp16", "int8"], values)


def test_unknown(trt: Trt) -> None:
    check_refusal(trt, "--trt-precision", "int9", "fp32, tf32, fp16, bf16, int8", "did you mean 'int8'?")


def test_nothing_is_refused(trt: Trt) -> None:
    assert "good values: fp32" in trt.refusal("--trt-precision=,")


def test_repeated(trt: Trt) -> None:
    given = trt.settings("--trt-precision=int8", "--trt-precision=fp16,int8")
    assert given["precisions"] == ["int8", "fp16"]


def test_list_of_an_ini_file(trt: Trt) -> None:
    trt.ini("trt_precision =\n    fp16\n    int8,fp32\n")
    assert trt.settings()["precisions"] == ["fp16", "int8", "fp32"]
