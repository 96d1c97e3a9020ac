"""`trt_precision(*names)`: intersects with `--trt-precision`."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Trt

MARKED = """
    import pytest
    @pytest.mark.trt_precision("int8", "bf16", "fp32")
    def test_a(trt_precision): pass
"""


def test_intersects(trt: Trt) -> None:
    trt.tests(MARKED)
    result = trt.run("-v", "--trt-precision=int8,fp16,fp32")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_a[[]int8] PASSED*", "*test_a[[]fp32] PASSED*"])


def test_markers_of_class_and_function_intersect(trt: Trt) -> None:
    trt.tests("""
        import pytest
        @pytest.mark.trt_precision("int8", "fp16")
        class TestIt:
            @pytest.mark.trt_precision("fp16", "fp32")
            def test_a(self, trt_precision): assert trt_precision == "fp16"
    """)
    trt.run().assert_outcomes(passed=1)


def test_empty_intersection_is_deselected_and_counted(trt: Trt) -> None:
    trt.tests(
        MARKED
        + """
    def test_b(): pass
    """
    )
    result = trt.run("--trt-precision=fp16")
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.fnmatch_lines(["deselected, no precision of the test was asked for: 1 test"])


def test_required_things_do_not_matter_then(trt: Trt) -> None:
    trt.tests(MARKED)
    result = trt.run("--trt-precision=fp16", "--trt-require=gpu,build,execute")
    result.assert_outcomes(deselected=1)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("'int9'", "'int9' is unknown; good values: fp32, tf32, fp16, bf16, int8"),
        ("8", "8 is no precision"),
        ("", "no precision is named"),
        ("name='int8'", "unknown argument 'name'"),
    ],
)
def test_wrong_arguments(trt: Trt, arguments: str, words: str) -> None:
    trt.tests(f"import pytest\n@pytest.mark.trt_precision({arguments})\ndef test_a(trt_precision): pass")
    told = trt.refusal()
    assert f"test_it.py::test_a: marker trt_precision({arguments}): {words}" in told
    assert told.count("marker trt_precision") == 1, "a multiplied test is told once"
