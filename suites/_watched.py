"""A GPU watched through an NVML that is played from a script: what a watch says of steady, throttled, silent and lost GPUs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from pytest_trt.hardware.probe import DetectedGpu
from pytest_trt.hardware.telemetry import Telemetry, Watch, choose, watch
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.session import Session

from ._named import Checked
from ._plans import FEED, build

STEADY = "watch-steady"
SAMPLED = "watch-samples"
THROTTLED = "watch-throttled"
MOVED = "watch-clock-moved"
RAMP = "watch-idle-clocks"
SILENT = "watch-not-told"
LOST = "watch-gpu-lost"
NOTHING = "watch-nothing"
PLACED = "watch-right-gpu"

SECONDS = 30.0  # a script that is not read to its end by then is a failure
NOT_SUPPORTED, IS_LOST = 3, 15


class NvmlError(Exception):
    """As NVML's own: with the number of the error."""

    def __init__(self, value: int) -> None:
        super().__init__({NOT_SUPPORTED: "Not Supported", IS_LOST: "GPU is lost"}.get(value, "Unknown"))
        self.value = value


@dataclass(frozen=True)
class Moment:
    """What NVML tells at one sample: a value, or the error that it raises."""

    sm: Any = 1980
    memory: Any = 3201
    milliwatts: Any = 400_000
    celsius: Any = 60
    load: Any = 100
    reasons: Any = 0


class PlayedNvml:
    """`pynvml` with one H200 that does what a script says; its last moment stays.

    Parameters
    ----------
    script : sequence of Moment
    reasons : str
        How the driver spells the throttle reasons.
    """

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self, script: Sequence[Moment], reasons: str = "Event") -> None:
        self._script, self._at = list(script), -1
        self.played = threading.Event()
        setattr(self, f"nvmlDeviceGetCurrentClocks{reasons}Reasons", lambda handle: self._tell("reasons"))

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.65"

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetCudaComputeCapability(self, handle: int) -> tuple[int, int]:
        return 9, 0

    def nvmlDeviceGetName(self, handle: int) -> str:
        return "NVIDIA H200"

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return "GPU-aaaa"

    def nvmlDeviceGetPciInfo(self, handle: int) -> Any:
        return SimpleNamespace(busId="00000000:3B:00.0")

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        self._at += 1  # the first that a sample asks for
        if self._at >= len(self._script):
            self.played.set()
        return SimpleNamespace(gpu=self._tell("load"))

    def nvmlDeviceGetPowerUsage(self, handle: int) -> Any:
        return self._tell("milliwatts")

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> Any:
        return self._tell("sm" if kind == self.NVML_CLOCK_SM else "memory")

    def nvmlDeviceGetTemperature(self, handle: int, kind: int) -> Any:
        return self._tell("celsius")

    def _tell(self, name: str) -> Any:
        value = getattr(self._script[min(self._at, len(self._script) - 1)], name)
        if isinstance(value, NvmlError):
            if value.value == IS_LOST:
                self.played.set()
            raise value
        return value


RUNNING = "watch-running"
RUNS, ROUNDS = 200, 10
Watcher = Callable[..., AbstractContextManager[Watch]]


def see(script: Sequence[Moment], watcher: Watcher = watch, reasons: str = "Event") -> Telemetry:
    """Return what a watch sees of a script, played to its end."""
    nvml = PlayedNvml(script, reasons)
    with watcher(0, 0.001, nvml=nvml) as watched:
        nvml.played.wait(SECONDS)
    return watched.take()


BUSY, NO = Moment(), NvmlError(NOT_SUPPORTED)
IDLE = Moment(sm=345, load=0, reasons=0x1, milliwatts=98_000)


def check_watch(watcher: Watcher = watch) -> Iterator[Checked]:
    """Yield what is wrong with what a watch sees: of a steady GPU, one of each trouble, and none."""
    steady = see([BUSY] * 5, watcher)
    yield STEADY, f"called unreliable: {steady.unreliable}" if steady.unreliable else None
    sample = steady.samples[0] if steady.samples else None
    got = None if sample is None else (sample.sm_mhz, sample.memory_mhz, sample.power_watts)
    rest = None if sample is None else (sample.temperature_celsius, sample.utilization_percent)
    times = [each.seconds for each in steady.samples]
    wrong = (got, rest) != ((1980, 3201, 400), (60, 100)) or len(times) < 5 or times != sorted(times)
    yield SAMPLED, f"first sample {sample}, {len(times)} of 5 or more, at {times[:8]}" if wrong else None
    for spelling in ("Event", "Throttle"):
        capped = see([BUSY, Moment(reasons=0x4), BUSY], watcher, spelling)
        words = " ".join(capped.unreliable)
        yield (
            THROTTLED,
            None if "sw power cap" in words else f"a power cap told by Clocks{spelling}Reasons: {words!r}",
        )
    moved = see([BUSY, Moment(sm=1800), BUSY], watcher)
    words = " ".join(moved.unreliable)
    yield MOVED, None if "moved by 9 %" in words else f"1980 to 1800 MHz: {words!r}"
    ramp = see([IDLE, BUSY, BUSY, IDLE], watcher)
    yield RAMP, f"idle clocks before and after: {ramp.unreliable}" if ramp.unreliable else None
    silent = see([Moment(sm=NO, memory=NO, milliwatts=NO, celsius=NO, reasons=NO)] * 2, watcher)
    told = silent.sm_mhz, silent.power_watts, silent.temperature_celsius, silent.reasons
    yield (
        SILENT,
        f"told {told}, {silent.why}" if told != (None, None, None, 0) or not silent.samples else None,
    )
    lost = see([BUSY, BUSY, Moment(milliwatts=NvmlError(IS_LOST))], watcher)
    good = "GPU is lost" in lost.why and len(lost.samples) == 2 and lost.why in lost.unreliable
    yield LOST, None if good else f"{len(lost.samples)} samples, why {lost.why!r}, {lost.unreliable}"
    with watcher(None) as watched:
        inside = watched.take()
    empty = watched.take() == inside and not inside.source and inside.why and not inside.samples
    yield NOTHING, None if empty and not inside.unreliable else f"without a GPU: {inside}"


def _gpu(index: int, title: str, uuid: str, bus: str) -> DetectedGpu:
    return DetectedGpu(index, title, 80, None, "580", uuid, bus)


TWINS = (_gpu(0, "A100", "GPU-aaaa", "00000000:07:00.0"), _gpu(1, "A100", "GPU-bbbb", "00000000:0F:00.0"))
MIXED = (_gpu(0, "T4", "GPU-aaaa", "00000000:07:00.0"), _gpu(1, "A100", "GPU-bbbb", "00000000:0F:00.0"))
JETSON = (_gpu(0, "Orin (nvgpu)", "", ""),)
SHOW, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
# GPUs, ordinal, place on the bus, environment; the UUID that is meant, or None where nobody can know.
PLACES = (
    (TWINS, 1, "", {}, "GPU-bbbb"),
    (TWINS, 0, "", {SHOW: "1"}, "GPU-bbbb"),
    (TWINS, 1, "", {SHOW: "1,0"}, "GPU-aaaa"),
    (TWINS, 2, "", {}, None),
    (TWINS, 0, "", {SHOW: ""}, None),
    (MIXED, 0, "", {}, None),
    (MIXED, 0, "", {SHOW: "1"}, None),
    (MIXED, 0, "", {SHOW: "1", ORDER: "PCI_BUS_ID"}, "GPU-bbbb"),
    (MIXED, 1, "", {ORDER: "PCI_BUS_ID"}, "GPU-bbbb"),
    (MIXED, 0, "", {SHOW: "GPU-bbbb"}, "GPU-bbbb"),
    (MIXED, 0, "0000:0f:00.0", {}, "GPU-bbbb"),
    (MIXED, 1, "0000:07:00.0", {SHOW: "1,0"}, "GPU-aaaa"),
    (MIXED, 0, "0000:99:00.0", {ORDER: "PCI_BUS_ID"}, None),
    (JETSON, 0, "0000:00:00.0", {}, ""),
)


def check_places(chooser: Callable[..., DetectedGpu | str] = choose) -> Iterator[Checked]:
    """Yield whether the GPU that is watched is the one that CUDA calls by an ordinal, and none where nobody can know."""
    for gpus, ordinal, bus, environ, want in PLACES:
        found = chooser(ordinal, gpus, pci_bus_id=bus, environ=environ)
        got = None if isinstance(found, str) else found.uuid
        note = f"cuda:{ordinal} at {bus!r} under {environ} of {[gpu.title for gpu in gpus]}: got {found}, want {want}"
        yield PLACED, None if got == want else note


def check_running(rt: Runtime, watcher: Watcher = watch) -> tuple[Telemetry, list[Checked]]:
    """Return what is seen of the GPU that executes while a network runs again and again, and whether it is.

    Clocks and temperature have to be told, and lie where those of a GPU can lie; what a driver does not tell of the rest is
    no failure.
    """
    assert rt.memory is not None
    ordinal = int(rt.device.partition(":")[2] or 0)
    with Session(rt, build(rt)) as session:
        session.run({"x": FEED})
        with watcher(ordinal, 0.01, pci_bus_id=str(getattr(rt.memory, "pci_bus_id", ""))) as watched:
            for _ in range(ROUNDS):
                session.launch(RUNS)
                with rt.active():
                    rt.memory.settle(session.stream)
    seen = watched.take()
    clock, heat = seen.sm_mhz, seen.temperature_celsius
    good = clock is not None and 50 < clock.low <= clock.high < 10_000
    good = good and heat is not None and 0 < heat.low <= heat.high < 120
    note = f"{len(seen.samples)} samples by {seen.source!r}: {clock}, {heat}, {seen.why}"
    return seen, [(RUNNING, None if good else note)]
