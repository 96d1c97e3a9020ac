"""The life of a golden on the emulator, in one process and in two: record, pass, drift, regression, accept."""

from __future__ import annotations

import sys

import pytest

from pytest_trt.golden.store import open_store
from tests.plugin.conftest import Trt
from tests.plugin.golden_model import FAULTS, MACHINE, TESTS

DRIFT = FAULTS + "errors_doubled"
REGRESSION = FAULTS + "last_input_channel_dropped"
REAL = "test_it.py::test_it[fp32-real]"


def golden(trt: Trt, *arguments: str) -> pytest.RunResult:
    return trt.pytester.run(sys.executable, "-m", "pytest_trt", "golden", *arguments)


def files(trt: Trt) -> dict[str, bytes]:
    """What the store holds; its lock apart."""
    root = trt.pytester.path / "golden"
    kept = [path for path in root.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(root)): path.read_bytes() for path in kept}


@pytest.mark.parametrize("workers", [0, 2])
def test_the_life_of_a_golden(bare_trt: Trt, workers: int) -> None:
    pytest.importorskip("xdist")
    bare_trt.tests(TESTS)

    def run(*options: str) -> pytest.RunResult:
        here = ("-p", "xdist", f"-n{workers}", *MACHINE, "--trt-precision=fp32", *options)
        return bare_trt.run_apart("-p", "trt", *here) if workers else bare_trt.run(*here)

    run("--trt-golden=record").assert_outcomes(passed=2)
    recorded = files(bare_trt)
    assert len(recorded) == 4

    passed = run()
    passed.assert_outcomes(passed=2)
    passed.stdout.fnmatch_lines(["Goldens of this version in *", "  2 identical"])

    wrong = run(REGRESSION)
    wrong.assert_outcomes(failed=2)
    wrong.stdout.fnmatch_lines(["*golden 'whole': regression: output 'y': * elements outside of the limits*"])
    wrong.stdout.fnmatch_lines(["  2 regression"])

    drifted = run(DRIFT)
    drifted.assert_outcomes(passed=1, failed=1)
    drifted.stdout.fnmatch_lines(
        [
            "*golden 'real': drift: output 'y', *",
            "*errors of output 'y' in units of the limit, then: RMS *; now: RMS *",
            f"*replay pytest '{REAL.replace('[', '[[]').replace('fp32-real]', 'fp32-real[]]')}' *{DRIFT}*",
            "*mend*python -m pytest_trt golden accept real --precision=fp32; or run with --trt-golden=update=changed",
        ]
    )
    drifted.stdout.fnmatch_lines(["  1 identical, 1 drift", "  case *", "  real  fp32       t4   drift *"])

    assert files(bare_trt) == recorded, "a check never writes"

    accepted = golden(bare_trt, "accept", "real", "--precision=fp32")
    assert accepted.ret == 0
    accepted.stdout.fnmatch_lines(["accepted: real (fp32, t4, emulator+*"])
    run(DRIFT).assert_outcomes(passed=2)
    assert golden(bare_trt, "verify").ret == 0
    assert golden(bare_trt, "accept", "real").ret == 2, "it passes now: nothing is left to accept"
    assert open_store(bare_trt.pytester.path / "golden").problems() == {}


def test_an_update_takes_a_drift(bare_trt: Trt) -> None:
    bare_trt.tests(TESTS)
    here = (*MACHINE, "--trt-precision=fp32")
    bare_trt.run(*here, "--trt-golden=update=new").assert_outcomes(passed=2)
    recorded = files(bare_trt)
    bare_trt.run(*here, "--trt-golden=update=new", DRIFT).assert_outcomes(passed=1, failed=1)
    assert files(bare_trt) == recorded
    bare_trt.run(*here, "--trt-golden=update=changed", DRIFT).assert_outcomes(passed=2)
    changed = files(bare_trt)
    assert changed != recorded
    assert {n: d for n, d in changed.items() if "whole" in n} == {
        n: d for n, d in recorded.items() if "whole" in n
    }
    bare_trt.run(*here, DRIFT).assert_outcomes(passed=2)
    # What changed may be taken; what is wrong is only taken where everything is.
    bare_trt.run(*here, "--trt-golden=update=changed", REGRESSION).assert_outcomes(failed=2)
    assert files(bare_trt) == changed
    bare_trt.run(*here, "--trt-golden=update=all", REGRESSION).assert_outcomes(passed=2)
    bare_trt.run(*here, "--trt-golden=update=all").assert_outcomes(passed=2)
    bare_trt.run(*here).assert_outcomes(passed=2)
