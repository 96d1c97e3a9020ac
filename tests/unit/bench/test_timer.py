"""Device time between events: as pytest-benchmark's timer, and in rounds."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_trt.bench import timer
from pytest_trt.bench.timer import CUDA_EVENTS, HOST, MODELLED, EventTimer, Rounds, name_clock
from pytest_trt.errors import ExecutionError
from tests.unit.bench.timed import start


@pytest.fixture
def session():
    with start() as session:
        yield session


def modelled_run(session):
    """Return the modelled seconds of one run."""
    with session.rt.trt.emulated_clock.modelled(), Rounds(session) as rounds:
        return rounds.take()


def test_the_timer_adds_up_what_lies_between_its_calls(session):
    one = modelled_run(session)
    with session.rt.trt.emulated_clock.modelled(), EventTimer(session.rt, session.stream) as clock:
        assert clock() == 0.0
        session.launch(3)
        assert clock() == pytest.approx(3 * one)
        assert clock() == pytest.approx(3 * one)
        session.launch(2)
        assert clock() == pytest.approx(5 * one)


def test_the_timer_waits_for_the_work_and_uses_two_events(session, monkeypatch):
    made = []
    real = timer.open_event
    monkeypatch.setattr(timer, "open_event", lambda rt: made.append(real(rt)) or made[-1])
    with EventTimer(session.rt, session.stream) as clock:
        readings = [clock()]
        for _ in range(4):
            session.launch()
            readings.append(clock())
            assert session.rt.trt.emulated_streams.is_idle(session.stream.handle)
    assert readings == sorted(readings) and readings[1] > 0
    assert len(made) == 2
    assert not any(session.rt.trt.emulated_streams.is_event(event.handle) for event in made)


def test_a_timer_that_is_closed_unused_is_fine(session):
    EventTimer(session.rt, session.stream).close()


def test_short_steps_are_not_lost_against_a_long_past(session, monkeypatch):
    """A float32 of milliseconds has steps of 8 microseconds after 100 seconds: steps are told, not the way from the start."""
    clock = EventTimer(session.rt, session.stream)
    clock()
    clock._seconds = 100.0
    monkeypatch.setattr(type(clock._last), "seconds_since", lambda self, earlier: 1e-6)
    assert [clock(), clock()] == pytest.approx([100.000001, 100.000002], abs=1e-9)
    clock.close()


def test_only_enqueues_lie_between_the_events(session, monkeypatch):
    told = []
    context, event = type(session.context), type(timer.open_event(session.rt))
    real_run, real_record = context.execute_async_v3, event.record
    monkeypatch.setattr(
        context, "execute_async_v3", lambda self, handle: told.append("run") or real_run(self, handle)
    )
    monkeypatch.setattr(
        event, "record", lambda self, stream: told.append("event") or real_record(self, stream)
    )
    for call in ("alloc", "free", "poison", "upload", "download"):
        monkeypatch.setattr(type(session.memory), call, None)  # a call would raise
    with Rounds(session, runs=3) as rounds:
        rounds.take()
    assert told == ["event", "run", "run", "run", "event"]


def test_rounds_tell_the_time_of_one_run(session):
    one = modelled_run(session)
    with session.rt.trt.emulated_clock.modelled(), Rounds(session, runs=4) as rounds:
        assert [rounds.take(), rounds.take()] == pytest.approx([one, one])
        assert rounds.reading == pytest.approx(2 * one)
        assert len(rounds.waits) == len(rounds.enqueues) == 2
        assert all(0 < enqueue < wait for enqueue, wait in zip(rounds.enqueues, rounds.waits, strict=True))
        rounds.forget()
        assert rounds.seconds == rounds.waits == rounds.enqueues == [] and rounds.reading == 0


def test_on_a_gpu_a_run_goes_ahead_of_the_first_event(session, monkeypatch):
    monkeypatch.setattr(timer, "name_clock", lambda rt: CUDA_EVENTS)
    one = modelled_run(session)
    with session.rt.trt.emulated_clock.modelled(), Rounds(session, runs=2) as rounds:
        told = []
        real = type(session.context).execute_async_v3
        monkeypatch.setattr(
            type(session.context),
            "execute_async_v3",
            lambda self, handle: told.append(handle) or real(self, handle),
        )
        assert rounds.take() == pytest.approx(one)
    assert len(told) == 3


def test_a_run_that_is_not_enqueued_is_an_error_and_no_round(session, monkeypatch):
    monkeypatch.setattr(type(session.context), "execute_async_v3", lambda self, handle: False)
    with Rounds(session) as rounds, pytest.raises(ExecutionError, match="returned False"):
        rounds.take()
    assert rounds.seconds == []


@pytest.mark.parametrize(
    ("device", "bus", "ordinal"),
    [("cuda:1", "0000:5D:00.0", 1), ("cuda:0", None, 0), ("cpu", None, None)],
)
def test_the_gpu_is_watched_by_its_place_on_the_bus(monkeypatch, device, bus, ordinal):
    """GPUs of several kinds have an order of CUDA's and one of the bus: an ordinal alone says nothing there."""
    told = []
    monkeypatch.setattr(timer, "watch", lambda *given, **named: told.append((given, named)))
    memory = SimpleNamespace() if bus is None else SimpleNamespace(pci_bus_id=bus)
    timer.watch_device(SimpleNamespace(device=device, memory=memory), 0.5)
    assert told == [((ordinal, 0.5), {"pci_bus_id": bus or ""})]


def test_the_clock_has_a_name(session):
    rt = session.rt
    assert name_clock(rt) == HOST and 0 < timer.resolve(HOST) < 1e-3
    with timer.modelled(rt):
        assert name_clock(rt) == MODELLED and timer.resolve(MODELLED) == 0
    gpu = SimpleNamespace(emulated=True, trt=SimpleNamespace())
    assert name_clock(gpu) == name_clock(SimpleNamespace(emulated=False)) == CUDA_EVENTS
    assert timer.resolve(CUDA_EVENTS) == 0.5e-6
    with timer.modelled(gpu):  # changes nothing there
        assert name_clock(gpu) == CUDA_EVENTS
