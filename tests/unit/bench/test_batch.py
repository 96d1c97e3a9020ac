"""Time per frame over the batch: knee and gain by hand, what counts as a rise, what is left out, when a sweep ends."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pytest

from pytest_trt.bench import batch as bench
from pytest_trt.bench.batch import (
    BROKEN,
    COMPUTED,
    FALLS,
    FLAT,
    HOLDS,
    OWN,
    POSSIBLE,
    UNRELIABLE,
    Curve,
    Point,
    Shares,
    doublings,
    sweep,
)
from pytest_trt.bench.measure import Measurement
from pytest_trt.bench.roofline import Roofline
from pytest_trt.bench.timer import CUDA_EVENTS, MODELLED
from pytest_trt.bench.warm import WarmUp
from pytest_trt.errors import ExecutionError, OutOfMemoryError
from pytest_trt.report.sections import make_section

MICROSECOND = 1e-6
WIGGLE = (0.0, 1e-3, -1e-3, 2e-3, -2e-3)  # of 20 rounds: no clock gives the same again and again


def timed(seconds, clock=CUDA_EVENTS, *, noise=WIGGLE, offset=0.0, cold=""):
    rounds = tuple(seconds * (1 + noise[place % len(noise)] + offset) for place in range(20))
    return Measurement(rounds, 1000, clock, WarmUp(15, (), cold))


def curve(per_frame, *, clock=CUDA_EVENTS, shares=None, floors=None, **given):
    """Return the curve of some microseconds a frame by batch."""
    points = [
        Point(
            batch,
            timed(one * batch * MICROSECOND, clock, offset=1e-6 * batch, **given),
            None
            if floors is None
            else Roofline(floors[batch] * MICROSECOND, 0.0, floors[batch] * MICROSECOND),
        )
        for batch, one in per_frame.items()
    ]
    return Curve(tuple(points), Shares() if shares is None else shares)


def broken(made):
    return {check for check, note in made.judge().rows if note is not None}


# The knee.


@pytest.mark.parametrize(
    ("per_frame", "knee", "gain"),
    [
        ({1: 8, 2: 4, 4: 2, 8: 1, 16: 1, 32: 1}, 8, 8.0),
        ({1: 1, 2: 1, 4: 1}, 1, 1.0),
        ({1: 8, 2: 4, 4: 2}, None, 4.0),
        ({1: 8, 2: 1, 4: 0.98, 8: 0.97}, 2, 8.0),  # 3 % is no gain
        (
            {1: 8, 2: 1, 4: 0.98, 8: 0.9},
            8,
            8.9,
        ),  # though no doubling gains 5 % by itself, 8 gains it on 2 and on 4
        ({1: 8, 2: 1, 4: 1.2, 8: 1.1}, 2, 8.0),
    ],
)
def test_the_knee_is_the_smallest_batch_that_no_larger_one_beats(per_frame, knee, gain):
    made = curve(per_frame)
    last = max(per_frame)
    assert made.knee == (None if knee == last else knee)
    assert made.full == (made.knee is not None)
    assert made.gain == pytest.approx(gain, rel=0.02)


def test_noise_that_hides_a_gain_hides_the_knee_behind_it():
    noisy = (0.0, 0.09, -0.09, 0.07, -0.07)
    assert curve({1: 1, 2: 0.92, 4: 0.92}).knee == 2
    assert curve({1: 1, 2: 0.92, 4: 0.92}, noise=noisy).knee == 1


def test_a_curve_tells_its_times_by_batch():
    made = curve({1: 8, 2: 4, 4: 3})
    assert made.per_frame(2) == pytest.approx(4e-6, rel=1e-3)
    with pytest.raises(KeyError):
        made.per_frame(3)
    low, high = made.points[1].interval
    assert low < made.per_frame(2) < high


# The statement.


@pytest.mark.parametrize(
    "per_frame",
    [
        {1: 8, 2: 4, 4: 2, 8: 1, 16: 1, 32: 1},
        {1: 8, 2: 4, 4: 2},
        {1: 1, 2: 1.05, 4: 1.08, 8: 1.2},
        {1: 8, 2: 4.2, 4: 4.4, 8: 1, 16: 1.2},
        {1: 1, 2: 0.5, 3: 0.667, 4: 0.5, 5: 0.6, 6: 0.5, 7: 0.571, 8: 0.5},  # waves of two frames
    ],
    ids=["falls", "not full", "rises a little", "within the noise", "sawtooth"],
)
def test_curves_that_can_be_hold(per_frame):
    judged = curve(per_frame).judge()
    assert judged.verdict == HOLDS and not judged.reasons
    assert {check for check, _ in judged.rows} - {FLAT} == {FALLS, OWN}


@pytest.mark.parametrize(
    ("per_frame", "check", "words"),
    [
        (
            {1: 8, 2: 9, 4: 2, 8: 1, 16: 1},
            FALLS,
            r"9 microseconds at batch 2 and 8 at batch 1: 12.5 % more, and 10 %",
        ),
        (
            {1: 8, 2: 4, 4: 2, 8: 2.6},
            FLAT,
            r"2.6 .* at batch 8 and 2 at batch 4: 30.0 % more, and 25 % are allowed",
        ),
        ({1: 1, 2: 1.1, 4: 1.2, 8: 1.3}, FLAT, "at batch 8 and 1 at batch 1"),
        ({1: 8, 3: 2, 5: 2, 8: 11}, FLAT, "11 microseconds at batch 8 and 8 at batch 1"),
        ({2: 1, 3: 0.9, 4: 1.5, 5: 0.9}, FLAT, "1.5 microseconds at batch 4 and 1 at batch 2"),
    ],
)
def test_a_rise_is_told_by_its_check_alone(per_frame, check, words):
    made = curve(per_frame)
    if max(per_frame) == 8 and check == FLAT and 3 in per_frame:
        assert made.knee == 3  # the batch that is compared with lies before it
    assert broken(made) == {check} and made.judge().verdict == BROKEN
    note = dict(made.judge().rows)[check]
    assert re.search(words, note), note


def test_a_computed_device_has_no_noise():
    per_frame = {1: 8, 2: 4, 4: 2, 8: 2.001}
    assert curve(per_frame).judge().verdict == HOLDS
    assert broken(curve(per_frame, noise=(0.0,), shares=COMPUTED, clock=MODELLED)) == {FLAT}


def test_a_time_below_the_floor_is_told():
    per_frame, floors = {1: 8, 2: 4, 4: 2, 8: 1}, {1: 1, 2: 2, 4: 4, 8: 8.1}
    made = curve(per_frame, floors=floors)
    assert broken(made) == {POSSIBLE}
    assert "batch 8 took 8 microseconds, and its work takes 8.1 at least" in dict(made.judge().rows)[POSSIBLE]
    assert broken(curve(per_frame, floors={**floors, 8: 7.9})) == set()


def test_rounds_of_another_batch_are_told():
    made = curve({1: 8, 2: 4, 4: 2, 8: 1})
    copied = Curve((*made.points[:3], Point(8, made.points[2].measurement)))
    assert broken(copied) == {OWN}
    assert "batches 4 and 8 took the same time in each of 20 rounds" in dict(copied.judge().rows)[OWN]


def test_a_device_that_takes_as_long_for_more_is_not_taken_for_a_copy():
    """A computed time has no rounds to tell it by: waves that are not full take as long as full ones."""
    made = curve({1: 8, 2: 4, 4: 2}, clock=MODELLED, noise=(0.0,), shares=COMPUTED)
    same = Curve(tuple(Point(p.batch, timed(8e-6, MODELLED, noise=(0.0,))) for p in made.points), COMPUTED)
    assert same.judge().verdict == HOLDS


# What cannot be relied on.


def test_unreliable_points_are_left_out_and_said():
    made = curve({1: 8, 2: 4, 4: 2, 8: 1})
    cold = Point(3, timed(90e-6, cold="not warm: it rose"))
    judged = Curve((*made.points, cold)).judge()
    assert judged.verdict == HOLDS
    assert judged.reasons == ("batch 3 is left out: not warm: it rose",)


def test_too_few_points_are_neither_right_nor_wrong():
    made = curve({1: 8, 2: 9})
    judged = Curve((*made.points, Point(4, timed(1e-6, cold="not warm")))).judge()
    assert (judged.verdict, judged.rows) == (UNRELIABLE, ())
    assert judged.reasons == ("2 reliable points of 3, fewer than 3", "batch 4 is left out: not warm")
    assert Curve(()).judge().verdict == UNRELIABLE and Curve(()).gain is None and Curve(()).knee is None


# In words.


def test_a_section_has_a_row_a_batch_and_a_plot():
    made = Curve(curve({1: 8, 2: 4, 4: 4, 8: 4}, floors={1: 4, 2: 4, 4: 8, 8: 16}).points, stopped="enough")
    section = make_section(made.section("Frames"))
    assert section["text"] == [
        "full at batch 2; a frame is 2.00 times as fast as at batch 1",
        "at batch 1 it reaches 50.0 % of the roofline: a gain of 2.0 at most",
        "enough",
        "clock: CUDA events",
    ]
    assert section["rows"][1] == ["2", "0.008", "4", "2.5e+05", "50.0 %", "0.1 %", "yes"]
    assert section["plot"]["x"] == [1, 2, 4, 8] and section["plot"]["log"] is True


def test_words_for_a_device_that_is_not_full_and_for_unreliable_points():
    assert curve({1: 8, 2: 4, 4: 2}).describe()[0] == (
        "not full at the largest batch; a frame is 4.00 times as fast as at batch 1"
    )
    few = Curve((Point(1, timed(1e-6, cold="not warm")),))
    assert few.describe()[0] == "unreliable: neither does the statement hold nor fail"
    row = make_section(few.section("Frames"))["rows"][0]
    assert row[-3:] == ["-", "0.1 %", "not warm"]


def test_a_device_that_waited_for_the_host_is_told():
    made = curve({1: 8, 2: 4, 4: 4})
    slow = replace(made.points[0].measurement, enqueues=(9e-3,) * 20)
    told = Curve((Point(1, slow), *made.points[1:])).describe()
    assert told[1] == (
        "host-bound at batch 1: the device waited for enqueues, whose time is in that of the runs"
    )


def test_plain_data_holds_each_measurement():
    plain = curve({1: 8, 2: 4, 4: 4}, floors={1: 4, 2: 4, 4: 8}).to_plain()
    assert [point["batch"] for point in plain["points"]] == [1, 2, 4]
    assert plain["points"][0]["measurement"]["reliable"] is True
    assert plain["points"][0]["roofline_share"] == pytest.approx(0.5, rel=1e-3)
    assert (plain["knee"], plain["verdict"]) == (2, HOLDS)


def test_a_time_that_is_none_is_plain_data_all_the_same():
    made = curve({1: 8, 2: 4, 4: 4, 8: math.nan}, floors={1: 4, 2: 4, 4: 8, 8: 16})
    plain = json.loads(json.dumps(made.to_plain(), allow_nan=False))
    assert plain["points"][3]["seconds_per_frame"] is plain["points"][3]["roofline_share"] is None
    assert plain["verdict"] == HOLDS and plain["points"][0]["roofline_share"] == pytest.approx(0.5, rel=1e-3)


# Sweeps.


class Swept:
    """A session whose device holds eight frames at once and has memory for some."""

    def __init__(self, most=1000, error=OutOfMemoryError):
        self.most, self.error, self.ran = most, error, []

    def run(self, feeds):
        if feeds["x"] > self.most:
            raise self.error("no room for 1 GiB")
        self.ran.append(feeds["x"])
        return {"y": feeds["x"]}

    def measure(self, session, clock=MODELLED):
        assert session is self
        return timed(-(-self.ran[-1] // 8) * 1e-5, clock, noise=(0.0,))


def swept(session, limit=64, **given):
    return sweep(session, lambda batch: {"x": batch}, doublings(limit), measure=session.measure, **given)


@pytest.mark.parametrize(("limit", "batches"), [(1, (1,)), (8, (1, 2, 4, 8)), (9, (1, 2, 4, 8)), (0, (1,))])
def test_doublings_end_at_the_limit(limit, batches):
    assert doublings(limit) == batches


def test_a_sweep_takes_each_batch_and_looks_at_its_answers():
    seen = []
    made = swept(
        Swept(),
        look=lambda batch, outputs: seen.append((batch, outputs["y"])),
        rooflines=lambda batch: Roofline(1e-6 * batch, 0.0, 1e-6 * batch),
    )
    assert seen == [(batch, batch) for batch in (1, 2, 4, 8, 16, 32, 64)]
    assert made.knee == 8 and made.gain == pytest.approx(8) and not made.stopped
    assert made.points[3].share == pytest.approx(0.8)
    assert made.shares == COMPUTED and made.judge().verdict == HOLDS


def test_a_sweep_of_a_real_clock_allows_for_noise():
    session = Swept()
    made = sweep(
        session, lambda b: {"x": b}, (1, 2, 4), measure=lambda one: session.measure(one, CUDA_EVENTS)
    )
    assert made.shares == Shares()
    assert swept(Swept(), shares=Shares(gain=0.5)).shares.gain == 0.5


def test_a_sweep_ends_where_a_run_takes_too_long():
    made = swept(Swept(), most_seconds=1.5e-5)
    assert [point.batch for point in made.points] == [1, 2, 4, 8, 16]
    assert made.stopped == "batch 16 is the last: a run takes 2e-05 s, more than 1.5e-05 s"


def test_a_sweep_ends_behind_the_knee():
    made = swept(Swept(), beyond=2)
    assert [point.batch for point in made.points] == [1, 2, 4, 8, 16, 32]
    assert made.stopped == "batch 32 is the last: 2 batches behind the knee"


def test_a_sweep_ends_where_the_memory_does():
    made = swept(Swept(most=8))
    assert [point.batch for point in made.points] == [1, 2, 4, 8]
    assert made.stopped == "batch 16 does not fit in the memory of the device: no room for 1 GiB"


def test_a_sweep_without_a_point_and_any_other_failure_are_errors():
    with pytest.raises(OutOfMemoryError):
        swept(Swept(most=0))
    with pytest.raises(ExecutionError):
        swept(Swept(most=8, error=ExecutionError))


def test_shares_are_apart():
    """What is flat is wider than noise, and noise than the last bits."""
    assert bench.RISE > bench.NOISE > bench.GAIN > COMPUTED.rise > 0
