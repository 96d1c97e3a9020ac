"""A real GPU watched while it works; run by path on a machine with an NVIDIA GPU: `pytest tests/gpu/test_telemetry.py`."""

from __future__ import annotations

import threading

import pytest

from pytest_trt import hardware
from pytest_trt.errors import TrtError
from pytest_trt.hardware import sources, telemetry
from pytest_trt.hardware.telemetry import watch
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from suites._classes import check_device, read_device
from suites._telemetry import check_here
from suites._watched import check_running

SECONDS = 20.0
pytestmark = pytest.mark.skipif(
    not hardware.detect(), reason="no NVIDIA GPU here; run on a machine with one, and its driver"
)


@pytest.fixture(scope="module")
def rt():
    try:
        found = discover(Settings(runtime="emulator", device="cuda:0"))
    except TrtError as error:
        pytest.skip(
            f"the emulator does not compute on this GPU: {error.what}; see python -m pytest_trt doctor"
        )
    yield found.executor
    found.close()


def sample(count):
    """Return what a watch sees until it has `count` samples."""
    with watch(0, 0.02) as watched:
        for _ in range(int(SECONDS / 0.05)):
            if len(watched.take().samples) >= count or watched.take().why:
                break
            threading.Event().wait(0.05)
    return watched.take()


def test_nvml_tells_clocks_power_and_temperature():
    pytest.importorskip("pynvml", reason="pip install nvidia-ml-py")
    found = sample(5)
    assert found.source == "nvml" and len(found.samples) >= 5 and not found.why, found
    assert found.sm_mhz is not None and 50 < found.sm_mhz.high < 10_000
    assert found.temperature_celsius is not None and 0 < found.temperature_celsius.high < 120
    assert found.power_watts is not None and 1 < found.power_watts.high < 2_000
    assert all(one.reasons is not None for one in found.samples)


def test_nvidia_smi_tells_the_same(monkeypatch):
    monkeypatch.setattr(telemetry, "open_nvml", lambda *args: None)
    if sources.shutil.which("nvidia-smi") is None:
        pytest.skip("no nvidia-smi on PATH")
    found = sample(3)
    assert found.source == "nvidia-smi" and len(found.samples) >= 3 and not found.why, found
    assert found.sm_mhz is not None and found.power_watts is not None
    wrong = [note for _, note in check_here() if note]
    assert not wrong, wrong


def test_the_gpu_is_seen_while_a_network_runs(rt):
    seen, rows = check_running(rt)
    assert rows[0][1] is None, rows
    assert seen.title == hardware.detect()[0].title


def test_the_gpu_is_what_its_class_says(rt):
    assert rt.gpu == hardware.detect()[0].gpu_class
    for _, wrong in check_device(read_device(rt), rt.gpu):
        assert wrong is None, wrong


def test_nvml_and_cuda_mean_the_same_gpu(rt):
    import pycuda.driver as cuda

    with rt.active():
        bus = cuda.Device(0).pci_bus_id()
    assert sources.short_bus_id(bus) == sources.short_bus_id(hardware.detect()[0].pci_bus_id)
