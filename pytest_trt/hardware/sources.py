"""Who tells of a GPU while it works: NVML, `nvidia-smi`, `nvidia-smi dmon`, on Jetson `tegrastats`."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from threading import Event, Lock
from typing import Any, Protocol

from pytest_trt.errors import InputError
from pytest_trt.hardware.dmon import read_dmon_line, read_dmon_names
from pytest_trt.hardware.probe import DetectedGpu, bus_of, text_of
from pytest_trt.hardware.samples import GpuSample
from pytest_trt.hardware.smi import EVENT_FIELDS, FIELDS, read_smi
from pytest_trt.hardware.tegrastats import gpu_sample, read_tegrastats

SMI_MILLISECONDS = 100  # what nvidia-smi and tegrastats keep up with; NVML is asked as often as wanted
STOP_SECONDS = 5.0
# NVML API Reference, "nvmlReturn_enum_t": uninitialized, driver not loaded, GPU is lost, reset required.
LOST = frozenset({1, 9, 15, 16})
# The newer name from driver 535 on; a newer pynvml has it over an older driver too, which then refuses.
REASONS = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")


class Ended(Exception):
    """No more samples will come; the message says why, in words."""


class Source(Protocol):
    """Who tells of one GPU."""

    name: str

    def samples(self, stop: Event, started: float) -> Iterator[GpuSample]:
        """Yield samples until `stop` is set; `started` is the zero of their seconds, on `time.perf_counter`."""
        ...

    def close(self) -> None:
        """End a wait for the next sample; called by another thread, after `stop` was set."""
        ...


class NvmlSource:
    """NVML, asked every `interval_seconds`, once more at the end.

    Parameters
    ----------
    nvml : module
        `pynvml`, or what stands in for it.
    handle : object
        The device in it.
    interval_seconds : float
    """

    name = "nvml"

    def __init__(self, nvml: Any, handle: Any, interval_seconds: float) -> None:
        self._nvml, self._handle, self._interval = nvml, handle, interval_seconds

    def samples(self, stop: Event, started: float) -> Iterator[GpuSample]:
        """Yield a sample now, one each interval, and one at the end."""
        while True:
            last = stop.is_set()
            yield self.look(time.perf_counter() - started)
            if last:
                return
            stop.wait(self._interval)

    def look(self, seconds: float) -> GpuSample:
        """Return one sample.

        Raises
        ------
        Ended
            The GPU is lost.
        """
        nvml = self._nvml
        rates = self._ask("nvmlDeviceGetUtilizationRates")
        power = self._ask("nvmlDeviceGetPowerUsage")
        return GpuSample(
            seconds,
            None if rates is None else float(rates.gpu),
            _number(self._ask("nvmlDeviceGetClockInfo", getattr(nvml, "NVML_CLOCK_SM", 1))),
            _number(self._ask("nvmlDeviceGetClockInfo", getattr(nvml, "NVML_CLOCK_MEM", 2))),
            None if power is None else power / 1000,
            _number(self._ask("nvmlDeviceGetTemperature", getattr(nvml, "NVML_TEMPERATURE_GPU", 0))),
            next((mask for mask in map(self._ask, REASONS) if mask is not None), None),
        )

    def close(self) -> None:
        """Do nothing: the wait ends with the event."""

    def _ask(self, name: str, *arguments: object) -> Any:
        """Return what NVML tells; None for what this GPU or driver does not."""
        try:
            return getattr(self._nvml, name)(self._handle, *arguments)
        except Exception as error:  # NVMLError; AttributeError where pynvml is older than the call
            if getattr(error, "value", None) in LOST:
                raise Ended(f"NVML lost the GPU: {error}") from None
            return None


class LineSource:
    """A program that prints a line a sample, until it is stopped.

    Parameters
    ----------
    name : str
    commands : sequence of sequence of str
        One after another, where one ends with an error before its first sample.
    reader : callable
        Makes, for one command, a function from a line to its sample at `seconds`, or to None for a line that holds none.
    """

    def __init__(self, name: str, commands: Sequence[Sequence[str]], reader: Callable[[], Reader]) -> None:
        self.name = name
        self._commands, self._reader = commands, reader
        self._process: subprocess.Popen[str] | None = None
        self._lock, self._closed = Lock(), False

    def samples(self, stop: Event, started: float) -> Iterator[GpuSample]:
        """Yield a sample for each line that holds one."""
        told = ""
        for command in self._commands:
            some = False
            read, last = self._reader(), ""
            for line in self._lines(command):
                try:
                    sample = read(line, time.perf_counter() - started)
                except InputError as error:
                    last = line.strip() or last
                    if some:
                        raise Ended(f"{self.name} printed what cannot be read: {error.what}") from None
                    continue
                if sample is not None:
                    some = True
                    yield sample
                if stop.is_set():
                    return
            if stop.is_set() and some:
                return
            if stop.is_set():
                break
            if some:
                raise Ended(f"{self.name} ended before the watch did" + (f": {last}" if last else ""))
            told = last or told
        if stop.is_set() and not told:
            told = "the watch ended before its first one"
        raise Ended(f"{self.name} gave no sample" + (f": {told}" if told else ""))

    def close(self) -> None:
        """End the program."""
        with self._lock:
            self._closed = True
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()

    def _lines(self, command: Sequence[str]) -> Iterator[str]:
        with self._lock:
            if self._closed:
                return
            try:
                process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                )
            except OSError as error:
                raise Ended(f"{self.name} cannot be started: {error}") from None
            self._process = process
        assert process.stdout is not None
        try:
            yield from process.stdout
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


Reader = Callable[[str, float], "GpuSample | None"]


def open_nvml(gpu: DetectedGpu, interval_seconds: float, nvml: Any = None) -> NvmlSource | None:
    """Return NVML as the source for a GPU, found by its UUID, then by its PCI bus id; None where it knows none such.

    NVML stays initialised for the life of the process: another user of it in this process is not disturbed.
    """
    try:
        nvml = importlib.import_module("pynvml") if nvml is None else nvml
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        for handle in handles:
            if gpu.uuid and text_of(nvml.nvmlDeviceGetUUID(handle)) == gpu.uuid:
                return NvmlSource(nvml, handle, interval_seconds)
        for handle in handles:
            if is_same_place(bus_of(nvml, handle), gpu.pci_bus_id):
                return NvmlSource(nvml, handle, interval_seconds)
    except Exception:  # ImportError, or NVML's own errors where there is no driver
        return None
    return None


def open_smi(gpu: DetectedGpu, interval_seconds: float) -> LineSource | None:
    """Return `nvidia-smi` as the source for a GPU, both spellings of its query and then `dmon`; None without it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    device = gpu.uuid or gpu.pci_bus_id
    chosen = [f"--id={device}"] if device else []
    loop = ["-lms", str(max(SMI_MILLISECONDS, round(1000 * interval_seconds)))]
    queries = [
        [program, f"--query-gpu={','.join(fields)}", "--format=csv", *loop, *chosen]
        for fields in (FIELDS, EVENT_FIELDS)
    ]
    dmon = [program, "dmon", "-s", "pcu", *(["-i", device] if device else [])]
    return LineSource("nvidia-smi", [*queries, dmon], _smi_reader)


def open_tegrastats(interval_seconds: float) -> LineSource | None:
    """Return `tegrastats` as the source for the GPU of a Jetson; None without it."""
    program = shutil.which("tegrastats")
    if program is None:
        return None
    interval = str(max(SMI_MILLISECONDS, round(1000 * interval_seconds)))

    def reader() -> Reader:
        def read(line: str, seconds: float) -> GpuSample | None:
            found = read_tegrastats(line)
            return gpu_sample(found[0], seconds) if found else None

        return read

    return LineSource("tegrastats", [[program, "--interval", interval]], reader)


def short_bus_id(bus_id: str) -> tuple[int, ...]:
    """Return domain, bus, device and function of a PCI bus id, however long its domain is written.

    NVML and `nvidia-smi` write eight digits (`00000000:3B:00.0`), CUDA and `/proc` four.
    """
    try:
        *domain, bus, rest = bus_id.strip().split(":")
        device, _, function = rest.partition(".")
        return (int(domain[0], 16) if domain else 0, int(bus, 16), int(device, 16), int(function or "0", 16))
    except ValueError:
        return ()


def is_same_place(one: str, other: str) -> bool:
    """Return whether two PCI bus ids are of one place; never where one of them is none, `[N/A]` for instance."""
    place = short_bus_id(one)
    return bool(place) and place == short_bus_id(other)


def _smi_reader() -> Reader:
    """Return a reader of both, `--query-gpu` and `dmon`: a header says which it is."""
    head = ""
    names: tuple[str, ...] = ()
    first: tuple[datetime, float] | None = None

    def read(line: str, seconds: float) -> GpuSample | None:
        nonlocal head, names, first
        if not line.strip():
            return None
        if line.startswith("#"):
            names = read_dmon_names(line) or names
            return None
        if names:
            return read_dmon_line(line, names, seconds)
        if line.startswith("timestamp"):
            head = line
            return None
        samples = read_smi(head + line.rstrip() + "\n")
        if not samples:  # commas alone
            return None
        (told,) = samples
        # from then on by its own clock: lines may come late, together
        first = first or (told.timestamp, seconds)
        return GpuSample(
            first[1] + (told.timestamp - first[0]).total_seconds(),
            told.utilization_percent,
            told.sm_mhz,
            told.memory_mhz,
            told.power_watts,
            told.temperature_celsius,
            told.reasons,
        )

    return read


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
