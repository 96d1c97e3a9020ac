"""Event time of a run against a loop of 1,000 runs divided by their count, with the GPU watched meanwhile."""

from __future__ import annotations

import time
from statistics import mean, median

from _gpu_loops import HandLoop
from _gpu_networks import INPUT, draw_input
from _gpu_setup import Bench, make_subject

from pytest_trt.bench.measure import measure_session
from pytest_trt.bench.timer import watch_device
from pytest_trt.hardware.telemetry import Watch
from pytest_trt.hardware.throttle import name_reasons
from pytest_trt.runtime.session import Session

ITERATIONS = 1000
MOST_APART = 0.02
# A round so long that the run that goes ahead of the first event and the last kernel's tail are small against it.
ROUND_SECONDS = 0.05


def run(bench: Bench) -> None:
    """Measure the deep network in all batches."""
    report = bench.report
    subject = make_subject(bench.rt, bench.make_deep(), bench.batches)
    iterations = 20 if bench.quick else ITERATIONS
    found = {}
    with watch_device(bench.rt) as watched:
        for batch in bench.batches:
            found[str(batch)] = _measure(bench, watched, subject.engine, batch, iterations)
    telemetry = watched.take()
    report.say(f"telemetry by {telemetry.source or 'nobody'} {telemetry.title} {telemetry.why}".rstrip())
    spans = (
        ("SM clock, MHz", telemetry.sm_mhz),
        ("memory clock, MHz", telemetry.memory_mhz),
        ("power, W", telemetry.power_watts),
        ("temperature, C", telemetry.temperature_celsius),
        ("utilisation, %", telemetry.utilization_percent),
    )
    for name, span in spans:
        told = "not told" if span is None else f"{span.low:g} to {span.high:g}, middle {span.middle:g}"
        report.say(f"  {name:<18} {told}")
    report.say(f"  clock reasons      {', '.join(name_reasons(telemetry.reasons)) or 'none'}")
    report.say(f"  samples            {len(telemetry.samples)}")
    for reason in telemetry.unreliable:
        report.say(f"  unreliable: {reason}")
    report.want(
        "telemetry shows clocks and power during the run",
        "both",
        f"{len(telemetry.samples)} samples by {telemetry.source or 'nobody'}",
        telemetry.sm_mhz is not None and telemetry.power_watts is not None,
        is_time=True,
    )
    report.data["clock"] = {"batches": found, "telemetry": telemetry.to_plain()}


def _measure(bench: Bench, watched: Watch, engine: object, batch: int, iterations: int) -> dict[str, object]:
    """Measure one batch: events, loop, loop, events."""
    report = bench.report
    x = draw_input(batch, bench.size)
    rounds, length = (4, 0.002) if bench.quick else (20, ROUND_SECONDS)
    with Session(bench.rt, engine) as session, bench.rt.active():
        session.run({INPUT: x})
        hand = HandLoop(bench.cuda, engine, x.shape)
        try:
            hand.run(x)
            first = measure_session(session, rounds=rounds, round_seconds=length, watch=watched)
            loops = [_loop(hand, iterations) for _ in range(2)]
            second = measure_session(session, rounds=rounds, round_seconds=length, watch=watched)
        finally:
            hand.close()
    seconds = (*first.seconds, *second.seconds)
    events = median(seconds)
    loop = mean(loops)
    apart = events / loop - 1
    report.say(
        f"deep network, fp16, batch {batch}: {1e6 * events / batch:.2f} us a frame by {first.clock} ({first.runs} runs a round), "
        f"{1e6 * loop / batch:.2f} us by {iterations} runs divided by their count: {100 * apart:+.2f} %"
    )
    report.say(
        f"  mean of the rounds {1e6 * mean(seconds) / batch:.2f} us a frame, {100 * (mean(seconds) / loop - 1):+.2f} %"
    )
    for reason in dict.fromkeys((*first.reasons, *first.notes, *second.reasons)):
        report.say(f"  said of it: {reason}")
    report.want(
        f"event time of a frame against {iterations} runs by the host's clock, batch {batch}",
        f"within {100 * MOST_APART:.0f} %",
        f"{100 * apart:+.2f} %",
        abs(apart) <= MOST_APART,
        is_time=True,
    )
    return {
        "events": [first.to_plain(), second.to_plain()],
        "loop_seconds": loops,
        "iterations": iterations,
        "apart": apart,
    }


def _loop(hand: HandLoop, iterations: int) -> float:
    """Return the seconds of a run: enqueued so many times, waited for once, divided by their count."""
    hand.enqueue(3)
    hand.stream.synchronize()
    began = time.perf_counter()
    hand.enqueue(iterations)
    hand.stream.synchronize()
    return (time.perf_counter() - began) / iterations
