"""The summary: only with news, what was checked, how strictly, and what was not."""

from __future__ import annotations

from tests.plugin.conftest import Trt

TITLE = "*= TensorRT conformance =*"


def test_the_table(trt: Trt) -> None:
    trt.tests("""
        import pytest
        def test_a(trt_check):
            for _ in range(4): trt_check(b"m")
        def test_b(trt_check): trt_check(b"odd")
        def test_c(trt_check):
            with pytest.raises(AssertionError, match="3 of 9"): trt_check(b"wrong")
            trt_check(b"m")
    """)
    result = trt.run("--trt-precision=fp16,int8")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(
        [
            TITLE,
            "test * precision  checks  verdicts * elements  bit-exact",
            "test_it.py::test_a  fp16            4  conforms                   4,000       25 %",
            "test_it.py::test_a  int8            4  conforms                   4,000       25 %",
            "test_it.py::test_b  fp16            1  unjudged                      10        0 %",
            "test_it.py::test_c  fp16            2  1 conforms, 1 violates     1,009       26 %",
            "checked on: fake 1.0; GPU class *",
            "data: tiny 14",
            "relations that held: identical rows 10",
            "unjudged, operators without a limit: Softmax 4",
        ],
        consecutive=False,
    )


def test_a_failure_is_in_the_table_and_in_the_short_summary(trt: Trt) -> None:
    trt.tests("def test_a(trt_check): trt_check(b'wrong')")
    result = trt.run("--trt-precision=int8")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["test_it.py::test_a  int8            1  violates*"])
    result.stdout.fnmatch_lines(["FAILED *ConformanceError: output*"])


def test_nothing_without_news_or_under_q(trt: Trt) -> None:
    trt.tests("def test_a(trt_precision): pass")
    assert "TensorRT conformance" not in trt.run().stdout.str()
    trt.tests("def test_a(trt_check): trt_check(b'm')")
    assert "TensorRT conformance" in trt.run().stdout.str()
    assert "TensorRT conformance" not in trt.run("-q").stdout.str()


def test_the_support_map(trt: Trt) -> None:
    trt.tests("""
        def test_a(record_property, trt_precision):
            outcome = "builds" if trt_precision == "fp16" else "falls back to fp32"
            record_property("trt_support", ["conv2d", trt_precision, "t4", outcome])
            record_property("trt_support", ["conv2d", trt_precision, "t4", outcome])
            if trt_precision == "fp16":
                record_property("trt_support", ["gemm", "fp16", "t4", "refused in words"])
    """)
    result = trt.run("--trt-precision=int8,fp16")
    result.stdout.fnmatch_lines(
        [
            "what * built, operator family x precision and GPU class:",
            "  family  fp16 t4             int8 t4",
            "  conv2d  builds 2            falls back to fp32 2",
            "  gemm    refused in words 1  -",
        ]
    )


def test_records_travel_in_junit_xml(trt: Trt) -> None:
    trt.tests("def test_a(trt_check): trt_check(b'm')")
    trt.run("--trt-precision=int8", "--junitxml=out.xml")
    text = trt.pytester.path.joinpath("out.xml").read_text()
    assert 'name="trt_tally"' in text
    assert "&quot;certified&quot;: 250" in text
