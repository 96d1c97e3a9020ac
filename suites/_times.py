"""What a runtime's clock tells of one network, and whether equal engines take equal time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.bench import stability, trust
from pytest_trt.bench.clocks import Run, TimedSession, time_together
from pytest_trt.bench.measure import count_runs, measure_session
from pytest_trt.bench.profile import LEAST_SHARE, MOST_SHARE, Profile, profile_session
from pytest_trt.bench.timer import CUDA_EVENTS, enqueue, modelled, name_clock
from pytest_trt.errors import ConformanceError
from pytest_trt.precision import prepare
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.events import event_on
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.memory import Stream
from pytest_trt.runtime.session import Session, load_engine

from ._named import Checked

EQUAL_SPEED = "equal-speed"
CHANNELS, SIZE = 24, 32
# The first batch that keeps the host waiting long enough is taken: a small GPU's, a large one's. A CPU needs no more than one.
BATCHES = (4, 64, 1024)
WARM_UP, ROUNDS, STREAMS = 2, 7, 2
# A loop so long that its start and the wake-up behind it, tens of microseconds, are under 0.1 % of it. Events have to tell it
# to 2 % on a GPU. A CPU that plays one is busy with other things as well: there the factors of `trust` are meant.
LOOP_SECONDS, LOOP_SECONDS_ON_CPU = 0.05, 2e-3
LOOP_SHARE = 0.02
# Twice the runs take twice the time: to 10 % on a GPU, where clocks move, and to rounding where times are computed.
TWICE_SHARE, TWICE_SHARE_MODELLED = 0.10, 1e-6
MOST_IDLE = 0.1  # of the time of a block, for a stream that has nothing to do
SUM_SHARE_MODELLED = 1e-6


def network() -> ModelProto:
    """Return a 3 x 3 convolution and a ReLU: enough work to be timed."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["y"], name="relu"),
        ],
        "timed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", CHANNELS, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CHANNELS, SIZE, SIZE])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class _Bench:
    """One engine and timed sessions on it; closes them."""

    def __init__(self, rt: Runtime, held: ExitStack) -> None:
        ready = prepare(network(), "fp32", strong=rt.features.strong_typing)
        low, high = (1, CHANNELS, SIZE, SIZE), (BATCHES[-1], CHANNELS, SIZE, SIZE)
        request = BuildRequest(
            model=ready.model.SerializeToString(),
            strongly_typed=ready.strong,
            flags=ready.flags,
            clear=ready.clear,
            profile={"x": (low, low, high)},
        )
        self.rt, self.held = rt, held
        self.engine = load_engine(rt, build_plan(rt, request))

    def plain_session(self, batch: int) -> Session:
        session = self.held.enter_context(Session(self.rt, self.engine))
        x = np.random.default_rng(1).standard_normal((batch, CHANNELS, SIZE, SIZE)).astype(np.float32)
        session.run({"x": x})
        return session

    def session(self, batch: int) -> TimedSession:
        timed = TimedSession(self.plain_session(batch))
        self.held.callback(timed.close)
        for _ in range(WARM_UP):
            timed.run()
        return timed


def check_clock(rt: Runtime) -> Iterator[Checked]:
    """Yield what holds of the times of any runtime: name of the check, and what is wrong."""
    with ExitStack() as held:
        bench = _Bench(rt, held)
        for batch in BATCHES[: 1 if rt.emulated else None]:
            timed = bench.session(batch)
            runs = [timed.run() for _ in range(ROUNDS)]
            if trust.is_long_enough(runs):
                break
        yield trust.LAYER_TIMES, trust.find_bad_layers(runs, bench.engine.num_layers)
        yield trust.WITHIN_HOST, trust.find_excess(runs)
        yield trust.SHARE_OF_HOST, trust.find_shortage(runs)
        yield trust.NOT_CACHED, trust.find_standstill(runs)
        yield trust.FAILED_UNTIMED, trust.find_phantom(timed.run_in_vain("y"))
        together = [timed, *(bench.session(batch) for _ in range(STREAMS - 1))]
        rounds: list[tuple[Run, ...]] = [time_together(together) for _ in range(ROUNDS // 2)]
        yield trust.EVERY_STREAM, trust.find_idle_stream(rounds)


def check_profile(rt: Runtime) -> Iterator[Checked]:
    """Yield whether a profile comes when it is asked for, and whether whole runs are timed without one."""
    with ExitStack() as held:
        bench = _Bench(rt, held)
        timed = bench.session(BATCHES[0])
        yield trust.WHEN_ASKED, trust.find_unasked(*timed.run_unasked(), bench.engine.num_layers)
        yield trust.PROFILER_OFF, trust.find_disturbance(timed.time_totals(ROUNDS, WARM_UP))


def compare_contexts(rt: Runtime) -> stability.Change:
    """Return how the times of a second context of an engine compare with those of the first, run in turns.

    On the emulator the times follow from the work alone, so that the answer does not depend on the machine.
    """
    with ExitStack() as held, modelled(rt):
        bench = _Bench(rt, held)
        batch = 1 if rt.emulated else BATCHES[-1]
        sides = (bench.session(batch), bench.session(batch))
        seconds: tuple[list[float], list[float]] = ([], [])
        for pair in range(stability.FEWEST * (1 if rt.emulated else 2)):
            for side in (0, 1) if pair % 2 else (1, 0):  # neither is always the first
                seconds[side].append(sides[side].run().device_seconds)
    return stability.compare(*seconds)


def check_events(rt: Runtime) -> Iterator[Checked]:
    """Yield what holds of events around enqueues, and of what a measurement with them writes."""
    with ExitStack() as held:
        bench = _Bench(rt, held)
        session, other = (bench.plain_session(BATCHES[0]) for _ in range(2))
        block = _Block(session, held)
        yield trust.EVENTS_TELL_LOOP, _find_other_loop(block)
        yield trust.IDLE_UNTIMED, _find_busy_idleness(block, other.stream)
        with modelled(rt):
            yield trust.EVENTS_ADD_UP, _find_lost_runs(block)
            yield trust.TIMED_OUTPUTS, _find_other_outputs(other)


def take_profile(rt: Runtime) -> Profile:
    """Return the layers' times of one network and the time of whole runs without a profiler."""
    with ExitStack() as held, modelled(rt):
        bench = _Bench(rt, held)
        batch = BATCHES[0] if name_clock(rt) != CUDA_EVENTS else BATCHES[-1]
        return profile_session(bench.plain_session(batch), runs=ROUNDS)


def check_layer_sum(profile: Profile) -> Iterator[Checked]:
    """Yield whether the layers' times are, together, those of a run without a profiler; where times are computed, exactly."""
    share = profile.share_of_total
    low, high = LEAST_SHARE, MOST_SHARE
    if profile.whole.clock != CUDA_EVENTS:
        low, high = 1 - SUM_SHARE_MODELLED, 1 + SUM_SHARE_MODELLED
    wrong = f"the layers take {100 * share:.4g} % of a run without profiler, not {100 * low:.4g} to {100 * high:.4g} %"
    yield trust.LAYERS_SUM, None if low <= share <= high else wrong


class _Block:
    """Blocks of enqueues on a session's stream, with an event before and one behind."""

    def __init__(self, session: Session, held: ExitStack) -> None:
        self.session, self.rt = session, session.rt
        self.on_gpu = name_clock(session.rt) == CUDA_EVENTS
        self._begin, self._end = (held.enter_context(event_on(session.rt)) for _ in range(2))
        self.runs = 1
        seconds = min(self.take()[0] for _ in range(WARM_UP))
        self.runs = count_runs(seconds, LOOP_SECONDS if self.on_gpu else LOOP_SECONDS_ON_CPU)

    def take(self, runs: int = 0) -> tuple[float, float]:
        """Return device and host seconds of a block."""
        session = self.session
        with session.memory.active():
            began = time.perf_counter()
            self._begin.record(session.stream)
            enqueue(session, runs or self.runs)
            self._end.record(session.stream)
            self._end.synchronize()
            device = self._end.seconds_since(self._begin)
            session.stream.synchronize()
            return device, time.perf_counter() - began

    def take_beside(self, idle: Stream) -> float:
        """Return how far two events on an idle stream are apart, beyond the host's time to enqueue a block in between."""
        session = self.session
        with session.memory.active():
            self._begin.record(idle)
            began = time.perf_counter()
            enqueue(session, self.runs)
            enqueued = time.perf_counter() - began
            self._end.record(idle)
            self._end.synchronize()
            device = self._end.seconds_since(self._begin)
            session.stream.synchronize()
            return device - enqueued


def _first_within(take: Callable[[], float], low: float, high: float) -> tuple[bool, float]:
    """Return whether one of some tries lies within two limits, and the last: what disturbs a try is in it alone."""
    got = math.nan
    for _ in range(ROUNDS):
        got = take()
        if low <= got <= high:
            return True, got
    return False, got


def _find_other_loop(block: _Block) -> str | None:
    """Return how the events around a block differ from the host's time of it, in each try."""

    def share() -> float:
        device, host = block.take()
        return device / host

    low, high = (
        (1 - LOOP_SHARE, 1 + LOOP_SHARE) if block.on_gpu else (trust.LEAST_OF_HOST, trust.MOST_OF_HOST)
    )
    is_fine, got = _first_within(share, low, high)
    if is_fine:
        return None
    return f"the events around {block.runs} enqueues tell {100 * got:.3g} % of the time that the host took for them"


def _find_lost_runs(block: _Block) -> str | None:
    """Return how twice the runs do not take twice the time, in each try."""
    share = TWICE_SHARE if block.on_gpu else TWICE_SHARE_MODELLED

    def ratio() -> float:
        once, twice = block.take()[0], block.take(2 * block.runs)[0]
        return twice / once if once > 0 else math.inf

    is_fine, got = _first_within(ratio, 2 * (1 - share), 2 * (1 + share))
    return None if is_fine else f"twice the runs take {got:.4g} times as long, in the last of {ROUNDS} tries"


def _find_busy_idleness(block: _Block, idle: Stream) -> str | None:
    """Return that a stream without work has its events as far apart as the work of another stream, in each try."""

    def share() -> float:
        whole = block.take()[0]
        return block.take_beside(idle) / whole if whole > 0 else math.inf

    is_fine, got = _first_within(share, -math.inf, MOST_IDLE)
    if is_fine:
        return None
    return f"two events on an idle stream are {100 * got:.3g} % as far apart as those around another stream's work"


def _find_other_outputs(session: Session) -> str | None:
    try:
        measure_session(session, rounds=ROUNDS)
    except ConformanceError as error:
        return "; ".join((error.what, *error.why))
    return None
