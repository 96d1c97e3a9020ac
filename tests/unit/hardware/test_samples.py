"""What samples say: spans, reasons, reliability, the section of a report."""

from __future__ import annotations

import json
import math
import pickle

from pytest_trt.hardware.samples import GpuSample, Span, Telemetry
from pytest_trt.report.sections import make_section

SEEN = Telemetry(
    "nvml",
    "NVIDIA H200",
    (
        GpuSample(0.0, 0.0, 345.0, 3201.0, 98.5, 34.0, 0x1),
        GpuSample(0.1, 100.0, 1980.0, 3201.0, 400.0, 40.0, 0x0),
        GpuSample(0.2, 100.0, 1780.0, 3201.0, None, 50.0, 0x4),
    ),
)


def test_spans_leave_out_what_is_not_told():
    assert SEEN.sm_mhz == Span(345.0, 1780.0, 1980.0)
    assert SEEN.power_watts == Span(98.5, 249.25, 400.0)
    assert SEEN.memory_mhz.moved == 0.0 and Span(0.0, 0.0, 0.0).moved == 0.0
    assert Telemetry().sm_mhz is None and Telemetry().reasons == 0


def test_reliability_looks_at_reasons_and_at_clocks_under_work():
    assert SEEN.reasons == 0x5
    assert SEEN.unreliable == (
        "the driver lowered the clocks: sw power cap",
        "the SM clock moved by 10 % while the GPU worked (1980 to 1780 MHz)",
    )
    assert Telemetry("nvml", "H200", SEEN.samples[:2]).unreliable == ()
    assert Telemetry("", "", (), "no GPU is visible").unreliable == ()
    ended = Telemetry("nvml", "H200", SEEN.samples[:1], "the samples end")
    assert ended.unreliable == ("the samples end",)
    assert Telemetry("nvidia-smi", "H200", (), "the watch ended before its first one").unreliable == ()


def test_clocks_may_move_by_as_much_as_is_allowed():
    def of(*clocks):
        return Telemetry("nvml", "", tuple(GpuSample(0.0, 50.0, clock) for clock in clocks)).unreliable

    assert of(1000.0, 950.0) == () and len(of(1000.0, 949.0)) == 1


def test_a_gpu_works_unless_it_is_told_that_it_does_not():
    assert GpuSample(0.0).is_working and GpuSample(0.0, 5.0, reasons=0x4).is_working
    assert not GpuSample(0.0, 0.0).is_working and not GpuSample(0.0, 5.0, reasons=0x1).is_working


def test_plain_form_is_json():
    plain = json.loads(json.dumps(SEEN.to_plain()))
    assert plain["sm_mhz"] == [345.0, 1780.0, 1980.0] and plain["samples"] == 3
    assert plain["reasons"] == ["gpu idle", "sw power cap"] and len(plain["unreliable"]) == 2
    assert Telemetry(why="no GPU").to_plain()["power_watts"] is None
    assert pickle.loads(pickle.dumps(SEEN)) == SEEN


def test_section_has_a_table_and_a_plot():
    section = make_section(SEEN.section("clocks"))
    assert section["title"] == "clocks" and "NVIDIA H200, by nvml: 3 samples" in section["text"]
    assert any("sw power cap" in line for line in section["text"])
    assert [row[0] for row in section["rows"]] == [
        "SM clock (MHz)",
        "memory clock (MHz)",
        "power (W)",
        "temperature (°C)",
        "utilisation (%)",
    ]
    plot = section["plot"]
    assert plot["x"] == [0.0, 0.1, 0.2] and plot["series"]["throttled"] == [0.0, 0.0, 100.0]
    assert plot["series"]["SM clock"][1] == 100.0 and math.isnan(float(plot["series"]["power"][2]))


def test_section_without_samples_says_why():
    section = make_section(Telemetry(why="no GPU is visible").section())
    assert section["text"] == ["nothing was watched: no GPU is visible"] and section["plot"] is None
    idle = make_section(Telemetry("tegrastats", "Orin", (GpuSample(0.0),)).section())
    assert idle["plot"] is None and not idle["rows"]
