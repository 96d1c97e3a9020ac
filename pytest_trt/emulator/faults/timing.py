"""Faults of times: clocks that are wrong, and engines that have become slower.

A profiler is told what the last fault at a `time` site returns, so these change no numbers. The slower ones act from the
second context of an engine on: two that ought to be alike can then be compared in one session.
"""

from __future__ import annotations

from typing import Any

from pytest_trt.emulator.faults.registry import fault

_FIRST_KEPT = 2  # the first runs of a context are longer


@fault("timing", mutants="M31")
def time_ten_times_too_short(site: Any) -> float | None:
    """Report a tenth of the time: the clock is stopped at the launch, long before the end."""
    return site.seconds / 10 if site.kind == "time" and not site.failed else None


@fault("timing", mutants="M31")
def time_ten_times_too_long(site: Any) -> float | None:
    """Report ten times the time, as where the unit is taken for another."""
    return site.seconds * 10 if site.kind == "time" and not site.failed else None


@fault("timing", mutants="M31")
def time_cached(site: Any) -> float | None:
    """Report for each layer the time that its third run took, again and again."""
    if site.kind != "time" or site.failed or site.run_index < _FIRST_KEPT:
        return None
    key = ("time_cached", site.context_id, site.node_name, site.batch)
    return float(site.memory.setdefault(key, site.seconds))


@fault("timing", mutants="M31")
def time_of_failed_enqueue_counted(site: Any) -> float | None:
    """Report a time for each layer of a run that was not enqueued."""
    return 1e-5 if site.kind == "time" and site.failed else None


@fault("timing", mutants="M31")
def time_of_one_stream_as_total(site: Any) -> float | None:
    """Report the time of an engine's first context alone; the others take no time."""
    return 0.0 if site.kind == "time" and site.context_id > 1 else None


@fault("timing", mutants="M31")
def time_of_activation_negative(site: Any) -> float | None:
    """Report a negative time for each Relu: its two stamps are swapped."""
    return -site.seconds if site.kind == "time" and site.op_type == "Relu" else None


@fault("timing", mutants="M31")
def layer_reported_twice(site: Any) -> None:
    """Report the last layer of each run a second time."""
    if site.kind == "profile":
        site.times = [*site.times, *site.times[-1:]]


@fault("timing", mutants="M31")
def layer_not_reported(site: Any) -> None:
    """Leave the last layer of each run out."""
    if site.kind == "profile":
        site.times = site.times[:-1]


@fault("timing", mutants="M31")
def profile_reported_unasked(site: Any) -> None:
    """Report the times with each enqueue, also where they are to be kept until they are asked for."""
    if site.kind == "profile":
        site.emits = True


@fault("timing", mutants="M31")
def profile_a_quarter_too_long(site: Any) -> None:
    """Tell a profiler a quarter more than each layer takes; what a run takes without one is told right."""
    if site.kind == "profile":
        site.times = [(name, 1.25 * milliseconds) for name, milliseconds in site.times]


def _slower(site: Any, factor: float) -> float | None:
    return site.seconds * factor if site.kind == "time" and site.context_id > 1 else None


@fault("timing", mutants="M32")
def five_percent_slower(site: Any) -> float | None:
    """Take 5 % longer from the second context on."""
    return _slower(site, 1.05)


@fault("timing", mutants="M32")
def ten_percent_slower(site: Any) -> float | None:
    """Take 10 % longer from the second context on."""
    return _slower(site, 1.10)


@fault("timing", mutants="M32")
def times_bimodal(site: Any) -> float | None:
    """Take 20 % less or 20 % more, by chance from run to run, from the second context on."""
    if site.kind != "time" or site.context_id < 2:
        return None
    run = (site.context_id, site.run_index)
    last, factor = site.memory.get("times_bimodal", (None, 1.0))
    if last != run:
        factor = float(site.rng.choice([0.8, 1.2]))
        site.memory["times_bimodal"] = (run, factor)
    return float(site.seconds * factor)
