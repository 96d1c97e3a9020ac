"""Batch scaling: each check of a curve has a device or a clock that it catches, and only it; honest curves pass.

The curves are those of the suite, on the modelled device of the emulator, so that what is right can be worked out by hand.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_trt.bench.batch import BROKEN, FALLS, FLAT, HOLDS, OWN, POSSIBLE, UNRELIABLE, Shares
from pytest_trt.bench.timer import CUDA_EVENTS
from pytest_trt.check.relations import BATCH_ONE
from pytest_trt.check.workbench import Workbench
from pytest_trt.emulator import clock
from pytest_trt.numerics.bounds import Bound
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from suites import _bench_batch as suite

HERE = "tests.bite.test_batch_scaling:"
SOURCE = Path(__file__).parents[2] / "benchmarks" / "batch_curves.py"
WAVE = (
    clock.OUTPUTS_PER_WAVE * 288 / clock.MULTIPLICATIONS_PER_SECOND
)  # 32 channels by a 3 x 3 kernel, in float32


def study(*names, precision="fp32", net="simple", limit=32, known=None, **settings):
    """Return the curve of a network with faults, and the names of the checks that do not hold."""
    made = Settings(runtime="emulator", gpu="a100", faults=names, **settings)
    bench = Workbench(made, discover(made))
    curve, answers = suite.study(bench, suite.network(net, bench.executor), precision, limit, known)
    rows = (*answers, *curve.judge().rows)
    return curve, {check for check, note in rows if note is not None}, {check for check, _ in rows}


def of_run(site):
    return site.kind == "time" and not site.failed


# Devices and clocks that are wrong.


def slower_for_each_frame(site):
    """A frame takes 15 % more with each doubling of the batch (M32)."""
    return site.seconds * 1.15 ** np.log2(site.batch) if of_run(site) and site.batch > 8 else None


def slow_at_batch_four(site):
    """One batch of those that do not fill the device takes three times as long."""
    return site.seconds * 3 if of_run(site) and site.batch == 4 else None


def slow_at_batch_sixteen(site):
    """One batch of those that do takes three times as long."""
    return site.seconds * 3 if of_run(site) and site.batch == 16 else None


def first_time_for_all(site):
    """The time of the first batch is told of all (M31)."""
    return site.memory.setdefault(("first", site.node_name), site.seconds) if of_run(site) else None


def two_modes(site):
    """Every other run takes half as long again (M32)."""
    return site.seconds * 1.5 if of_run(site) and site.run_index % 2 else None


def large_batches_change(site):
    """The last row of large batches is another one's."""
    if site.kind == "execute" and site.batch > 8:
        for values in site.outputs.values():
            values[-1] = 0


def every_answer_wrong(site):
    """All values are 1 % too large, whatever the batch."""
    if site.kind == "execute":
        for values in site.outputs.values():
            values *= 1.01


WRONG = {
    HERE + "slower_for_each_frame": FLAT,
    HERE + "slow_at_batch_four": FALLS,
    HERE + "slow_at_batch_sixteen": FLAT,
    HERE + "first_time_for_all": POSSIBLE,
    "pytest_trt.emulator.faults:time_ten_times_too_short": POSSIBLE,
    HERE + "large_batches_change": BATCH_ONE,
    HERE + "every_answer_wrong": suite.WITHIN,
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_caught_by_its_own_check_alone(name):
    curve, broken, _ = study(name)
    assert broken == {WRONG[name]}
    assert curve.judge().verdict == (HOLDS if WRONG[name] in (BATCH_ONE, suite.WITHIN) else BROKEN)


def test_a_time_that_was_kept_from_another_batch_is_caught_by_its_own_check_alone(monkeypatch):
    """A real clock's times move from round to round; one batch is given those of the batch before it."""
    rng, real, kept = np.random.default_rng(0), suite.Opened.measure, []

    def measure(self, session):
        found = real(self, session)
        moved = tuple(float(found.median_seconds * (1 + rng.uniform(0, 0.01))) for _ in range(20))
        kept.append(replace(found, seconds=moved, clock=CUDA_EVENTS, runs=1000, waits=()))
        return kept[0] if len(kept) == 2 else kept[-1]

    monkeypatch.setattr(suite.Opened, "measure", measure)
    curve, broken, checks = study()
    assert broken == {OWN} and curve.shares == Shares()
    assert checks == {*WRONG.values(), OWN}


def test_times_that_cannot_be_relied_on_neither_pass_nor_fail():
    curve, broken, checks = study(HERE + "two_modes")
    judged = curve.judge()
    assert judged.verdict == UNRELIABLE and broken == set() and checks == {BATCH_ONE, suite.WITHIN}
    assert judged.reasons[0] == "0 reliable points of 6, fewer than 3"
    assert "batch 1 is left out: times vary by" in judged.reasons[1]
    assert "not warm" in judged.reasons[1]


# What is right.


@pytest.mark.parametrize(
    "emulate",
    [
        "tensorrt-8.6.1",
        "tensorrt-10.0",
        "tensorrt-10.13",
        "tensorrt-10.16",
        "tensorrt-11.4",
        "tensorrt_rtx-1.7",
    ],
)
def test_the_simple_network_fills_the_device_at_eight_frames(emulate):
    """2,048 outputs a frame, and 16,384 at once: up to 8 frames take one wave, 16 take two."""
    curve, broken, checks = study(emulate=emulate)
    assert broken == set() and checks == set(WRONG.values()) | {OWN}
    assert [point.measurement.median_seconds for point in curve.points] == pytest.approx(
        [WAVE, WAVE, WAVE, WAVE, 2 * WAVE, 4 * WAVE]
    )
    assert curve.knee == 8 and curve.gain == pytest.approx(8)
    assert [point.share for point in curve.points] == pytest.approx([1 / 8, 1 / 4, 1 / 2, 1, 1, 1])


def test_a_batch_between_two_waves_is_slower_for_each_frame_and_that_is_right(monkeypatch):
    monkeypatch.setattr(suite, "doublings", lambda limit: tuple(range(1, limit + 1)))
    curve, broken, _ = study(limit=20)
    assert broken == set() and curve.knee == 8
    assert curve.per_frame(9) == pytest.approx(curve.per_frame(8) * 16 / 9)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_deep_network_gains_less_than_a_simple_one(precision):
    """What the FAQ says of them; a lower precision leaves more room in the device."""
    # The limits of its answers take seconds to work out: the suite does.
    wide = {("deep", precision): {"y": Bound(np.zeros((2, 32, 16, 32)), np.float64(-99), np.float64(99))}}
    deep, broken, _ = study(net="deep", precision=precision, limit=16, known=wide)
    simple, _, _ = study(precision=precision, limit=16)
    assert broken == set() and deep.judge().verdict == simple.judge().verdict == HOLDS
    assert deep.gain < simple.gain
    assert deep.points[0].share > simple.points[0].share


@pytest.fixture(scope="module")
def drawn():
    """The module of the benchmark; `benchmarks` is no package."""
    spec = importlib.util.spec_from_file_location("batch_curves", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_drawn_honest_curves_raise_no_alarm(drawn):
    """With noise, drift, sawtooth, caches and points left out; the benchmark draws a thousand."""
    assert drawn.count_honest(60, seed=0)[BROKEN] == 0


def test_drawn_wrong_curves_are_noticed(drawn):
    for name in (*drawn.SCENES, OWN):
        found, made = drawn.count_wrong(name, 16, seed=0)
        assert made >= 4 and found == made, name
