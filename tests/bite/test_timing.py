"""Benchmarks that lie (M31): each way has a subject here, and one check by name that catches it."""

from __future__ import annotations

import pytest

from pytest_trt.bench import trust
from pytest_trt.bench.measure import measure_session
from pytest_trt.bench.profile import profile_session
from pytest_trt.bench.timer import modelled
from pytest_trt.emulator.streams import Streams
from pytest_trt.errors import ConformanceError, ExecutionError
from suites import _bench_latency, _times
from tests.bite.test_builds_and_timing import broken, runtime
from tests.unit.bench.timed import start

OWN = "tests.bite.timing_faults:"
SLOWEST = "tensorrt-8.6.1", "tensorrt-10.13", "tensorrt-11.4", "tensorrt_rtx-1.7"


# Clocks that lie, put in the place of the emulated device's.


def scale(factor):
    """Events tell a multiple of the host's time; a small one is that of a clock which does not wait for the work."""

    def apply(monkeypatch):
        real = Streams.seconds_between

        def seconds(self, earlier, later):
            return real(self, earlier, later) * (1 if self._stamps[later].is_modelled else factor)

        monkeypatch.setattr(Streams, "seconds_between", seconds)

    return apply


def count_one_run(monkeypatch):
    """Modelled events tell one block for any number of runs: a cached answer, or the last run alone."""
    real, longest = Streams.seconds_between, []

    def seconds(self, earlier, later):
        told = real(self, earlier, later)
        if not self._stamps[later].is_modelled:
            return told
        longest.append(told)
        return longest[0]

    monkeypatch.setattr(Streams, "seconds_between", seconds)


def wait_for_all(monkeypatch):
    """Each event waits for a stream that has work, whatever stream it was recorded on."""
    real = Streams.record_event

    def record(self, handle, stream):
        busy = [other for other in tuple(self._streams) if not self.is_idle(other)]
        real(self, handle, *busy[:1] or [stream])
        if not busy:
            self.synchronize(stream)  # it fires at once, since there is nothing to wait for

    monkeypatch.setattr(Streams, "record_event", record)


CLOCKS = {
    "without waiting": (scale(0.2), trust.EVENTS_TELL_LOOP),
    "another unit": (scale(1000.0), trust.EVENTS_TELL_LOOP),
    "one run for all": (count_one_run, trust.EVENTS_ADD_UP),
    "all streams in each": (wait_for_all, trust.IDLE_UNTIMED),
}


@pytest.mark.parametrize("name", CLOCKS)
def test_events_that_lie_are_caught_by_their_own_check_alone(name, monkeypatch):
    lie, check = CLOCKS[name]
    rt = runtime()
    lie(monkeypatch)
    assert broken(_times.check_events(rt)) == {check}


@pytest.mark.parametrize("fault", ["nothing_written_after_many_runs", "other_bits_after_many_runs"])
def test_timed_runs_that_do_other_work_are_caught_by_their_outputs_alone(fault):
    rows = list(_times.check_events(runtime(OWN + fault)))
    assert broken(rows) == {trust.TIMED_OUTPUTS}
    note = next(note for check, note in rows if check == trust.TIMED_OUTPUTS)
    assert note.startswith("output 'y' of the timed runs is not that of the run before them; ")


def test_every_check_of_events_has_its_subject():
    checks = {check for check, _ in _times.check_events(runtime())}
    assert checks == {*(check for _, check in CLOCKS.values()), trust.TIMED_OUTPUTS}


def test_a_profile_that_is_too_long_is_caught_by_the_sum_alone(request):
    rt = runtime("profile_a_quarter_too_long")
    rows = list(_times.check_layer_sum(_times.take_profile(rt)))
    assert rows == [
        (
            trust.LAYERS_SUM,
            "the layers take 125 % of a run without profiler, not 100 to 100 %",
        )
    ]
    assert broken(_times.check_events(rt)) == set()
    assert _times.compare_contexts(rt).verdict == "same"


@pytest.mark.parametrize("emulate", SLOWEST)
def test_honest_events_and_layers_pass(emulate):
    rt = runtime(emulate=emulate)
    assert broken(_times.check_events(rt)) == set()
    assert broken(_times.check_layer_sum(_times.take_profile(rt))) == set()


# The measurement itself.


@pytest.fixture
def session():
    with start() as session:
        yield session


def test_a_clock_that_does_not_wait_contradicts_the_host(session, monkeypatch):
    scale(0.2)(monkeypatch)
    (reason,) = measure_session(session).contradictions
    assert "% or less of the" in reason and reason.startswith("the events account for")


def test_a_clock_in_another_unit_contradicts_the_host(session, monkeypatch):
    scale(1000.0)(monkeypatch)
    reason = measure_session(session).contradictions[0]
    assert reason.startswith("the events tell") and reason.endswith("as long as the host waited, or longer")


def test_a_clock_that_stands_still_is_caught(session, monkeypatch):
    monkeypatch.setattr(Streams, "seconds_between", lambda self, earlier, later: 1e-3)
    assert "the clock stands still: 20 rounds took exactly the same time" in measure_session(session).reasons


@pytest.mark.parametrize("seconds", [0.0, -1e-3, float("nan")])
def test_a_time_that_is_none_is_caught(session, monkeypatch, seconds):
    monkeypatch.setattr(Streams, "seconds_between", lambda self, earlier, later: seconds)
    found = measure_session(session)
    assert found.contradictions == ("a time is missing, zero, negative or no number",) and not found.reliable


def test_the_latency_of_one_stream_is_not_the_total_of_another(session, monkeypatch):
    """Events on a stream that does less: the host waited for more than they tell."""
    idle = session.memory.create_stream()
    real = Streams.record_event
    monkeypatch.setattr(Streams, "record_event", lambda self, handle, stream: real(self, handle, idle.handle))
    reasons = measure_session(session, rounds=4, round_seconds=1e-4).contradictions
    assert any(reason.startswith("the events account for") for reason in reasons)
    session.memory.destroy_stream(idle)


def test_an_enqueue_that_failed_is_an_error_and_not_counted(session, monkeypatch):
    context, left = type(session.context), [12]
    real = context.execute_async_v3

    def fail_later(self, handle):
        left[0] -= 1
        return left[0] > 0 and real(self, handle)

    monkeypatch.setattr(context, "execute_async_v3", fail_later)
    with pytest.raises(ExecutionError, match="did not enqueue the engine"):
        measure_session(session)


def test_an_enqueue_that_only_says_it_ran_is_an_error(session, monkeypatch):
    """The cached result: the answer is there, so nothing is done. The outputs were overwritten before, and stay so."""
    context, left = type(session.context), [1]
    real = context.execute_async_v3

    def skip_later(self, handle):
        left[0] -= 1
        return True if left[0] < 0 else real(self, handle)

    monkeypatch.setattr(context, "execute_async_v3", skip_later)
    with pytest.raises(ConformanceError, match="output 'y' of the timed runs is not that of the run before"):
        measure_session(session)


def test_outputs_that_no_run_writes_are_not_taken_for_equal(session, monkeypatch):
    """Each run says that it ran, the one before the timed ones as well: what was in the buffers differs."""
    monkeypatch.setattr(type(session.context), "execute_async_v3", lambda self, handle: True)
    with pytest.raises(ConformanceError, match="output 'y' of the timed runs is not that of the run before"):
        measure_session(session, rounds=2, round_seconds=1e-6)


def test_a_session_that_tells_the_truth_contradicts_nothing(session):
    assert measure_session(session).contradictions == ()
    with modelled(session.rt):
        assert measure_session(session).reliable


# The suite of latencies.


def test_latency_fails_on_what_contradicts_itself_and_on_layers_that_do_not_sum_up(session, monkeypatch):
    with modelled(session.rt):
        found, profile = measure_session(session), profile_session(session)
        assert broken(_bench_latency.check_latency(found, profile)) == set()
        rows = {check for check, _ in _bench_latency.check_latency(found, profile)}
    assert rows == {_bench_latency.CLOCK, trust.LAYERS_SUM}
    with (
        start(faults=("pytest_trt.emulator.faults:profile_a_quarter_too_long",)) as other,
        modelled(other.rt),
    ):
        wrong = profile_session(other)
        assert broken(_bench_latency.check_latency(wrong.whole, wrong)) == {trust.LAYERS_SUM}
    monkeypatch.setattr(Streams, "seconds_between", lambda self, earlier, later: -1.0)
    with modelled(session.rt):
        assert broken(_bench_latency.check_latency(measure_session(session), profile)) == {
            _bench_latency.CLOCK
        }


def test_the_networks_of_the_latencies_are_what_they_say():
    made = {name: len(model.graph.node) for name, model in _bench_latency.networks().items()}
    assert made == {"simple": 2, "deep": 2 * _bench_latency.DEEP_LAYERS}
