"""Whether a clock can be trusted: what holds of the times of any runtime, without a baseline.

They are there for clocks that are wrong by a factor, that stand still or that count what never ran, and a busy machine breaks
none of them: factors are wide, and a clock is wrong only if it is so in every run. What disturbs a run makes it longer, never
shorter. Each function returns what is wrong in one line, or None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from pytest_trt.bench.clocks import LayerTimes, Run

LAYER_TIMES = "layer-times"
WITHIN_HOST = "device-within-host"
SHARE_OF_HOST = "device-share"
NOT_CACHED = "times-move"
FAILED_UNTIMED = "failed-enqueue-untimed"
EVERY_STREAM = "every-stream-timed"
WHEN_ASKED = "profile-when-asked"
PROFILER_OFF = "totals-unprofiled"
EVENTS_TELL_LOOP = "events-tell-the-loop"
EVENTS_ADD_UP = "events-add-up"
IDLE_UNTIMED = "idle-stream-untimed"
TIMED_OUTPUTS = "timed-outputs"
LAYERS_SUM = "layers-sum-to-total"

# A synchronised run takes the device no longer than the host. The two clocks and the host's own start leave room: half
# as much again is no clock's drift, and ten times too long is far outside.
MOST_OF_HOST = 1.5
# What the device does is most of a run that is long enough to matter (`LONG_ENOUGH`): launches and the wake-up after the
# wait are tens of microseconds. Between that and a clock that shows a tenth lies 0.3.
LEAST_OF_HOST = 0.3
LONG_ENOUGH = 3e-4  # seconds
# Streams that did equal work at the same time: one of N may have had the device for itself and taken an Nth of the others'
# time. A tenth allows for ten streams, and is far from nothing.
LEAST_OF_STREAMS = 0.1


def find_bad_layers(runs: Sequence[Run], layers: int) -> str | None:
    """Return what is wrong with the layers' times: each layer once in each run, finite, none negative, not all zero."""
    if not runs or layers < 1:
        return "nothing was timed"
    first = sorted(name for name, _ in runs[0].layers)
    for run in runs:
        names = sorted(name for name, _ in run.layers)
        if len(names) != layers:
            return f"the profiler was told of {len(names)} layers, the engine has {layers}"
        if names != first:
            return f"two runs name different layers: {sorted(set(names) ^ set(first))[:4]}"
        bad = next(((n, s) for n, s in run.layers if not (math.isfinite(s) and s >= 0)), None)
        if bad is not None:
            return f"layer {bad[0]!r} took {bad[1]:.3g} s"
    if all(run.device_seconds == 0 for run in runs):
        return "every layer took 0 s"
    return None


def find_excess(runs: Sequence[Run]) -> str | None:
    """Return how the device claims more time than the host waited, in each of the runs."""
    ratio = min(run.device_seconds / run.host_seconds for run in runs)
    if ratio > MOST_OF_HOST:
        return f"the layers took {ratio:.3g} times as long as the host waited for them, or longer"
    return None


def is_long_enough(runs: Sequence[Run]) -> bool:
    """Return whether the host waited long enough for its share to say something."""
    return median(run.host_seconds for run in runs) >= LONG_ENOUGH


def find_shortage(runs: Sequence[Run]) -> str | None:
    """Return how little of the host's wait the device accounts for, in each of the runs."""
    ratio = max(run.device_seconds / run.host_seconds for run in runs)
    if ratio < LEAST_OF_HOST:
        wait = median(run.host_seconds for run in runs)
        return f"the layers account for {100 * ratio:.1f} % or less of the {1e3 * wait:.3g} ms that the host waited"
    return None


def find_standstill(runs: Sequence[Run]) -> str | None:
    """Return that a clock gave the same time for every run; a real one moves."""
    times = {run.device_seconds for run in runs}
    if len(times) == 1 and len(runs) > 1:
        return f"{len(runs)} runs took exactly the same {1e6 * times.pop():.6g} microseconds"
    return None


def find_phantom(told: Sequence[tuple[str, float]]) -> str | None:
    """Return that a run that was not enqueued was timed."""
    if told:
        total = 1e6 * sum(seconds for _, seconds in told)
        return (
            f"a run that was not enqueued was reported with {len(told)} layer times, {total:.3g} microseconds"
        )
    return None


def find_unasked(before: LayerTimes, asked: bool, after: LayerTimes, layers: int) -> str | None:
    """Return how a profile came otherwise than it was asked for.

    Parameters
    ----------
    before : tuple of (str, float)
        What the profiler was told by a run with `enqueue_emits_profile` off.
    asked : bool
        What `report_to_profiler` returned after it.
    after : tuple of (str, float)
        What it told.
    layers : int
        How many layers the engine has.
    """
    if before:
        return f"enqueue_emits_profile is off, and the enqueue reported {len(before)} layers"
    if not asked:
        return "report_to_profiler returned False after a run"
    if not after and layers:
        return "report_to_profiler told nothing"
    return None


def find_disturbance(runs: Sequence[Run]) -> str | None:
    """Return that a profiler was told of whole runs while they were timed, or that they took no time."""
    told = sum(len(run.layers) for run in runs)
    if told:
        return f"a profiler was told of {told} layers while whole runs were timed"
    if not runs:
        return "nothing was timed"
    bad = next((run for run in runs if not (math.isfinite(run.host_seconds) and run.host_seconds > 0)), None)
    return None if bad is None else f"a whole run took {bad.host_seconds:.3g} s"


def find_idle_stream(rounds: Sequence[Sequence[Run]]) -> str | None:
    """Return which of several streams that did equal work is not in the times.

    Parameters
    ----------
    rounds : sequence of sequence of Run
        One entry a round, in it one run a stream; ten streams at most.
    """
    streams = len(rounds[0])
    longest = [max(runs[index].device_seconds for runs in rounds) for index in range(streams)]
    shortest = max(min(runs[index].device_seconds for runs in rounds) for index in range(streams))
    idle = min(range(streams), key=longest.__getitem__)
    if longest[idle] <= LEAST_OF_STREAMS * shortest:
        return (
            f"stream {idle + 1} of {streams} took {1e6 * longest[idle]:.3g} microseconds at most, another one"
            f" {1e6 * shortest:.3g} at least, for the same work"
        )
    return None
