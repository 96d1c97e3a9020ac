"""The fixture `trt_telemetry`: what it gives without a GPU and with one, and what it attaches."""

from __future__ import annotations

from tests.plugin.conftest import ROOT, Trt

# A session whose executor has a GPU as far as the fixture can tell, with NVML played.
PLAYED = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from dataclasses import replace
import pytest
from suites._watched import Moment, PlayedNvml
import pytest_trt.bench.timer as timer

NVML = PlayedNvml([Moment(), Moment(reasons=0x4)])
real = timer.watch

@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    def watch(ordinal, interval_seconds, pci_bus_id):
        assert (ordinal, pci_bus_id) == (0, "0000:3b:00.0")
        return real(ordinal, interval_seconds, pci_bus_id=pci_bus_id, nvml=NVML)
    monkeypatch.setattr(timer, "watch", watch)

def pytest_trt_update_discovery(config, discovery):
    memory = discovery.executor.memory
    memory.pci_bus_id = "0000:3b:00.0"
    object.__setattr__(discovery.executor, "device", "cuda:0")
"""


def run(trt: Trt, body: str, *options: str):
    trt.tests(body)
    return trt.run("-p", "pytest_trt.telemetry", "--trt-runtime=emulator", *options)


def test_without_a_gpu_it_is_empty_and_says_why(bare_trt: Trt) -> None:
    body = """
def test_it(trt_telemetry):
    with trt_telemetry() as watch:
        inside = watch.take()
    found = watch.take()
    assert found == inside and not found.samples and found.sm_mhz is None and not found.unreliable
    assert "--trt-device=cuda:0" in found.why
"""
    result = run(bare_trt, body)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*GPU telemetry*")


def test_it_is_empty_with_the_runtime_off(bare_trt: Trt) -> None:
    body = """
def test_it(trt_telemetry):
    with trt_telemetry() as watch:
        pass
    assert watch.take().why
"""
    bare_trt.tests(body)
    bare_trt.run("-p", "pytest_trt.telemetry", "--trt-runtime=off").assert_outcomes(passed=1)


def test_it_can_be_used_under_given(bare_trt: Trt) -> None:
    body = """
from hypothesis import given, settings, strategies as st

@settings(max_examples=3, database=None)
@given(st.integers())
def test_it(trt_telemetry, number):
    with trt_telemetry(interval_seconds=0.01) as watch:
        pass
    assert watch.take().why
"""
    run(bare_trt, body).assert_outcomes(passed=1)


def test_what_is_seen_is_attached_also_to_a_test_that_fails(bare_trt: Trt) -> None:
    body = """
from conftest import NVML

def test_it(trt_telemetry):
    with trt_telemetry(interval_seconds=0.001, title="Clocks of a run") as watch:
        NVML.played.wait(30)
        assert not watch.take().unreliable, watch.take().unreliable
"""
    bare_trt.pytester.makeconftest(PLAYED)
    result = run(bare_trt, body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*sw power cap*"])
    result.stdout.fnmatch_lines(["*Clocks of a run*", "*NVIDIA H200, by nvml*"])
