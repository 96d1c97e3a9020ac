"""Fixtures that time an engine on the device's clock, for pytest-benchmark's table and the report."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.errors import UnreliableWarning, UsageError
from pytest_trt.session import session_of
from pytest_trt.studies import attach

if TYPE_CHECKING:
    from pytest_trt.bench.measure import Measurement
    from pytest_trt.bench.profile import Profile
    from pytest_trt.bench.timer import Rounds

FIXTURE, BENCHMARK = "trt_timer", "benchmark"
PLUGINS = (BENCHMARK, "pytest_benchmark.plugin")  # pytest-benchmark as an entry point, and by -p
INTERVAL_SECONDS = 0.01  # a measurement of 20 rounds takes some 50 ms


class DeviceClock:
    """The timer that pytest-benchmark is given: device seconds, which go on only while a round of runs is timed.

    Its times are those of one run, however many a round has, since a reader of the table asks how long one takes.
    """

    __name__ = "device_seconds_of_one_run"

    def __init__(self) -> None:
        self.rounds: Rounds | None = None

    def __call__(self) -> float:
        """Return the seconds so far."""
        return 0.0 if self.rounds is None else self.rounds.reading


CLOCK = pytest.StashKey[DeviceClock]()


def has_table(config: pytest.Config) -> bool:
    """Return whether pytest-benchmark is at work in a session."""
    return any(map(config.pluginmanager.hasplugin, PLUGINS))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give a test that uses `trt_timer` the fixture of pytest-benchmark, with the device's clock as its timer.

    This is the one way that pytest-benchmark documents for a timer of a single test, and it reads the marker as the fixture is
    made. With the fixture's name among those of the test, `--benchmark-only` and `--benchmark-skip` know it as a benchmark.
    """
    names: list[str] = getattr(item, "fixturenames", [])
    if FIXTURE not in names or not has_table(item.config):
        return
    clock = item.config.stash.setdefault(CLOCK, DeviceClock())
    marker = item.get_closest_marker(BENCHMARK)
    given = {} if marker is None else dict(marker.kwargs)
    if given.get("timer", clock) is not clock:
        raise pytest.UsageError(
            f"{item.nodeid} uses trt_timer, which brings the device's clock: take timer= out of its benchmark marker"
        )
    item.add_marker(pytest.mark.benchmark(**{**given, "timer": clock}), append=False)
    if BENCHMARK not in names:
        names.append(BENCHMARK)


@pytest.fixture
def trt_timer(request: pytest.FixtureRequest) -> Callable[..., Measurement]:
    """Factory: `trt_timer(session, *, batch=None, rounds=20, round_seconds=2e-3, label="")` returns a Measurement.

    Device time of one run of a session that has run once: warmed up, between events, with only enqueues in between, and with
    the outputs of the timed runs held against a run before. The first call of a test is its entry in pytest-benchmark's table
    and files, with `extra_info["trt"]`; later ones only measure. What cannot be relied on is warned of, with reasons.

    The emulator on a CPU computes its times from the work, so that they are the same everywhere: they are not those of a GPU.
    """
    __tracebackhide__ = True
    config = request.config
    session = session_of(config)
    session.need_execution()
    benchmark: Any = request.getfixturevalue(BENCHMARK) if has_table(config) else None
    entered: list[str] = []

    def trt_timer(
        timed: Any,
        *,
        batch: int | None = None,
        rounds: int | None = None,
        round_seconds: float | None = None,
        label: str = "",
    ) -> Measurement:
        __tracebackhide__ = True
        from pytest_trt.bench import measure, timer

        rt = timed.rt
        is_entry = benchmark is not None and not entered
        if is_entry and benchmark.stats is not None:
            raise UsageError(
                "the test has used pytest-benchmark's fixture before trt_timer",
                why="a test has one entry in its table",
                mend="use one of the two in a test",
            )

        def enter(taken: Rounds, count: int) -> None:
            entered.append(label)
            clock = config.stash[CLOCK]
            clock.rounds = taken
            try:
                benchmark.pedantic(taken.take, rounds=count, iterations=1)
            finally:
                clock.rounds = None

        with timer.modelled(rt), timer.watch_device(rt, INTERVAL_SECONDS) as seen:
            found = measure.measure_session(
                timed,
                rounds=measure.ROUNDS if rounds is None else rounds,
                round_seconds=measure.ROUND_SECONDS if round_seconds is None else round_seconds,
                watch=seen,
                hand_over=enter if is_entry else None,
            )
        running = session.running
        told = {
            **found.to_plain(),
            "batch": batch,
            "precision": (running.precision if running is not None else None) or "",
            "runtime": rt.title,
            "gpu": rt.gpu.name,
            "label": label,
        }
        if is_entry:
            benchmark.extra_info["trt"] = told
        attach(session, _section(found, label or request.node.name))
        _warn(found, label or request.node.name)
        return found

    return trt_timer


@pytest.fixture(scope="session")
def trt_profile(pytestconfig: pytest.Config) -> Callable[..., Profile]:
    """Factory: `trt_profile(session, *, runs=10, whole=None, label="")` returns a Profile: where the time of a run goes.

    Seconds of each layer by TensorRT's profiler, held against whole runs without one; `whole` is a Measurement of the same
    session that was made before. It is attached to the report, slowest layers first. What cannot be relied on is warned of.
    """
    __tracebackhide__ = True
    session = session_of(pytestconfig)
    session.need_execution()

    def trt_profile(
        timed: Any, *, runs: int | None = None, whole: Measurement | None = None, label: str = ""
    ) -> Profile:
        __tracebackhide__ = True
        from pytest_trt.bench import profile, timer

        with timer.modelled(timed.rt):
            found = profile.profile_session(timed, runs=profile.RUNS if runs is None else runs, whole=whole)
        title = f"Layers by time: {label}" if label else "Layers by time"
        attach(session, found.section(title))
        _warn(found, label or title)
        return found

    return trt_profile


def _section(found: Measurement, label: str) -> dict[str, Any]:
    """Return a measurement for the report: its numbers, its reasons and its rounds."""
    from pytest_trt.bench.stability import PERCENTILES

    tails = ", ".join(f"{percent} %: {1e6 * found.percentile(percent):.4g}" for percent in PERCENTILES)
    numbers = (
        f"microseconds at {tails}; variation {100 * found.variation:.2g} %; {len(found.seconds)} rounds of"
        f" {found.runs} runs; {found.clock}"
    )
    return {
        "title": f"Device time of one run: {label}",
        "text": [numbers, *(f"unreliable: {reason}" for reason in found.reasons), *found.notes],
        "plot": {
            "kind": "lines",
            "title": f"Rounds of {label}",
            "x": range(1, len(found.seconds) + 1),
            "series": {"microseconds": [1e6 * seconds for seconds in found.seconds]},
        },
    }


def _warn(found: Measurement | Profile, label: str) -> None:
    if not found.reliable:
        words = "; ".join(found.reasons)
        warnings.warn(f"{label}: unreliable times: {words}", UnreliableWarning, stacklevel=3)
