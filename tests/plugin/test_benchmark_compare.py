"""Runs of two machines are compared only where `--trt-compare=any` says so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plugin.benches import (
    PLUGIN,
    change,
    compare,
    compare_apart,
    elsewhere,
    give,
    prepare,
    store,
    stored,
)
from tests.plugin.conftest import Trt


@pytest.mark.parametrize("gate", [(), ("--benchmark-compare-fail=median:5%",)], ids=["compared", "gated"])
def test_another_machine_is_refused(trt: Trt, gate: tuple[str, ...]) -> None:
    store(prepare(trt))
    change(stored(trt)[-1], elsewhere)
    result = (compare_apart if gate else compare)(trt, *gate)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: --benchmark-compare: the stored run is of another machine, and times of two machines are not compared",
            "  why    now      emulator (tensorrt-10.13.3.9), as t4, onnxruntime *, A Processor",
            "  why    stored   emulator (tensorrt-10.13.3.9), as t4, onnxruntime *, Another Processor",
            "  why    differs  cpu: A Processor now, Another Processor stored",
            "  mend   store a run of this machine first, --benchmark-autosave; or compare all the same, --trt-compare=any",
        ]
    )
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_the_latest_run_of_this_machine_is_named(trt: Trt) -> None:
    store(prepare(trt))
    store(trt)
    store(trt)
    change(stored(trt)[-1], elsewhere)
    result = compare(trt)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "latest run of this machine, --benchmark-compare=0002; or" in result.stderr.str()
    assert trt.run(*PLUGIN, "test_speed.py", "--benchmark-compare=0002").ret == 0


def test_any_compares_and_says_so(trt: Trt) -> None:
    store(prepare(trt))
    change(stored(trt)[-1], elsewhere)
    result = compare_apart(trt, "--benchmark-compare-fail=median:5%", "--trt-compare=any")
    assert result.ret == 0
    assert "machine_info is different" not in result.stderr.str()  # it is said below, and in words
    result.stdout.fnmatch_lines(
        [
            "benchmarks [[]of this session[]]:",
            "  compared although the machines differ (--trt-compare=any):",
            "  now emulator (tensorrt-10.13.3.9), as t4, onnxruntime *, A Processor",
            "  stored emulator (tensorrt-10.13.3.9), as t4, onnxruntime *, Another Processor",
        ]
    )
    give(trt, a=2e-3)
    gate = ("--benchmark-compare-fail=median:5%", "--trt-compare=any")
    assert compare_apart(trt, *gate).ret == pytest.ExitCode.TESTS_FAILED


def test_off_compares_nothing_of_ours(trt: Trt) -> None:
    store(prepare(trt))
    change(stored(trt)[-1], elsewhere)
    assert compare_apart(trt, "--trt-runtime=off").ret == 0


def test_two_workers_measure_nothing_and_refuse_nothing(trt: Trt) -> None:
    pytest.importorskip("xdist")
    store(prepare(trt))
    change(stored(trt)[-1], elsewhere)
    result = compare_apart(trt, "-p", "xdist.plugin", "-n2")
    assert result.ret == 0 and result.parseoutcomes()["passed"] == 2
    assert "machine_info is different" not in result.stderr.str()
    result = compare_apart(trt, "-p", "xdist.plugin", "-n2", "--benchmark-compare-fail=median:5%")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "problem: --benchmark-compare-fail compared no benchmark of ours, and what cannot be judged is no pass: "
            "benchmarks are switched off, by -n, --benchmark-disable or --benchmark-skip"
        ]
    )


def test_what_differs_besides_is_pytest_benchmark_s_to_tell(trt: Trt) -> None:
    def other_system(data: Any) -> None:
        data["machine_info"]["system"] = "Plan 9"

    store(prepare(trt))
    change(stored(trt)[-1], other_system)
    result = compare_apart(trt)
    assert result.ret == 0
    assert "machine_info is different" in result.stderr.str() and "Plan 9" in result.stderr.str()
