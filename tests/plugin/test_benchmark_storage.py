"""What pytest-benchmark stores of our sessions, and its own comparison on our numbers."""

from __future__ import annotations

import argparse
import json

import pytest

from pytest_trt.cli import history
from tests.plugin.benches import COLD, PLAIN, PLUGIN, compare, compare_apart, give, prepare, store, stored
from tests.plugin.conftest import Trt

ID = "emulator (tensorrt-10.13.3.9), as t4, onnxruntime "


def test_a_stored_run_says_what_executed(trt: Trt) -> None:
    trt.have("builder")
    store(prepare(trt))
    (path,) = stored(trt)
    info = json.loads(path.read_text(encoding="utf-8"))["machine_info"]
    assert info["trt"]["id"].startswith(ID) and info["trt"]["id"].endswith(", A Processor")
    assert info["trt"]["builder"] == "TensorRT-RTX 1.7.1.116"
    assert info["trt"]["device"] == "cpu"


def test_an_injected_fault_is_part_of_the_id(trt: Trt) -> None:
    store(prepare(trt), "--trt-fault=some.module:fault")
    (path,) = stored(trt)
    info = json.loads(path.read_text(encoding="utf-8"))["machine_info"]
    assert info["trt"]["id"].endswith(", fault some.module:fault")


def test_a_session_that_does_not_use_us_adds_nothing(trt: Trt) -> None:
    prepare(trt, test_plain=PLAIN)
    trt.run(*PLUGIN, "test_plain.py", "--benchmark-autosave").assert_outcomes(passed=1)
    (path,) = stored(trt)
    assert "trt" not in json.loads(path.read_text(encoding="utf-8"))["machine_info"]


def test_a_session_that_does_not_use_us_loads_nothing(trt: Trt) -> None:
    prepare(trt, test_plain=PLAIN)
    trt.run(*PLUGIN, "test_plain.py", "--benchmark-autosave").assert_outcomes(passed=1)
    trt.pytester.makepyfile(
        test_plain="""
        import sys
        def test_plain(benchmark):
            benchmark.pedantic(lambda: None, rounds=2)
            assert not {"numpy", "onnxruntime", "pytest_trt.bench"}.intersection(sys.modules)
        """
    )
    args = ("test_plain.py", "--benchmark-autosave", "--benchmark-compare")
    result = trt.run_apart(*PLUGIN, "-p", "trt", *args)
    assert result.parseoutcomes()["passed"] == 1
    assert "machine_info is different" not in result.stdout.str() + result.stderr.str()


def test_without_anything_executing_there_is_no_id(trt: Trt) -> None:
    trt.have("nothing")
    store(prepare(trt))
    (path,) = stored(trt)
    assert "trt" not in json.loads(path.read_text(encoding="utf-8"))["machine_info"]


def test_a_run_of_the_same_machine_is_compared(trt: Trt) -> None:
    store(prepare(trt))
    give(trt, a=1.02e-3)
    result = compare(trt, "--benchmark-compare-fail=median:5%")
    assert result.ret == 0
    out = result.stdout.str() + result.stderr.str()
    assert "(NOW)" in out and "(0001_" in out
    assert "machine_info is different" not in out and "unreliable" not in out


def test_a_slow_down_fails(trt: Trt) -> None:
    store(prepare(trt))
    give(trt, b=2.2e-3)
    result = compare_apart(trt, "--benchmark-compare-fail=median:5%")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stderr.fnmatch_lines(
        ["*Performance has regressed*", "*test_b *PercentageRegressionCheck: 10.0* > 5.0*"]
    )
    assert "test_a" not in result.stderr.str()


def test_runs_that_were_stored_before_us_are_compared(trt: Trt) -> None:
    store(prepare(trt))
    (path,) = stored(trt)
    data = json.loads(path.read_text(encoding="utf-8"))
    del data["machine_info"]["trt"]
    for bench in data["benchmarks"]:
        del bench["extra_info"]["trt"]
    path.write_text(json.dumps(data), encoding="utf-8")
    give(trt, b=2.2e-3)
    result = compare_apart(trt, "--benchmark-compare-fail=median:5%")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "Performance has regressed" in result.stderr.str()


def test_the_history_command_reads_what_is_stored(trt: Trt, capsys: pytest.CaptureFixture[str]) -> None:
    give(prepare(trt), wrong={"b": COLD})
    store(trt)
    (path,) = stored(trt)
    data = json.loads(path.read_text(encoding="utf-8"))
    for number in range(2, 31):
        data["datetime"] = f"2030-01-{number:02}T00:00:00+00:00"
        data["benchmarks"][0]["stats"]["median"] = 1e-3 * (1 + number % 3 / 300) * (1.1 if number > 20 else 1)
        path.with_name(f"{number:04}_more.json").write_text(json.dumps(data), encoding="utf-8")
    parser = argparse.ArgumentParser()
    history.add_arguments(parser)
    assert history.run(parser.parse_args([str(trt.pytester.path / ".benchmarks"), "--fail"])) == 1
    out = capsys.readouterr().out
    assert f"[1] {data['machine_info']['trt']['id']}" in out
    assert "+10.0 % at 2030-01-21 00:00, 0123456789..0123456789, noticed 6 runs on" in out
    assert next(line for line in out.splitlines() if line.startswith("test_speed.py::test_b ")).split()[
        2:4
    ] == ["30", "0/30"]
