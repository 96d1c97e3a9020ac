"""Time per frame over the batch: measured, the batch that fills the GPU, and whether the curve is one that can be.

What TensorRT's FAQ says of batches: time per frame falls with the batch only while the GPU is not full. So it falls, or stays, up
to a knee; from there on it is flat. A batch is compared with its multiples alone: work that is split into equal tiles runs in
waves as wide as the device, and m times the work takes at most m times the waves, so that it is never slower per frame. A batch
between two multiples may be: its last wave is not full (NVIDIA, "Matrix Multiplication Background User's Guide", sections "Tile
Quantization" and "Wave Quantization").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy.typing as npt

from pytest_trt.bench.measure import Measurement, measure_session
from pytest_trt.bench.roofline import Roofline
from pytest_trt.bench.stability import finite, interval_rank
from pytest_trt.bench.timer import MODELLED
from pytest_trt.errors import OutOfMemoryError
from pytest_trt.numerics.formats import Array
from pytest_trt.runtime.session import Session

FALLS = "time-per-frame-falls-until-full"
FLAT = "time-per-frame-flat-when-full"
POSSIBLE = "time-not-below-floor"
OWN = "times-of-each-batch"

HOLDS, BROKEN, UNRELIABLE = "holds", "broken", "unreliable"

# A batch that is faster per frame than another by more than this is a gain.
GAIN = 0.05
# Before the knee no multiple of a batch is slower per frame by more than this. The points are taken one after the other, and each
# may be off by the 5 % that clocks may move while it is measured (`hardware.throttle`).
NOISE = 0.10
# From the knee on it is more: a full GPU draws its full power and lowers its clocks, and tensors that no longer fit in the level
# 2 cache come from memory ("Optimizing TensorRT Performance", section "Batching": smaller batches may be faster for it). A
# network whose layers are all bound by that cache can lose more; `Shares` takes another figure.
RISE = 0.25
FEWEST_POINTS = 3
_SAME = 1e-6  # times that differ by less, relatively, are the same but for the last bits of a sum


@dataclass(frozen=True)
class Shares:
    """What counts as a gain, as noise before the knee, and as flat behind it: shares of the time per frame."""

    gain: float = GAIN
    noise: float = NOISE
    rise: float = RISE


# A device that is computed has neither clocks that move nor caches.
COMPUTED = Shares(gain=GAIN, noise=_SAME, rise=_SAME)


@dataclass(frozen=True)
class Point:
    """One batch of a curve.

    Attributes
    ----------
    batch : int
    measurement : Measurement
        Seconds of whole runs.
    roofline : Roofline, optional
        The least times of a run.
    """

    batch: int
    measurement: Measurement
    roofline: Roofline | None = None

    @cached_property
    def per_frame(self) -> float:
        """Median seconds of a frame."""
        return self.measurement.median_seconds / self.batch

    @cached_property
    def interval(self) -> tuple[float, float]:
        """Where the median of the seconds of a frame lies, at the confidence of `stability.CONFIDENCE`."""
        ordered = sorted(self.measurement.seconds)
        rank = interval_rank(len(ordered))
        return ordered[rank] / self.batch, ordered[-1 - rank] / self.batch

    @cached_property
    def reliable(self) -> bool:
        """True where nothing speaks against its times."""
        return self.measurement.reliable

    @property
    def share(self) -> float | None:
        """How much of the roofline it reaches."""
        return None if self.roofline is None else self.roofline.share(self.measurement.median_seconds)


@dataclass(frozen=True)
class Judgement:
    """What a curve says about the statement.

    Attributes
    ----------
    verdict : str
        `holds`, `broken` or `unreliable`.
    rows : tuple of (str, str or None)
        Names of the checks, each with what is wrong.
    reasons : tuple of str
        Why points were left out, or why nothing can be said.
    """

    verdict: str
    rows: tuple[tuple[str, str | None], ...]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Curve:
    """Time per frame over the batch.

    Attributes
    ----------
    points : tuple of Point
        By batch, each batch once; unreliable ones too.
    shares : Shares
        What counts as a gain and as flat.
    stopped : str
        Why the sweep ended before its last batch; empty if it did not.
    """

    points: tuple[Point, ...]
    shares: Shares = Shares()
    stopped: str = ""

    @cached_property
    def reliable(self) -> tuple[Point, ...]:
        """The points that count."""
        return tuple(point for point in self.points if point.reliable)

    def per_frame(self, batch: int) -> float:
        """Return the median seconds of a frame at a batch.

        Raises
        ------
        KeyError
            That batch was not measured.
        """
        return self._at(batch).per_frame

    @cached_property
    def knee(self) -> int | None:
        """The smallest batch from which no larger one is shown to be faster per frame by more than `shares.gain`.

        None where only the largest batch is one: the device is not known to be full.
        """
        points = self.reliable
        for place, point in enumerate(points[:-1]):
            low = point.interval[0]
            if not any(other.interval[1] * (1 + self.shares.gain) < low for other in points[place + 1 :]):
                return point.batch
        return None

    @property
    def gain(self) -> float | None:
        """How many times faster a frame is at the knee, or at the largest batch where there is none, than at the smallest."""
        points = self.reliable
        if not points:
            return None
        knee = self.knee
        return points[0].per_frame / (points[-1].per_frame if knee is None else self.per_frame(knee))

    @property
    def full(self) -> bool:
        """True where the device is full within the curve."""
        return self.knee is not None

    def judge(self) -> Judgement:
        """Return whether the statement holds: unreliable points are left out, and with fewer than three nothing is said."""
        left_out = tuple(
            f"batch {point.batch} is left out: {'; '.join(point.measurement.reasons)}"
            for point in self.points
            if not point.reliable
        )
        if len(self.reliable) < FEWEST_POINTS:
            few = f"{len(self.reliable)} reliable points of {len(self.points)}, fewer than {FEWEST_POINTS}"
            return Judgement(UNRELIABLE, (), (few, *left_out))
        rows = tuple(self._check())
        broken = any(note is not None for _, note in rows)
        return Judgement(BROKEN if broken else HOLDS, rows, left_out)

    def to_plain(self) -> dict[str, Any]:
        """Return plain data: points with their measurements, knee, gain and judgement."""
        judged = self.judge()
        return {
            "points": [
                {
                    "batch": point.batch,
                    "seconds_per_frame": finite(point.per_frame),
                    "roofline_share": None if point.share is None else finite(point.share),
                    "measurement": point.measurement.to_plain(),
                }
                for point in self.points
            ],
            "knee": self.knee,
            "gain": self.gain,
            "verdict": judged.verdict,
            "reasons": list(judged.reasons),
            "stopped": self.stopped,
        }

    def describe(self) -> tuple[str, ...]:
        """Return in words where the knee is, what was gained, what was left out, and why the sweep ended."""
        judged = self.judge()
        if judged.verdict == UNRELIABLE:
            said = ["unreliable: neither does the statement hold nor fail"]
        else:
            first, gain, knee = self.reliable[0].batch, self.gain, self.knee
            where = f"full at batch {knee}" if knee is not None else "not full at the largest batch"
            said = [f"{where}; a frame is {gain:.2f} times as fast as at batch {first}"]
            share = self.reliable[0].share
            if share is not None and 0 < share <= 1:
                said.append(
                    f"at batch {first} it reaches {100 * share:.1f} % of the roofline: a gain of {1 / share:.1f} at most"
                )
        waited = [str(point.batch) for point in self.points if point.measurement.is_host_bound]
        if waited:
            said.append(
                f"host-bound at batch {', '.join(waited)}: the device waited for enqueues, whose time is in that of the runs"
            )
        return (*said, *judged.reasons, *([self.stopped] if self.stopped else ()))

    def section(self, title: str) -> dict[str, Any]:
        """Return a section of the report: what it says, a table, and a plot of the time per frame."""
        rows = [
            (
                point.batch,
                f"{1e3 * point.measurement.median_seconds:.4g}",
                f"{1e6 * point.per_frame:.4g}",
                f"{1 / point.per_frame:.4g}" if point.per_frame > 0 else "-",
                "-" if point.share is None else f"{100 * point.share:.1f} %",
                f"{100 * point.measurement.variation:.1f} %",
                "yes" if point.reliable else "; ".join(point.measurement.reasons),
            )
            for point in self.points
        ]
        clocks = dict.fromkeys(point.measurement.clock for point in self.points)
        return {
            "title": title,
            "text": [*self.describe(), *(f"clock: {clock}" for clock in clocks)],
            "head": ["batch", "ms", "us/frame", "frames/s", "roofline", "CoV", "reliable"],
            "rows": rows,
            "plot": {
                "kind": "lines",
                "title": "microseconds a frame over the batch",
                "x": [point.batch for point in self.points],
                "series": {"us/frame": [1e6 * point.per_frame for point in self.points]},
                "log": True,
                "unit": "us",
            },
        }

    def _at(self, batch: int) -> Point:
        for point in self.points:
            if point.batch == batch:
                return point
        raise KeyError(batch)

    def _check(self) -> Iterator[tuple[str, str | None]]:
        points, knee = self.reliable, self.knee
        yield FALLS, _find_rise(points, self.shares.noise, lambda batch: knee is None or batch <= knee)
        if knee is not None:
            yield FLAT, _find_rise(points, self.shares.rise, lambda batch: batch > knee)
        floors = [point for point in points if point.roofline is not None and point.roofline.floor_seconds]
        if floors:
            yield POSSIBLE, _find_impossible(floors)
        yield OWN, _find_copy(points)


def _find_rise(points: Sequence[Point], share: float, counts: Callable[[int], bool]) -> str | None:
    """Return which batch that counts is shown to be slower per frame by more than a share than one that divides it."""
    for first, second in combinations(points, 2):
        if second.batch % first.batch or not counts(second.batch):
            continue
        if second.interval[0] > first.interval[1] * (1 + share):
            more = 100 * (second.per_frame / first.per_frame - 1)
            return (
                f"a frame takes {1e6 * second.per_frame:.4g} microseconds at batch {second.batch} and"
                f" {1e6 * first.per_frame:.4g} at batch {first.batch}: {more:.1f} % more, and {100 * share:.3g} % are allowed"
            )
    return None


def _find_impossible(points: Sequence[Point]) -> str | None:
    """Return which batch takes less time than its work can take."""
    for point in points:
        floor = point.roofline.floor_seconds if point.roofline is not None else None
        seconds = point.measurement.median_seconds
        if floor is not None and seconds < floor * (1 - _SAME):
            return (
                f"batch {point.batch} took {1e6 * seconds:.4g} microseconds, and its work takes"
                f" {1e6 * floor:.4g} at least on this device"
            )
    return None


def _find_copy(points: Sequence[Point]) -> str | None:
    """Return which two batches have the same times, round by round: one of them was not measured."""
    for first, second in combinations(points, 2):
        times = first.measurement.seconds
        if max(times) - min(times) > _SAME * max(times) and times == second.measurement.seconds:
            return (
                f"batches {first.batch} and {second.batch} took the same time in each of {len(times)} rounds"
            )
    return None


def doublings(limit: int) -> tuple[int, ...]:
    """Return 1, 2, 4 and so on up to a limit."""
    return tuple(1 << power for power in range(max(1, limit).bit_length()))


def sweep(
    session: Session,
    feeds: Callable[[int], Mapping[str, npt.ArrayLike]],
    batches: Iterable[int],
    *,
    measure: Callable[[Session], Measurement] = measure_session,
    rooflines: Callable[[int], Roofline | None] | None = None,
    look: Callable[[int, Mapping[str, Array]], None] | None = None,
    shares: Shares | None = None,
    most_seconds: float | None = None,
    beyond: int | None = None,
) -> Curve:
    """Return the curve of one engine over growing batches, on one session.

    Parameters
    ----------
    session : Session
        Its profile takes the batches.
    feeds : callable
        Inputs of a batch.
    batches : iterable of int
        Growing.
    measure : callable
        Measures a session that has run.
    rooflines : callable, optional
        The least times of a batch.
    look : callable, optional
        Is given each batch and its outputs, and raises where they are wrong: a time of wrong answers is worth nothing.
    shares : Shares, optional
        Default: `COMPUTED` where all times come from a modelled device, else `Shares()`.
    most_seconds : float, optional
        The first run that takes longer is the last.
    beyond : int, optional
        Stop when that many batches behind the knee have been measured; default: go on to the last batch.

    Raises
    ------
    ExecutionError
        A run failed. A batch that does not fit in the memory of the device ends the sweep instead, unless it is the first.
    """
    points: list[Point] = []
    stopped = ""
    chosen = shares or Shares()
    for batch in batches:
        try:
            outputs = session.run(feeds(batch))
        except OutOfMemoryError as error:
            if not points:
                raise
            stopped = f"batch {batch} does not fit in the memory of the device: {error}"
            break
        if look is not None:
            look(batch, outputs)
        measurement = measure(session)
        points.append(Point(batch, measurement, None if rooflines is None else rooflines(batch)))
        if shares is None and all(point.measurement.clock == MODELLED for point in points):
            chosen = COMPUTED
        if most_seconds is not None and measurement.median_seconds > most_seconds:
            stopped = (
                f"batch {batch} is the last: a run takes {measurement.median_seconds:.3g} s,"
                f" more than {most_seconds:.3g} s"
            )
            break
        knee = Curve(tuple(points), chosen).knee
        if beyond is not None and knee is not None and sum(p.batch > knee for p in points) >= beyond:
            stopped = f"batch {batch} is the last: {beyond} batches behind the knee"
            break
    return Curve(tuple(points), chosen, stopped)
