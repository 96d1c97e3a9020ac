"""Our session against loops written by hand, on one engine, measured alternately."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from _gpu_loops import Array, BareLoop, HandLoop
from _gpu_measure import alternate, difference, runs_for, throughput_ratio
from _gpu_networks import INPUT, OUTPUT, draw_input, make_small
from _gpu_setup import Bench, lowered_model, make_subject

from pytest_trt.emulator.program import session_options
from pytest_trt.runtime.session import Session

LEAST_RATIO = 0.97  # of the hand-written loop's throughput
MOST_OVERHEAD = 15e-6  # seconds of the host more than the hand-written loop, for each enqueue at batch 1
# So few that the queue of launches of a GPU, about a thousand, does not fill: the host would wait for the GPU then.
ENQUEUES_AHEAD = 4


@dataclass(frozen=True)
class Loops:
    """Who is compared on one engine: our session, a loop by hand, another one as a control, and ONNX Runtime alone."""

    session: Session
    hand: HandLoop
    second: HandLoop
    bare: BareLoop

    @property
    def others(self) -> tuple[HandLoop | BareLoop, ...]:
        """All but the session, in the order in which they are told."""
        return (self.hand, self.second, self.bare)


def run(bench: Bench) -> None:
    """Measure the deep network in all batches and the small one in the first."""
    subject = make_subject(bench.rt, bench.make_deep(), bench.batches)
    for batch in bench.batches:
        _measure(bench, "deep", subject.engine, draw_input(batch, bench.size))
    small = make_subject(bench.rt, make_small(), bench.batches)
    _measure(bench, "small", small.engine, draw_input(1, 32))


def _measure(bench: Bench, network: str, engine: Any, x: Array) -> None:
    """Measure one network at one batch."""
    report, batch = bench.report, len(x)
    with Session(bench.rt, engine) as session, bench.rt.active():
        want = session.run({INPUT: x})[OUTPUT]
        hand, second = (HandLoop(bench.cuda, engine, x.shape) for _ in range(2))
        bare = BareLoop(
            bench.cuda, lowered_model(engine), x.shape, want.shape, bench.ordinal, session_options()
        )
        loops = Loops(session, hand, second, bare)
        try:
            for name, loop in zip(("hand", "hand again", "bare"), loops.others, strict=True):
                _demand_same(f"{network}, batch {batch}, {name}", loop.run(x), want)
            title = f"{network} network, fp16, batch {batch}"
            found = {
                "enqueue": _compare_enqueues(bench, title, batch, loops),
                "whole": _compare_whole_runs(bench, title, batch, loops, x),
            }
            if batch == 1:
                found["host"] = _compare_hosts(bench, title, loops)
            report.data.setdefault("session", {})[f"{network}, batch {batch}"] = found
        finally:
            for loop in loops.others:
                loop.close()


def _demand_same(who: str, got: Array, want: Array) -> None:
    """Raise `RuntimeError` where a loop computes something else than the session does."""
    if got.tobytes() == want.tobytes():
        return
    worst = float(np.max(np.abs(got - want)))
    if not worst <= 1e-2 * float(np.max(np.abs(want))):
        raise RuntimeError(f"{who} gives other outputs than the session: they differ by up to {worst:.3g}")


def _timed(work: Callable[[], Any], wait: Callable[[], Any], runs: int) -> Callable[[], float]:
    """Return what tells the seconds of a run, from a block of them that ends when the stream is idle."""

    def block() -> float:
        began = time.perf_counter()
        work()
        wait()
        return (time.perf_counter() - began) / runs

    return block


def _block_length(bench: Bench, one: Callable[[], Any], wait: Callable[[], Any]) -> int:
    """Return how many runs make a block, after some that warm up."""
    seconds = min(_timed(one, wait, 1)() for _ in range(3 if bench.quick else 20))
    return runs_for(0.002 if bench.quick else 0.04, seconds)


def _compare_enqueues(bench: Bench, title: str, batch: int, loops: Loops) -> dict[str, Any]:
    """Compare loops that only enqueue, and wait at the end of a block."""
    session, hand = loops.session, loops.hand
    runs = _block_length(bench, lambda: hand.enqueue(1), hand.stream.synchronize)

    def launch() -> None:
        for _ in range(runs):
            session.launch()

    ours = _timed(launch, session.stream.synchronize, runs)
    theirs = [_timed(partial(one.enqueue, runs), one.stream.synchronize, runs) for one in loops.others]
    return _tell(bench, f"{title}, enqueue only", batch, runs, ours, *theirs)


def _compare_whole_runs(bench: Bench, title: str, batch: int, loops: Loops, x: Array) -> dict[str, Any]:
    """Compare runs from an array to an array: upload, run, download, wait; ours poisons, guards and checks besides."""
    runs = _block_length(bench, lambda: loops.hand.run(x), lambda: None)
    feeds = {INPUT: x}

    def repeat(one: Callable[[Any], Any], given: Any) -> Callable[[], float]:
        def work() -> None:
            for _ in range(runs):
                one(given)

        return _timed(work, lambda: None, runs)

    theirs = [repeat(one.run, x) for one in loops.others]
    return _tell(bench, f"{title}, whole run", batch, runs, repeat(loops.session.run, feeds), *theirs)


def _tell(
    bench: Bench,
    title: str,
    batch: int,
    runs: int,
    ours: Callable[[], float],
    hand: Callable[[], float],
    second: Callable[[], float],
    bare: Callable[[], float],
) -> dict[str, Any]:
    """Measure, print, want, and return what was found as plain data."""
    pairs = 6 if bench.quick else 40
    for loop in (ours, hand, second, bare):
        loop()
    session_seconds, hand_seconds = alternate(ours, hand, pairs)
    ratio = throughput_ratio(session_seconds, hand_seconds)
    control = throughput_ratio(*alternate(second, hand, pairs))
    alone = throughput_ratio(*alternate(bare, hand, pairs))
    micro = 1e6 * sorted(hand_seconds)[len(hand_seconds) // 2]
    say = bench.report.say
    say(f"{title}: by hand {micro:.1f} us a run, {micro / batch:.2f} us a frame, blocks of {runs} runs")
    say(f"  session over hand-written loop, throughput   {ratio.told()}")
    say(f"  one hand-written loop over another one       {control.told()}")
    say(f"  ONNX Runtime alone over hand-written loop    {alone.told()}")
    if batch > 1:
        bench.report.want(
            f"throughput over the hand-written loop: {title}",
            f">= {LEAST_RATIO}",
            ratio.told(),
            ratio.middle >= LEAST_RATIO,
            is_time=True,
        )
    return {
        "runs": runs,
        "hand_seconds": hand_seconds,
        "session_seconds": session_seconds,
        "ratio": vars(ratio),
        "control": vars(control),
        "bare": vars(alone),
    }


def _compare_hosts(bench: Bench, title: str, loops: Loops) -> dict[str, Any]:
    """Compare what an enqueue costs the host, whatever the GPU does meanwhile."""

    def timed(enqueue: Callable[[], None], wait: Callable[[], None]) -> Callable[[], float]:
        def block() -> float:
            wait()
            began = time.perf_counter()
            for _ in range(ENQUEUES_AHEAD):
                enqueue()
            seconds = (time.perf_counter() - began) / ENQUEUES_AHEAD
            wait()
            return seconds

        return block

    pairs = 10 if bench.quick else 400
    ours = timed(loops.session.launch, loops.session.stream.synchronize)
    theirs = [timed(_enqueue_once(one), one.stream.synchronize) for one in loops.others]
    ours_seconds, hand_seconds = alternate(ours, theirs[0], pairs)
    more = difference(ours_seconds, hand_seconds)
    control = difference(*alternate(theirs[1], theirs[0], pairs))
    alone = difference(*alternate(theirs[2], theirs[0], pairs))
    say = bench.report.say
    middle = 1e6 * sorted(hand_seconds)[len(hand_seconds) // 2]
    say(f"{title}: host time of an enqueue by hand {middle:.1f} us, blocks of {ENQUEUES_AHEAD}")
    say(f"  session more than hand-written loop, us          {more.told(1e6, 2)}")
    say(f"  one hand-written loop more than another one, us  {control.told(1e6, 2)}")
    say(f"  ONNX Runtime alone more than hand-written, us    {alone.told(1e6, 2)}")
    bench.report.want(
        f"host overhead of an enqueue, us: {title}",
        f"<= {1e6 * MOST_OVERHEAD:.0f}",
        more.told(1e6, 2),
        more.middle <= MOST_OVERHEAD,
        is_time=True,
        is_told=(more.high - more.low) / 2 <= MOST_OVERHEAD,
    )
    return {
        "hand_seconds": hand_seconds,
        "session_seconds": ours_seconds,
        "more": vars(more),
        "control": vars(control),
        "bare": vars(alone),
    }


def _enqueue_once(loop: HandLoop | BareLoop) -> Callable[[], None]:
    """Return the bare call that enqueues a run, as a loop would hold it."""
    if isinstance(loop, BareLoop):
        run, binding, options = loop.session.run_with_iobinding, loop.binding, loop.options
        return lambda: run(binding, options)
    execute, handle = loop.context.execute_async_v3, loop.stream.handle

    def enqueue() -> None:
        if not execute(handle):
            raise RuntimeError("execute_async_v3 returned False")

    return enqueue
