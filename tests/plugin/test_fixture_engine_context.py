"""`engine` and `context`: raw objects of the test's `trt_model`."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Trt


def test_engine_is_shared_and_context_is_fresh(trt: Trt) -> None:
    trt.tests("""
        import pytest
        pytestmark = pytest.mark.trt_model(b"model")
        def test_a(engine, trt_engine, context, trt_context):
            assert engine is trt_engine and context is trt_context
            assert context.engine is engine and context.number == 1
        def test_b(context):
            assert context.number == 2
    """)
    trt.run("--trt-precision=int8").assert_outcomes(passed=2)


@pytest.mark.parametrize("fixture", ["engine", "context"])
def test_without_a_model_the_marker_is_shown(trt: Trt, fixture: str) -> None:
    trt.tests(f"def test_a({fixture}): pass")
    result = trt.run("--trt-precision=int8")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*UsageError: fixture '{fixture}' of *test_a*@pytest.mark.trt_model(*"])


def test_a_context_of_the_project_breaks_nothing_and_is_not_multiplied(trt: Trt) -> None:
    trt.tests("""
        import pytest
        @pytest.fixture
        def context(): return "mine"
        @pytest.fixture
        def engine(): return "mine too"
        def test_a(context, engine): assert (context, engine) == ("mine", "mine too")
        @pytest.mark.trt_model(b"model")
        def test_b(context, trt_context): assert trt_context.number == 1
    """)
    trt.run("--trt-precision=int8,fp16").assert_outcomes(passed=3)


def test_no_context_is_an_error_in_words(trt: Trt) -> None:
    trt.tests("import pytest\n@pytest.mark.trt_model(b'no-context')\ndef test_a(context): pass")
    result = trt.run("--trt-precision=int8")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ExecutionError: create_execution_context() returned None"])
