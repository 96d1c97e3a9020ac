"""The reader of `nvidia-smi dmon`: drivers, refusals, any text; and which GPU CUDA means by an ordinal."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_trt.errors import InputError
from pytest_trt.hardware.dmon import read_dmon, read_dmon_names
from pytest_trt.hardware.probe import DetectedGpu
from pytest_trt.hardware.samples import GpuSample
from pytest_trt.hardware.telemetry import choose
from suites._telemetry import DMON, DMON_NONSENSE
from suites._watched import PLACES

PIECES = st.sampled_from(
    ["# gpu pwr sm\n", "# Idx W %\n", "0 1 2\n", "0 - -\n", "#", "gpu ", "1 ", "-", "nan\n", "\n", "\r"]
)


@pytest.mark.parametrize("name", DMON)
def test_each_driver_is_read(name: str) -> None:
    text, want = DMON[name]
    assert read_dmon(text) == want


def test_samples_are_an_interval_apart() -> None:
    found = read_dmon("# gpu pwr\n# Idx W\n0 1\n1 2\n0 3\n", 2.0)
    assert found == {
        0: (GpuSample(0.0, power_watts=1.0), GpuSample(2.0, power_watts=3.0)),
        1: (GpuSample(0.0, power_watts=2.0),),
    }
    assert read_dmon("") == {} and read_dmon_names("# Idx W\n") == ()


@pytest.mark.parametrize("name", DMON_NONSENSE)
def test_refusals_say_what_is_good(name: str) -> None:
    with pytest.raises(InputError, match="nvidia-smi dmon") as caught:
        read_dmon(DMON_NONSENSE[name])
    assert caught.value.mend == "nvidia-smi dmon -s pcu"


@given(st.one_of(st.text(), st.lists(PIECES).map("".join)))
@example("# gpu pwr\n\N{SUPERSCRIPT TWO} 1\n")
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = read_dmon(text)
    except InputError as error:
        assert str(error)
    else:
        assert all(isinstance(index, int) for index in found)


@pytest.mark.parametrize(("gpus", "ordinal", "bus", "environ", "want"), PLACES)
def test_the_gpu_of_an_ordinal(gpus, ordinal, bus, environ, want) -> None:
    found = choose(ordinal, gpus, pci_bus_id=bus, environ=environ)
    assert want == (found.uuid if isinstance(found, DetectedGpu) else None)


def test_why_a_gpu_is_not_known_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    gpus, *_ = next(row for row in PLACES if len({gpu.title for gpu in row[0]}) == 2)
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in str(choose(1, gpus))
    assert "no GPU at 0000:99:00.0" in str(choose(0, gpus, pci_bus_id="0000:99:00.0"))
    assert "there is no cuda:-1" in str(choose(-1, gpus))
    assert "no GPU is visible" in str(choose(0, ()))
