"""What `nvidia-smi` and `tegrastats` tell of a GPU is read as it stands, and reasons that spoil a measurement are known.

Claim: utilisation, clocks, power and throttling come from `nvidia-smi`, on Jetson from `tegrastats`; a measurement during which
the driver lowered the clocks is unreliable (NVML API Reference, "NvmlClocksEventReasons"; Jetson Linux Developer Guide,
"tegrastats Utility"). Lines written down from their documented formats are read anywhere, the real `nvidia-smi` where it is.
"""

from __future__ import annotations

import shutil

import pytest

from ._named import demand
from ._telemetry import check_here, check_parsers


@pytest.mark.faq(4)
def test_telemetry_is_read_as_it_stands(trt_runtime, request):
    """Both spellings of the query, with and without units, `[N/A]`; JetPack 4 to 6; each throttle bit. Needs no GPU."""
    demand(check_parsers(), request)


@pytest.mark.faq(4)
def test_nvidia_smi_of_this_machine_is_read(trt_runtime, request):
    """The query of the FAQ, put to the real `nvidia-smi`."""
    if shutil.which("nvidia-smi") is None:
        pytest.skip("no nvidia-smi on this machine; run on a machine with an NVIDIA driver")
    demand(check_here(), request)
