"""TensorRT's log in a session: on the report of a test that fails, and against a test that should not have passed."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from tests.plugin.conftest import Trt

CONFTEST = """
    import pytest

    @pytest.fixture
    def say(trt_runtime):
        from pytest_trt.records import LogLine

        def say(severity, text, how="call"):
            from contextlib import nullcontext

            blocks = {"call": trt_runtime.logger.call, "collect": trt_runtime.logger.collect, "": nullcontext}
            with blocks[how]():
                trt_runtime.logger.raw.log(getattr(trt_runtime.trt.ILogger.Severity, severity), text)

        return say
"""


@pytest.fixture
def logged(bare_trt: Trt) -> Trt:
    bare_trt.pytester.makeconftest(CONFTEST)
    return bare_trt


def run(trt: Trt, *args: str) -> pytest.RunResult:
    return trt.run("--trt-runtime=emulator", "-p", "no:xdist", *args)


FAILING = """
    import threading

    def test_it(say):
        say("VERBOSE", "a detail", how="collect")
        say("WARNING", "a warning", how="collect")
        thread = threading.Thread(target=say, args=("ERROR", "of another thread", "collect"))
        thread.start()
        thread.join()
        assert False

    def test_other(say):
        say("WARNING", "of the other", how="collect")
"""


@pytest.mark.parametrize(
    ("args", "shown", "hidden"),
    [
        ((), ["[[]WARNING] a warning", "[[]ERROR] of another thread"], "[VERBOSE] a detail"),
        (("--trt-log=VERBOSE",), ["[[]VERBOSE] a detail", "[[]WARNING] a warning"], "[WARNING] of the other"),
        (("--trt-log=ERROR",), ["[[]ERROR] of another thread"], "[WARNING] a warning"),
    ],
)
def test_the_log_is_on_the_report_of_a_test_that_fails(logged, args, shown, hidden):
    logged.tests(FAILING)
    result = run(logged, *args)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*- TensorRT log -*", *shown])
    assert hidden not in result.stdout.str() and result.stdout.str().count("TensorRT log") == 1


def test_a_passing_test_prints_nothing(logged):
    logged.tests(
        """
        def test_it(say):
            for severity in ("VERBOSE", "INFO", "WARNING"):
                say(severity, "something")
            say("ERROR", "read by who collects", how="collect")
            say("ERROR", "outside of all calls", how="")
        """
    )
    result = run(logged, "--trt-log=VERBOSE", "-rA", "--show-capture=no")
    result.assert_outcomes(passed=1)
    assert "something" not in result.stdout.str() and "outside of all" not in result.stdout.str()


def test_a_long_log_is_cut_and_says_so(logged):
    logged.tests(
        """
        def test_it(say):
            say("ERROR", "the first", how="collect")
            for number in range(2100):
                say("WARNING", f"number {number}", how="collect")
            assert False
        """
    )
    result = run(logged)
    result.stdout.fnmatch_lines(["(101 earlier or milder lines were dropped)", "[[]ERROR] the first"])
    assert "number 100\n" not in result.stdout.str() and "number 101\n" in result.stdout.str()


def test_an_error_in_a_call_that_succeeded_fails_the_test(logged):
    logged.tests('def test_it(say):\n    say("ERROR", "went wrong")\n    say("ERROR", "went wrong")\n')
    result = run(logged)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "trt: TensorRT logged 2 errors that nobody expected, in calls that succeeded: [[]ERROR] went wrong",
            "  why    [[]ERROR] went wrong",
            "  mend   where a line is harmless: @pytest.mark.trt_log(allow=[[]...]) on the test, or the ini key trt_log_allow",
        ]
    )


def test_a_call_that_raises_has_told_its_errors(logged):
    logged.tests(
        """
        import pytest
        from pytest_trt.errors import TrtError

        def test_it(trt_check):
            with pytest.raises(TrtError):
                trt_check(b"no model", precision="fp32")

        def test_calls(trt_runtime, say):
            with trt_runtime.logger.collect() as lines:
                say("ERROR", "somebody reads this")
            assert lines
        """
    )
    run(logged, "--trt-precision=fp32").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("marker", "outcome"),
    [
        ("fail='WARNING'", "failed"),
        ("fail='WARNING', allow=['harm.ess', 'stray']", "passed"),
        ("fail='ERROR'", "failed"),
        ("fail='ERROR', allow=['stray']", "passed"),
        ("fail=None", "passed"),
        ("allow=['no such']", "passed"),
    ],
)
def test_the_marker_says_what_is_expected(logged, marker, outcome):
    logged.tests(
        f"""
        import pytest

        @pytest.mark.trt_log({marker})
        def test_it(say):
            say("WARNING", "a harmless line")
            say("ERROR", "a stray error", how="")
        """
    )
    run(logged, "--strict-markers").assert_outcomes(**{outcome: 1})


def test_markers_add_up_and_the_closest_decides(logged):
    logged.tests(
        """
        import pytest

        pytestmark = pytest.mark.trt_log(allow=["one"], fail="WARNING")

        @pytest.mark.trt_log(allow=["two"])
        def test_both(say):
            say("WARNING", "one")
            say("WARNING", "two")

        @pytest.mark.trt_log(fail=None)
        def test_off(say):
            say("ERROR", "three")
        """
    )
    run(logged).assert_outcomes(passed=2)


def test_the_ini_keys_hold_for_all_tests(logged):
    logged.tests('def test_it(say):\n    say("WARNING", "a harmless line")\n')
    logged.ini("trt_log_fail = warning\n")
    run(logged).assert_outcomes(failed=1)
    logged.ini("trt_log_fail = warning\ntrt_log_allow =\n    harmless [a-z]+\n    other\n")
    run(logged).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ("allow=['(']", "'(' is no regular expression"),
        ("allow=['.*']", "'.*' matches every line"),
        ("allow='one'", "allow='one' is no list of regular expressions"),
        ("fail='INFO'", "fail='INFO' is unknown"),
        ("fails='ERROR'", "unknown argument 'fails'"),
        ("'ERROR'", "its arguments have names"),
        ("", "its arguments have names"),
    ],
)
def test_a_wrong_marker_is_a_usage_error(logged, marker, words):
    logged.tests(f"import pytest\n\n@pytest.mark.trt_log({marker})\ndef test_it():\n    pass\n")
    result = run(logged)
    assert result.ret == pytest.ExitCode.USAGE_ERROR and words in result.stderr.str()


def test_a_wrong_marker_is_told_under_xdist_too(logged):
    """A usage error of a worker would be lost, and end the controller with an internal error."""
    pytest.importorskip("xdist")
    logged.tests("import pytest\n\n@pytest.mark.trt_log(fails='ERROR')\ndef test_it():\n    pass\n")
    result = logged.run_apart("-p", "trt", "-p", "xdist", "-n2", "--trt-runtime=emulator")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*marker trt_log(fails='ERROR'): unknown argument 'fails'*"])


def test_a_wrong_ini_key_is_a_usage_error(logged):
    logged.tests("def test_it():\n    pass\n")
    logged.ini("trt_log_fail = INFO\n")
    result = run(logged)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "ini key: fail='INFO' is unknown" in result.stderr.str()


def test_unexpected_lines_are_counted_on_the_report(logged):
    logged.tests('def test_it(say):\n    say("WARNING", "one")\n    say("WARNING", "two")\n')
    run(logged, "--junitxml=out.xml").assert_outcomes(passed=1)
    root = ET.parse(logged.pytester.path / "out.xml").getroot()
    values = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert json.loads(values["trt_log"]) == {"errors": 0, "warnings": 2}


def test_known_lines_count_only_for_the_tensorrt_that_says_them(logged):
    logged.tests('def test_it(say):\n    say("WARNING", "onnx2trt_utils.cpp:198: Your ONNX model has been generated with'
                 ' INT64 weights, while TensorRT does not natively support INT64.")\n')  # fmt: skip
    logged.ini("trt_log_fail = WARNING\n")
    run(logged, "--trt-emulate=tensorrt-8.6.1").assert_outcomes(passed=1)
    run(logged, "--trt-emulate=tensorrt-11.4").assert_outcomes(failed=1)


def test_workers_of_xdist_route_their_own_lines(logged):
    pytest.importorskip("xdist")
    logged.tests(FAILING)
    result = logged.run_apart("-n2", "-p", "trt", "-p", "xdist.plugin", "--trt-runtime=emulator")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*- TensorRT log -*", "[[]WARNING] a warning"])


def test_a_session_without_a_runtime_does_not_listen(logged):
    logged.tests(
        """
        import sys

        def test_it():
            assert "pytest_trt.runtime.log" not in sys.modules
        """
    )
    logged.run_apart("-p", "trt").assert_outcomes(passed=1)
