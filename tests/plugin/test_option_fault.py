"""`--trt-fault`: a fault for the emulator."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    values = (("a.b:c", ["a.b:c"]), ("a:b,c:d.e", ["a:b", "c:d.e"]), ("x:y", ["x:y"]))
    check_precedence(trt, "--trt-fault", [], values)


def test_unknown(trt: Trt) -> None:
    check_refusal(trt, "--trt-fault", "a.b", "package.module:callable", "pytest_trt.emulator.faults")


def test_repeated(trt: Trt) -> None:
    assert trt.settings("--trt-fault=a:b", "--trt-fault=c:d")["faults"] == ["a:b", "c:d"]


def test_a_real_tensorrt_takes_none(trt: Trt) -> None:
    words = trt.refusal("--trt-fault=a:b", "--trt-runtime=tensorrt_rtx")
    assert "--trt-runtime=tensorrt_rtx" in words
    assert "--trt-runtime=emulator" in words


def test_the_line_names_it(trt: Trt) -> None:
    trt.tests("def test_a(): pass")
    trt.run("--trt-fault=a:b").stdout.fnmatch_lines(["trt: *; fault a:b"])
