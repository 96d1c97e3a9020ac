"""What a GPU did while it was watched: samples, and what they say of a measurement that was made meanwhile."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pytest_trt.hardware.throttle import name_reasons, spoils

IDLE = 0x1
MOVED = 0.05


@dataclass(frozen=True)
class GpuSample:
    """One look at a GPU; None for what it, its driver or its tool does not tell.

    Attributes
    ----------
    seconds : float
        Since the watch began.
    utilization_percent : float or None
        Share of the driver's last sample period in which a kernel ran.
    sm_mhz, memory_mhz : float or None
        Clocks of the multiprocessors and of the memory.
    power_watts, temperature_celsius : float or None
    reasons : int or None
        Bits of `pytest_trt.hardware.throttle.REASONS`.
    """

    seconds: float
    utilization_percent: float | None = None
    sm_mhz: float | None = None
    memory_mhz: float | None = None
    power_watts: float | None = None
    temperature_celsius: float | None = None
    reasons: int | None = None

    @property
    def is_working(self) -> bool:
        """True unless the driver tells that no kernel ran or that the clocks are those of an idle GPU."""
        return self.utilization_percent != 0.0 and not (self.reasons or 0) & IDLE


@dataclass(frozen=True)
class Span:
    """The lowest, the middle (median) and the highest of what was sampled."""

    low: float
    middle: float
    high: float

    @property
    def moved(self) -> float:
        """How far the lowest lies under the highest, as a share of the highest."""
        return (self.high - self.low) / self.high if self.high > 0 else 0.0


@dataclass(frozen=True)
class Telemetry:
    """All samples of one watch.

    Attributes
    ----------
    source : str
        `nvml`, `nvidia-smi` or `tegrastats`; empty where there was nothing to watch.
    title : str
        The GPU, for people.
    samples : tuple of GpuSample
        In the order of time.
    why : str
        Why nothing was watched, or why the samples end before the watch did; empty otherwise.
    """

    source: str = ""
    title: str = ""
    samples: tuple[GpuSample, ...] = ()
    why: str = ""

    @property
    def sm_mhz(self) -> Span | None:
        """Clock of the multiprocessors; None where it was not told."""
        return _span(sample.sm_mhz for sample in self.samples)

    @property
    def memory_mhz(self) -> Span | None:
        """Clock of the memory; None where it was not told."""
        return _span(sample.memory_mhz for sample in self.samples)

    @property
    def power_watts(self) -> Span | None:
        """Power drawn; None where it was not told."""
        return _span(sample.power_watts for sample in self.samples)

    @property
    def temperature_celsius(self) -> Span | None:
        """Temperature of the GPU; None where it was not told."""
        return _span(sample.temperature_celsius for sample in self.samples)

    @property
    def utilization_percent(self) -> Span | None:
        """Share of time in which a kernel ran; None where it was not told."""
        return _span(sample.utilization_percent for sample in self.samples)

    @property
    def reasons(self) -> int:
        """The bits of all samples, or-ed."""
        bits = 0
        for sample in self.samples:
            bits |= sample.reasons or 0
        return bits

    @property
    def unreliable(self) -> tuple[str, ...]:
        """Why a time that was measured meanwhile is not to be believed, in words; empty where nothing speaks against it.

        A reason is a throttle bit of `throttle.UNRELIABLE` (or one without a name), an SM clock that moved by more than 5 %
        between samples in which the GPU worked, or samples that end early. Nothing watched is no reason.
        """
        words = [f"the driver lowered the clocks: {name}" for name in spoils(self.reasons)]
        clock = _span(sample.sm_mhz for sample in self.samples if sample.is_working)
        if clock is not None and clock.moved > MOVED:
            words.append(
                f"the SM clock moved by {100 * clock.moved:.0f} % while the GPU worked ({clock.high:g} to {clock.low:g} MHz)"
            )
        if self.samples and self.why:
            words.append(self.why)
        return tuple(words)

    def to_plain(self) -> dict[str, Any]:
        """Return what JSON can hold: spans, names of reasons and counts; not each sample."""
        plain: dict[str, Any] = {"source": self.source, "title": self.title, "why": self.why}
        plain["samples"] = len(self.samples)
        plain["seconds"] = self.samples[-1].seconds if self.samples else 0.0
        for name, _, _ in QUANTITIES:
            span: Span | None = getattr(self, name)
            plain[name] = None if span is None else [span.low, span.middle, span.high]
        return {**plain, "reasons": list(name_reasons(self.reasons)), "unreliable": list(self.unreliable)}

    def section(self, title: str = "GPU telemetry") -> dict[str, Any]:
        """Return a section of the report: what was watched, a table of spans, and a plot over time.

        Clocks, power and temperature differ in unit and size, so each line of the plot is a share of its own highest value;
        the line `throttled` is 100 % where a reason that spoils a measurement was set.
        """
        if not self.samples:
            return {"title": title, "text": [f"nothing was watched: {self.why or 'no sample was taken'}"]}
        text = [f"{self.title}, by {self.source}: {len(self.samples)} samples"]
        text += [f"unreliable: {reason}" for reason in self.unreliable]
        if self.reasons:
            text.append(f"clock reasons: {', '.join(name_reasons(self.reasons))}")
        rows, series = [], {}
        for name, words, unit in QUANTITIES:
            span: Span | None = getattr(self, name)
            if span is None:
                continue
            rows.append([f"{words} ({unit})", *(f"{each:g}" for each in (span.low, span.middle, span.high))])
            values = [getattr(sample, name) for sample in self.samples]
            if span.high > 0:
                series[words] = [math.nan if each is None else 100 * each / span.high for each in values]
        if any(sample.reasons is not None for sample in self.samples):
            series["throttled"] = [100.0 if spoils(sample.reasons or 0) else 0.0 for sample in self.samples]
        found: dict[str, Any] = {
            "title": title,
            "text": text,
            "head": ["what", "low", "middle", "high"],
            "rows": rows,
        }
        if series:
            found["plot"] = {
                "kind": "lines",
                "title": "share of the highest value over seconds",
                "x": [sample.seconds for sample in self.samples],
                "series": series,
                "unit": "%",
            }
        return found


# Field of a sample, words and unit.
QUANTITIES = (
    ("sm_mhz", "SM clock", "MHz"),
    ("memory_mhz", "memory clock", "MHz"),
    ("power_watts", "power", "W"),
    ("temperature_celsius", "temperature", "°C"),
    ("utilization_percent", "utilisation", "%"),
)


def _span(values: Iterable[float | None]) -> Span | None:
    told = [value for value in values if value is not None]
    return Span(min(told), statistics.median(told), max(told)) if told else None
