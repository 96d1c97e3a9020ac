"""What a runtime's clock tells of one network, and whether equal engines take equal time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.bench import stability, trust
from pytest_trt.bench.clocks import Run, TimedSession, time_together
from pytest_trt.precision import prepare
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.session import Session, load_engine

from ._named import Checked

EQUAL_SPEED = "equal-speed"
CHANNELS, SIZE = 24, 32
# The first batch that keeps the host waiting long enough is taken: a small GPU's, a large one's. A CPU needs no more than one.
BATCHES = (4, 64, 1024)
WARM_UP, ROUNDS, STREAMS = 2, 7, 2


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

    def session(self, batch: int) -> TimedSession:
        session = self.held.enter_context(Session(self.rt, self.engine))
        x = np.random.default_rng(1).standard_normal((batch, CHANNELS, SIZE, SIZE)).astype(np.float32)
        session.run({"x": x})
        timed = TimedSession(session)
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
    modelled = rt.trt.emulated_clock.modelled() if rt.emulated else nullcontext()
    with ExitStack() as held, modelled:
        bench = _Bench(rt, held)
        batch = 1 if rt.emulated else BATCHES[-1]
        sides = (bench.session(batch), bench.session(batch))
        seconds: tuple[list[float], list[float]] = ([], [])
        for pair in range(stability.FEWEST * (1 if rt.emulated else 2)):
            for side in (0, 1) if pair % 2 else (1, 0):  # neither is always the first
                seconds[side].append(sides[side].run().device_seconds)
    return stability.compare(*seconds)
