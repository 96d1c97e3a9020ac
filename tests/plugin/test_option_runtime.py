"""`--trt-runtime`: who executes."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    values = (("emulator", "emulator"), ("tensorrt_rtx", "tensorrt_rtx"), ("Tensorrt", "tensorrt"))
    check_precedence(trt, "--trt-runtime", "auto", values)


def test_unknown(trt: Trt) -> None:
    good = "auto, tensorrt, tensorrt_rtx, emulator, off"
    check_refusal(trt, "--trt-runtime", "emulated", good, "did you mean 'emulator'?")


def test_explicit_and_missing_ends_with_the_import_error(trt: Trt) -> None:
    trt.have("absent")
    words = trt.refusal("--trt-runtime=tensorrt")
    assert "ImportError: libnvinfer.so.10" in words
    assert "pip install it" in words


def test_explicit_in_the_ini_file_hurts_only_those_who_use_it(trt: Trt) -> None:
    trt.have("absent")
    trt.ini("trt_runtime = tensorrt")
    trt.tests("def test_plain(): pass")
    trt.run().assert_outcomes(passed=1)
    trt.tests("def test_user(trt_runtime): pass")
    assert "ImportError: libnvinfer.so.10" in trt.refusal("test_it.py")
