"""What NVML, `nvidia-smi` and `tegrastats` tell of a GPU is read as it stands, and what spoils a measurement is known.

Claim: utilisation, clocks, power and throttling come from `nvidia-smi`, on Jetson from `tegrastats`; a measurement during which
the driver lowered the clocks is unreliable (NVML API Reference, "NvmlClocksEventReasons"; Jetson Linux Developer Guide,
"tegrastats Utility"). Lines written down from their documented formats are read anywhere, the real `nvidia-smi` where it is.
"""

from __future__ import annotations

import shutil

import pytest

from pytest_trt.report.sections import attach

from ._named import demand
from ._telemetry import check_here, check_parsers
from ._watched import check_places, check_running, check_watch


@pytest.mark.faq(4)
def test_telemetry_is_read_as_it_stands(trt_runtime, request):
    """Both spellings of the query, with and without units, `[N/A]`; `dmon`; JetPack 4 to 7; each throttle bit. Needs no GPU."""
    demand(check_parsers(), request)


@pytest.mark.faq(4)
def test_a_watch_tells_steady_clocks_from_spoiled_ones(trt_runtime, request):
    """A sampler beside a measurement calls it unreliable when a throttle bit was set or the SM clock moved by more than 5 %.

    NVML is played from a script, so that clocks, refusals and a lost GPU come when they are wanted; needs no GPU.
    """
    demand(check_watch(), request)


@pytest.mark.faq(4)
def test_the_gpu_that_is_watched_is_the_one_that_executes(trt_runtime, request):
    """CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER are those of CUDA (CUDA C++ Programming Guide). Needs no GPU."""
    demand(check_places(), request)


@pytest.mark.faq(4)
def test_the_gpu_of_this_machine_is_watched(trt_runtime, request):
    """Clocks, power and temperature come while a network runs again and again; only a real GPU can show it."""
    if trt_runtime.device == "cpu":
        pytest.skip("not applicable: the emulator computes on the CPU; --trt-device=cuda:0 computes on a GPU")
    seen, rows = check_running(trt_runtime)
    attach(request.node, seen.section("GPU telemetry of a small network that runs again and again"))
    demand(rows, request)


@pytest.mark.faq(4)
def test_nvidia_smi_of_this_machine_is_read(trt_runtime, request):
    """The query of the FAQ, put to the real `nvidia-smi`."""
    if shutil.which("nvidia-smi") is None:
        pytest.skip("no nvidia-smi on this machine; run on a machine with an NVIDIA driver")
    demand(check_here(), request)
