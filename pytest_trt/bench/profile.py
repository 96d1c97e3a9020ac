"""Where the time of a run goes: layer by layer, held against the time of whole runs without a profiler."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Any

from pytest_trt.bench.clocks import LayerTimes, Run, TimedSession
from pytest_trt.bench.measure import Measurement, last_inputs, measure_session
from pytest_trt.bench.stability import finite
from pytest_trt.bench.timer import MODELLED
from pytest_trt.bench.trust import find_bad_layers
from pytest_trt.errors import UsageError
from pytest_trt.runtime.session import Session

RUNS, WARM_UP = 10, 2
# A profiler adds time to each layer and parts work that would overlap, so the sum is not the time of a run: `trtexec` has
# `--separateProfileRun` for that reason. Half and half as much again: what lies outside is another network or another unit.
LEAST_SHARE, MOST_SHARE = 0.5, 1.5
# Below this a layer takes no longer than the events around it: half a microsecond of resolution, several of launches.
SHORTEST_LAYER_SECONDS = 1e-5
MOST_BARS = 20


@dataclass(frozen=True)
class Profile:
    """Seconds of each layer of an engine, and of whole runs without a profiler.

    Attributes
    ----------
    layers : tuple of (str, float)
        Name and median seconds, in the engine's order.
    whole : Measurement
        Runs without a profiler.
    runs : int
        Runs with it.
    trouble : str
        What is wrong with the layers' times themselves; empty where nothing is.
    """

    layers: LayerTimes
    whole: Measurement
    runs: int
    trouble: str = ""

    @property
    def layer_seconds(self) -> float:
        """The layers' seconds together."""
        return sum(seconds for _, seconds in self.layers)

    @property
    def total_seconds(self) -> float:
        """Seconds of a whole run, measured without a profiler."""
        return self.whole.median_seconds

    @property
    def share_of_total(self) -> float:
        """The layers' seconds over those of a whole run; NaN where one of them is no time."""
        return self.layer_seconds / self.total_seconds if self.total_seconds > 0 else math.nan

    def share(self, name: str) -> float:
        """Return the share of the layers' seconds that the layers of a name take.

        Raises
        ------
        UsageError
            There is no such layer.
        """
        found = [seconds for layer, seconds in self.layers if layer == name]
        if not found:
            raise UsageError(
                f"the engine has no layer {name!r}", why=f"layers: {', '.join(dict(self.layers))}"
            )
        return sum(found) / self.layer_seconds if self.layer_seconds > 0 else math.nan

    @property
    def slowest(self) -> LayerTimes:
        """The layers, slowest first; equal ones in the engine's order."""
        return tuple(sorted(self.layers, key=lambda layer: -layer[1]))

    @property
    def blurred(self) -> tuple[str, ...]:
        """Why the two times cannot be held against each other: whole runs that are unreliable, or layers that are too short."""
        each = self.layer_seconds / max(1, len(self.layers))
        if self.whole.clock == MODELLED or each >= SHORTEST_LAYER_SECONDS:
            return self.whole.reasons
        short = (
            f"layers take {1e6 * each:.2g} microseconds on average: the profiler's own events take as long"
        )
        return (*self.whole.reasons, short)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why these times cannot be relied on; empty where they can."""
        reasons = [*filter(None, [self.trouble]), *self.blurred]
        share = self.share_of_total
        if not LEAST_SHARE <= share <= MOST_SHARE:
            reasons.append(
                f"the layers take {100 * share:.3g} % of a run without profiler, not {100 * LEAST_SHARE:.0f} to"
                f" {100 * MOST_SHARE:.0f} %"
            )
        return tuple(reasons)

    @property
    def reliable(self) -> bool:
        """True where nothing speaks against the times."""
        return not self.reasons

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data that JSON takes."""
        return {
            "layers": [[name, finite(seconds)] for name, seconds in self.layers],
            "runs": self.runs,
            "layer_seconds": finite(self.layer_seconds),
            "share_of_total": finite(self.share_of_total),
            "whole": self.whole.to_plain(),
            "reliable": self.reliable,
            "reasons": list(self.reasons),
        }

    def section(self, title: str = "Layers by time") -> dict[str, Any]:
        """Return it for the report: a table of all layers, slowest first, and bars of the slowest."""
        rows = [
            (name, f"{1e6 * seconds:.3f}", f"{100 * seconds / self.layer_seconds:.1f} %")
            for name, seconds in self.slowest
            if self.layer_seconds > 0
        ]
        shown = self.slowest[:MOST_BARS]
        text = [
            f"{len(self.layers)} layers take {1e6 * self.layer_seconds:.4g} microseconds,"
            f" {100 * self.share_of_total:.3g} % of a run without profiler"
            f" ({1e6 * self.total_seconds:.4g} microseconds; {self.whole.clock})",
            *(f"unreliable: {reason}" for reason in self.reasons),
        ]
        plot = {
            "kind": "bars",
            "title": f"{title}: microseconds",
            "labels": [f"{place + 1} {name}" for place, (name, _) in enumerate(shown)],
            "series": {"microseconds": [1e6 * seconds for _, seconds in shown]},
        }
        return {
            "title": title,
            "text": text,
            "head": ["layer", "microseconds", "share"],
            "rows": rows,
            "plot": plot if shown else None,
        }


def profile_session(session: Session, *, runs: int = RUNS, whole: Measurement | None = None) -> Profile:
    """Return where the time of a session's runs goes, with the inputs and shapes of its last one.

    Parameters
    ----------
    session : Session
        Has run once; it has no profiler before and after.
    runs : int
        Runs with a profiler; two more go before and are not counted.
    whole : Measurement, optional
        Of the same session, without a profiler; it is measured where it is not given.

    Raises
    ------
    UsageError
        There has been no run, or `runs` is not positive.
    ExecutionError, ConformanceError
        As `pytest_trt.bench.measure.measure_session`.
    """
    if runs < 1:
        raise UsageError(f"a profile is of one run at least, not {runs}")
    last_inputs(session)  # says in words where there has been no run
    if whole is None:
        whole = measure_session(session)
    timed = TimedSession(session)
    try:
        for _ in range(WARM_UP):
            timed.run()
        seen = [timed.run() for _ in range(runs)]
    finally:
        timed.close()
    trouble = find_bad_layers(seen, int(session.engine.num_layers)) or ""
    return Profile(_middle(seen), whole, runs, trouble)


def _middle(seen: list[Run]) -> LayerTimes:
    """Return each layer's median over the runs, in the order of the first; one that a run lacks is of those that have it."""
    times: dict[tuple[str, int], list[float]] = {}
    for run in seen:
        count: Counter[str] = Counter()
        for name, seconds in run.layers:
            times.setdefault((name, count[name]), []).append(seconds)
            count[name] += 1
    return tuple((name, median(series)) for (name, _), series in times.items())
