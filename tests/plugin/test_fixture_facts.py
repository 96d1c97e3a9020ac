"""`trt_settings`, `trt_gpu`, `trt_runtime`, `trt_builder`, `trt_precision`: what the session is."""

from __future__ import annotations

from tests.plugin.conftest import Trt


def test_session_facts_at_any_scope(trt: Trt) -> None:
    trt.have("builder")
    trt.tests("""
        import pytest
        @pytest.fixture(scope="session")
        def facts(trt_settings, trt_gpu, trt_runtime, trt_builder):
            return trt_settings, trt_gpu, trt_runtime, trt_builder
        def test_a(facts):
            settings, gpu, runtime, builder = facts
            assert settings.budget == "quick" and gpu.name == "t4"
            assert runtime.emulated and not builder.emulated
            with pytest.raises(AttributeError):
                settings.budget = "thorough"
    """)
    trt.run().assert_outcomes(passed=1)


def test_precision_asked_for_while_the_test_runs(trt: Trt) -> None:
    trt.tests("def test_a(request): request.getfixturevalue('trt_precision')")
    result = trt.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*UsageError: fixture 'trt_precision' was asked for while the test ran*"])
