"""Inner sessions with benchmarks whose times are given, without any timing: `FAKE_TIMES` has seconds and reasons by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import pytest_benchmark.plugin  # noqa: F401  an inner session forgets what it imported first

import pytest_trt.benchmarking  # noqa: F401
from tests.plugin.conftest import FAKES, Trt

PLUGIN = ("-p", "pytest_benchmark.plugin")
CONFTEST = """

import pytest

import pytest_trt.benchmarking


def pytest_configure(config):
    pytest_trt.benchmarking.register(config)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info():
    return {"cpu": {"brand_raw": "A Processor"}, "system": "Linux"}


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_commit_info(config):
    return {"id": "0123456789abcdef", "dirty": False}
"""
TESTS = """
    import json
    import os
    import pytest

    step = now = 0.0

    def clock():
        global now
        now += step
        return now

    pytestmark = [pytest.mark.bench, pytest.mark.benchmark(timer=clock)]

    def measure(benchmark, name):
        global step, now
        now, (step, reasons) = 0.0, json.loads(os.environ["FAKE_TIMES"])[name]
        benchmark.pedantic(lambda: None, rounds=5)
        plain = {"reliable": not reasons, "reasons": reasons, "variation": 0.01}
        benchmark.extra_info["trt"] = plain

    def test_a(benchmark, trt_settings): measure(benchmark, "a")
    def test_b(benchmark, trt_settings): measure(benchmark, "b")
"""
PLAIN = """
    def test_plain(benchmark): benchmark.pedantic(lambda: None, rounds=2)
"""
COLD = ("the SM clock moved by 30 %",)


def prepare(trt: Trt, **files: str) -> Trt:
    """Write the conftest and the benchmarks into a folder."""
    trt.pytester.makeconftest(FAKES.read_text(encoding="utf-8") + CONFTEST)
    trt.pytester.makepyfile(test_speed=TESTS, **files)
    give(trt)
    return trt


def give(trt: Trt, a: float = 1e-3, b: float = 2e-3, wrong: dict[str, tuple[str, ...]] | None = None) -> None:
    """Say what the benchmarks take from now on, and which are unreliable, why."""
    wrong = wrong or {}
    times = {"a": (a, list(wrong.get("a", ()))), "b": (b, list(wrong.get("b", ())))}
    trt.monkeypatch.setenv("FAKE_TIMES", json.dumps(times))


def store(trt: Trt, *args: str) -> None:
    """Run the benchmarks and have them stored."""
    result = trt.run(*PLUGIN, "test_speed.py", "--benchmark-autosave", *args)
    assert result.ret == 0, result.stdout.str()


def stored(trt: Trt) -> list[Path]:
    """Return the stored runs, the oldest first."""
    return sorted(trt.pytester.path.glob(".benchmarks/*/*.json"))


def change(path: Path, amend: Any) -> None:
    """Amend the data of a stored run."""
    data = json.loads(path.read_text(encoding="utf-8"))
    amend(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def compare(trt: Trt, *args: str) -> pytest.RunResult:
    """Run the benchmarks against the latest stored run."""
    return trt.run(*PLUGIN, "test_speed.py", "--benchmark-compare", *args)


def compare_apart(trt: Trt, *args: str) -> pytest.RunResult:
    """Do it in a process of its own, whose exit status is the real one also where pytest-benchmark raises at the end."""
    return trt.run_apart(*PLUGIN, "-p", "trt", "test_speed.py", "--benchmark-compare", *args)


def elsewhere(data: Any) -> None:
    """Make a stored run one of another machine."""
    info = data["machine_info"]["trt"]
    info["cpu"], info["id"] = "Another Processor", info["id"].replace("A Processor", "Another Processor")
