"""Who tells of a GPU while it works: NVML, nvidia-smi in both spellings, dmon, tegrastats, and what each does when it ends."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_trt import hardware
from pytest_trt.hardware import sources, telemetry
from pytest_trt.hardware.probe import DetectedGpu
from pytest_trt.hardware.sources import (
    LineSource,
    is_same_place,
    open_nvml,
    open_smi,
    open_tegrastats,
    short_bus_id,
)
from pytest_trt.hardware.telemetry import Telemetry, watch
from suites._watched import IS_LOST, NOT_SUPPORTED, Moment, NvmlError, PlayedNvml

SECONDS = 30.0
GPU = DetectedGpu(0, "NVIDIA H200", 90, None, "580", "GPU-aaaa", "00000000:3B:00.0")
HEAD = (
    "timestamp, utilization.gpu [%], clocks.current.sm [MHz], clocks.current.memory [MHz], power.draw [W], "
    "temperature.gpu, clocks_event_reasons.active"
)
LINE = "2026/11/23 03:23:40.{:03d}, 97 %, 1980 MHz, 3201 MHz, 400.00 W, 60, 0x0000000000000000"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One H200, that neither NVML nor another tool tells of until a test says so."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(telemetry, "_everything", lambda: (GPU,))
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    yield


def put(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program on PATH, written in Python, which starts as the tool does."""
    program = folder / name
    program.write_text(
        f"#!{sys.executable}\nimport sys, threading\nsay = lambda t: print(t, flush=True)\n{script}\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


WAIT = "threading.Event().wait()"


def seen(count: int, interval_seconds: float = 0.05) -> Telemetry:
    """Return what a watch sees that lasts until it has `count` samples, or why it ended."""
    with watch(0, interval_seconds) as watched:
        enough = threading.Event()
        for _ in range(int(SECONDS / 0.01)):
            found = watched.take()
            if len(found.samples) >= count or found.why:
                break
            enough.wait(0.01)
    return watched.take()


def test_nvidia_smi_is_asked_with_the_query_of_the_faq(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "\n".join(f"say({LINE.format(number)!r})" for number in (100, 200, 300))
    log = tmp_path / "asked"
    put(
        tmp_path,
        "nvidia-smi",
        f"open({str(log)!r}, 'a').write(' '.join(sys.argv[1:]) + chr(10))\nsay({HEAD!r})\n{lines}\n{WAIT}",
        monkeypatch,
    )
    found = seen(3)
    assert (found.source, found.title, found.why) == ("nvidia-smi", "NVIDIA H200", "")
    assert [sample.sm_mhz for sample in found.samples] == [1980.0] * 3 and found.unreliable == ()
    first, _, third = (sample.seconds for sample in found.samples)
    assert third - first == pytest.approx(0.2)  # by the clock of nvidia-smi: lines may come together
    assert log.read_text() == (
        "--query-gpu=timestamp,utilization.gpu,clocks.sm,clocks.mem,power.draw,temperature.gpu,"
        "clocks_throttle_reasons.active --format=csv -lms 100 --id=GPU-aaaa\n"
    )


def test_the_newer_spelling_is_asked_where_the_older_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(
        tmp_path,
        "nvidia-smi",
        "if 'throttle' in sys.argv[1]:\n"
        "    say('Field \"clocks_throttle_reasons.active\" is not a valid field to query.')\n    sys.exit(2)\n"
        f"say({HEAD!r})\nsay({LINE.format(1)!r})\n{WAIT}",
        monkeypatch,
    )
    found = seen(1)
    assert found.source == "nvidia-smi" and found.samples[0].reasons == 0 and found.why == ""


def test_dmon_is_asked_where_no_query_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(
        tmp_path,
        "nvidia-smi",
        "if sys.argv[1] != 'dmon':\n    say('not a valid field'); sys.exit(2)\n"
        "assert sys.argv[2:] == ['-s', 'pcu', '-i', 'GPU-aaaa']\n"
        "say('# gpu   pwr gtemp  mclk  pclk\\n# Idx     W     C   MHz   MHz\\n    0    69     -  5000  1590')\n"
        + WAIT,
        monkeypatch,
    )
    (sample,) = seen(1).samples
    assert (sample.power_watts, sample.temperature_celsius, sample.sm_mhz) == (69.0, None, 1590.0)


def test_a_tool_that_ends_or_talks_nonsense_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "nvidia-smi", "say('No devices were found'); sys.exit(6)", monkeypatch)
    found = seen(1)
    assert not found.samples and "nvidia-smi gave no sample: No devices were found" in found.why
    assert found.unreliable == ()
    put(tmp_path, "nvidia-smi", f"say({HEAD!r})\nsay({LINE.format(1)!r})", monkeypatch)
    found = seen(2)
    assert len(found.samples) == 1 and "nvidia-smi ended before the watch did" in found.why
    assert found.why in found.unreliable
    put(
        tmp_path, "nvidia-smi", f"say({HEAD!r})\nsay({LINE.format(1)!r})\nsay('noon, 1')\n{WAIT}", monkeypatch
    )
    found = seen(2)
    assert len(found.samples) == 1 and "nvidia-smi printed what cannot be read: line 2" in found.why
    (tmp_path / "nvidia-smi").write_text("no program")
    assert "nvidia-smi cannot be started" in seen(1).why


def test_a_watch_that_ends_before_the_first_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "nvidia-smi", WAIT, monkeypatch)
    with watch(0) as watched:
        pass
    assert watched.take().samples == () and "gave no sample: the watch ended" in watched.take().why


def test_tegrastats_is_asked_on_a_jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "RAM 1/2MB GR3D_FREQ 98%@[1300,0] EMC_FREQ 0%@2133 tj@49.25C gpu@45.5C VDD_GPU_SOC 3205mW/2405mW VDD_IN 1mW/2mW"
    put(
        tmp_path,
        "tegrastats",
        f"assert sys.argv[1:] == ['--interval', '200']\nsay({line!r})\nsay('')\n{WAIT}",
        monkeypatch,
    )
    found = seen(1, 0.2)
    (sample,) = found.samples
    assert found.source == "tegrastats" and sample.reasons is None
    assert (sample.utilization_percent, sample.sm_mhz, sample.memory_mhz) == (98.0, 1300.0, 2133.0)
    assert (sample.power_watts, sample.temperature_celsius) == (3.205, 45.5)


def test_on_a_jetson_tegrastats_is_asked_though_the_others_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There NVML and nvidia-smi know the GPU, and tell nothing of it."""
    line = "RAM 1/2MB GR3D_FREQ 98%@[1300,0] tj@49.25C"
    put(tmp_path, "nvidia-smi", WAIT, monkeypatch)
    put(tmp_path, "tegrastats", f"say({line!r})\n{WAIT}", monkeypatch)
    silent = Moment(*[NvmlError(NOT_SUPPORTED)] * 6)
    monkeypatch.setitem(sys.modules, "pynvml", PlayedNvml([silent]))
    orin = DetectedGpu(0, "Orin (nvgpu)", 87, hardware.get("orin"), "540", "GPU-aaaa")
    monkeypatch.setattr(telemetry, "_everything", lambda: (orin,))
    found = seen(1)
    assert found.source == "tegrastats" and found.samples[0].sm_mhz == 1300.0
    (tmp_path / "tegrastats").unlink()
    assert seen(1).source == "nvml"


def test_without_any_of_them_it_is_said_how_to_get_one() -> None:
    found = seen(1)
    assert (found.source, found.samples) == ("", ()) and "pip install nvidia-ml-py" in found.why
    assert open_smi(GPU, 0.1) is None and open_tegrastats(0.1) is None and open_nvml(GPU, 0.1) is None


def test_a_machine_without_that_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with watch(3) as watched:
        assert "there is no cuda:3: 1 GPUs are visible" in watched.take().why
    monkeypatch.setattr(telemetry, "_everything", lambda: ())
    assert "no GPU is visible" in seen(1).why


def test_a_mig_slice_is_looked_for_on_an_only_gpu_alone() -> None:
    """Its UUID does not say which GPU it is a part of."""
    another = DetectedGpu(1, "NVIDIA H200", 90, None, "580", "GPU-bbbb", "00000000:5D:00.0")
    shown = {"CUDA_VISIBLE_DEVICES": "MIG-1234"}
    assert telemetry.choose(0, (GPU,), environ=shown) == GPU
    told = telemetry.choose(0, (GPU, another), environ=shown)
    assert isinstance(told, str) and "MIG slice" in told
    assert telemetry.choose(0, (GPU, another), pci_bus_id="0000:5d:00.0", environ=shown) == another
    shown = {"CUDA_VISIBLE_DEVICES": "GPU-bbbb,MIG-1234"}
    found = telemetry.choose(0, (GPU, another), environ=shown)
    assert isinstance(found, DetectedGpu) and found.uuid == another.uuid


def test_nvml_finds_the_gpu_by_uuid_or_by_its_place() -> None:
    nvml = PlayedNvml([Moment()])
    assert open_nvml(GPU, 0.1, nvml) is not None
    by_place = DetectedGpu(0, "NVIDIA H200", 90, None, "580", "", "0000:3b:00.0")
    assert open_nvml(by_place, 0.1, nvml) is not None
    elsewhere = DetectedGpu(0, "NVIDIA H200", 90, None, "580", "GPU-zzzz", "0000:99:00.0")
    assert open_nvml(elsewhere, 0.1, nvml) is None


def test_places_on_the_bus_are_compared_as_numbers() -> None:
    assert short_bus_id("00000000:3B:00.0") == short_bus_id("0000:3b:00.0") == (0, 0x3B, 0, 0)
    assert short_bus_id("3b:00.1") == (0, 0x3B, 0, 1) and short_bus_id("[N/A]") == ()


def test_what_is_no_place_is_the_same_as_none() -> None:
    assert is_same_place("00000000:3B:00.0", "0000:3b:00.0") and not is_same_place(
        "0000:3b:00.0", "0000:3c:00.0"
    )
    assert not is_same_place("[N/A]", "[N/A]") and not is_same_place("", "")


def test_a_closed_source_starts_nothing() -> None:
    source = LineSource("nothing", [["/nowhere/program"]], lambda: lambda line, seconds: None)
    source.close()
    stop = threading.Event()
    stop.set()
    with pytest.raises(sources.Ended, match="the watch ended before"):
        list(source.samples(stop, 0.0))


def test_a_watch_may_be_closed_twice_and_leaves_no_thread() -> None:
    before = threading.active_count()
    nvml = PlayedNvml([Moment()] * 3)
    with watch(0, 0.001, nvml=nvml) as watched:
        nvml.played.wait(SECONDS)
        assert watched.take().samples
    watched.close()
    assert threading.active_count() == before
    assert watched.take() == watched.take()


def test_a_source_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    class Stuck:
        name = "stuck"

        def samples(self, stop: threading.Event, started: float) -> Iterator[telemetry.GpuSample]:
            release.wait(SECONDS)
            return iter(())

        def close(self) -> None: ...

    monkeypatch.setattr(telemetry, "JOIN_SECONDS", 0.01)
    watched = telemetry.Watch(Stuck(), "a GPU")
    watched.close()
    assert watched.take().why == "stuck did not answer in 0.01 s"
    release.set()


def test_a_source_with_a_fault_of_its_own_does_not_end_without_a_word() -> None:
    class Faulty:
        name = "faulty"

        def samples(self, stop: threading.Event, started: float) -> Iterator[telemetry.GpuSample]:
            yield telemetry.GpuSample(0.25)
            raise ZeroDivisionError("by zero")

        def close(self) -> None: ...

    watched = telemetry.Watch(Faulty(), "a GPU")
    watched.close()
    found = watched.take()
    assert found.why == "the samples end after 0.25 s: ZeroDivisionError: by zero"
    assert len(found.samples) == 1 and found.why in found.unreliable


def test_a_line_without_a_value_holds_no_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = f"say({HEAD!r})\nsay(' , , ')\nsay({LINE.format(1)!r})\n{WAIT}"
    put(tmp_path, "nvidia-smi", lines, monkeypatch)
    found = seen(1)
    assert len(found.samples) == 1 and found.why == ""


def test_a_program_that_does_not_go_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "STOP_SECONDS", 0.2)
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsay({HEAD!r})\nsay({LINE.format(1)!r})"
    put(tmp_path, "nvidia-smi", f"{deaf}\nwhile True: say({LINE.format(2)!r})", monkeypatch)
    found = seen(2)
    assert len(found.samples) >= 2 and found.why == ""


def test_nvml_with_one_trouble_tells_the_rest() -> None:
    nvml = PlayedNvml([Moment(milliwatts=NvmlError(NOT_SUPPORTED)), Moment(sm=NvmlError(IS_LOST))])
    with watch(0, 0.001, nvml=nvml) as watched:
        nvml.played.wait(SECONDS)
    found = watched.take()
    assert found.samples[0].power_watts is None and found.samples[0].sm_mhz == 1980.0
    assert len(found.samples) == 1 and "NVML lost the GPU: GPU is lost" in found.why


def test_an_older_driver_under_a_newer_pynvml_is_asked_by_the_older_name() -> None:
    nvml = PlayedNvml([Moment(reasons=0x8)], "Throttle")

    def refuse(handle: object) -> int:
        raise NvmlError(13)  # function not found

    nvml.nvmlDeviceGetCurrentClocksEventReasons = refuse  # type: ignore[attr-defined]
    with watch(0, 0.001, nvml=nvml) as watched:
        nvml.played.wait(SECONDS)
    assert watched.take().reasons == 0x8


def test_everything_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.undo()
    monkeypatch.setattr(telemetry, "find_all", lambda: asked.append(1) or (GPU,))
    telemetry._everything.cache_clear()
    try:
        assert telemetry._everything() == telemetry._everything() == (GPU,) and len(asked) == 1
    finally:
        telemetry._everything.cache_clear()
