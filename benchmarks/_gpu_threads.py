"""Threads with a context and a stream each: throughput against a loop by hand, and answers under load."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

from _gpu_loops import HandLoop, run_hand_threads
from _gpu_measure import collector_off, runs_for, throughput_ratio
from _gpu_networks import INPUT, draw_input, make_small, make_tiny
from _gpu_setup import Bench, emulator_on, make_subject

from pytest_trt.bench.threads import check_throughput, measure_threads
from pytest_trt.check.concurrent import trials_for
from pytest_trt.check.crosstalk import Hammered, answer_alone, deal, hammer
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.session import Session

COUNTS = (1, 2, 4, 8)
LEAST_RATIO = 0.95
BATCH = 8
CHECKED_RUNS = 20_000
# One run in so many is hit by the fault of this name. Some 7 of the runs that find it but for one time in a thousand are; more
# than so many would be something else: Poisson, below 1e-9.
FAULT = "pytest_trt.emulator.faults:crosstalk_one_in_{}"
RARE, QUICK_RARE = 1000, 8
MOST_PLANTED = 30
HAMMERS = 8


def run(bench: Bench) -> None:
    """Measure throughput at each count of threads, then look for wrong answers, then for planted ones."""
    found: dict[str, Any] = {}
    batch = 2 if bench.quick else BATCH
    deep = make_subject(bench.rt, bench.make_deep(), (batch,))
    small = make_subject(bench.rt, make_small(), (1,))
    for threads in COUNTS:
        one = _compare(bench, "deep", deep.engine, threads, batch, bench.size, in_flight=1)
        found[f"deep, {threads} threads"] = one
    for threads in COUNTS:
        one = _compare(bench, "small", small.engine, threads, 1, 32, in_flight=4)
        found[f"small, {threads} threads"] = one
    found["checked"] = _hammer(bench)
    found["planted"] = _find_planted(bench)
    bench.report.data["threads"] = found


def _compare(
    bench: Bench, network: str, engine: Any, threads: int, batch: int, size: int, in_flight: int
) -> dict[str, Any]:
    """Measure our threads and those by hand in turns: ours, hand, hand, ours and so on."""
    report, rt = bench.report, bench.rt
    feeds = [{INPUT: draw_input(batch, size, seed)} for seed in range(2 * threads)]
    cases = deal(answer_alone(rt, engine, feeds), threads)
    # A measurement of ours makes its contexts anew, which takes a GPU longer than the measurement.
    turns, blocks, length = (2, 1, 0.005) if bench.quick else (3, 5, 0.25)
    ours: list[float] = []
    theirs: list[float] = []
    wrong: list[str] = []
    latency: list[dict[str, Any]] = []
    with rt.active():
        loops = [HandLoop(bench.cuda, engine, feeds[0][INPUT].shape) for _ in range(threads)]
        try:
            for place, loop in enumerate(loops):
                loop.run(feeds[place][INPUT])
            run_hand_threads(loops, 2, in_flight, rt.active)
            once = run_hand_threads(loops, 4, in_flight, rt.active) / 4
            rounds = runs_for(length, once)
            runs = threads * rounds * in_flight

            def measure_ours() -> None:
                measured = measure_threads(
                    rt, engine, cases, rounds=rounds, in_flight=in_flight, blocks=blocks
                )
                ours.extend(block.seconds for block in measured.blocks)
                wrong.extend(f"{name}: {why}" for name, why in check_throughput(measured) if why is not None)
                latency.append(measured.to_plain())

            def measure_hand() -> None:
                run_hand_threads(loops, rounds, in_flight, rt.active)  # warms up, as ours does
                theirs.extend(run_hand_threads(loops, rounds, in_flight, rt.active) for _ in range(blocks))

            with collector_off():
                for turn in range(turns):
                    for part in (measure_ours, measure_hand)[:: -1 if turn % 2 else 1]:
                        part()
        finally:
            for loop in loops:
                loop.close()
    ratio = throughput_ratio(ours, theirs)
    rate = runs / sorted(theirs)[len(theirs) // 2]
    title = f"{network} network, fp16, batch {batch}, {threads} thread{'s' * (threads > 1)}"
    report.say(
        f"{title}, {in_flight} in flight: by hand {rate:.0f} runs a second, ours over it {ratio.told()}; "
        f"{len(wrong)} complaints about answers or counts"
    )
    for line in wrong[:3]:
        report.say(f"  {line}")
    if network == "deep":
        report.want(
            f"throughput over the hand-written loop: {title}",
            f">= {LEAST_RATIO}",
            ratio.told(),
            ratio.middle >= LEAST_RATIO,
            is_time=True,
        )
    report.want(
        f"answers right under the clock: {title}", "all", f"{len(wrong)} wrong", not wrong, is_time=False
    )
    return {
        "hand_seconds": theirs,
        "seconds": ours,
        "runs": runs,
        "ratio": vars(ratio),
        "ours": latency,
    }


def _feeds(count: int, size: int) -> list[dict[str, Any]]:
    return [{INPUT: draw_input(2, size, seed)} for seed in range(count)]


def _hammer_engine(rt: Runtime, engine: Any, feeds: list[dict[str, Any]], runs: int) -> Hammered:
    """Return what threads got of an engine, held against what a lone context of it gave before."""
    cases = deal(answer_alone(rt, engine, feeds), HAMMERS)
    with ExitStack() as held:
        return hammer([held.enter_context(Session(rt, engine)) for _ in range(HAMMERS)], cases, runs)


def _hammer(bench: Bench) -> dict[str, Any]:
    """Run a small network in eight threads, each answer compared."""
    engine = make_subject(bench.rt, make_small(), (2,)).engine
    runs = 400 if bench.quick else CHECKED_RUNS
    began = time.perf_counter()
    told = _hammer_engine(bench.rt, engine, _feeds(2 * HAMMERS, 32), runs)
    seconds = time.perf_counter() - began
    bench.report.say(f"{HAMMERS} threads, small network: {told}, {seconds:.1f} s")
    bench.report.want(
        f"wrong answers in {runs:,} concurrent checked runs",
        "0",
        f"{told.wrong} of {told.runs:,}",
        told.wrong == 0 and told.runs >= runs,
        is_time=False,
    )
    return {"runs": told.runs, "wrong": told.wrong, "first": str(told.first or ""), "seconds": seconds}


def _find_planted(bench: Bench) -> dict[str, Any]:
    """Run an emulator that mixes answers up now and then; it computes on the CPU, from the GPU's buffers."""
    rare = QUICK_RARE if bench.quick else RARE
    runs = trials_for(1 / rare)
    feeds = _feeds(2 * HAMMERS, 8)
    began = time.perf_counter()
    with emulator_on(bench.rt.device, FAULT.format(rare)) as rt:
        engine = make_subject(rt, make_tiny(), (2,)).engine
        told = _hammer_engine(rt, engine, feeds, runs)
        del engine
    seconds = time.perf_counter() - began
    bench.report.say(f"{HAMMERS} threads, a cross-talk of 1 in {rare:,} planted: {told}, {seconds:.1f} s")
    bench.report.want(
        f"planted cross-talk of 1 in {rare:,} found in {runs:,} runs",
        f"1 to {MOST_PLANTED}",
        f"{told.wrong} of {told.runs:,}",
        1 <= told.wrong <= MOST_PLANTED,
        is_time=False,
    )
    return {"runs": told.runs, "wrong": told.wrong, "first": str(told.first or ""), "seconds": seconds}
