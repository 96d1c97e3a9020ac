"""Intervals and scores, by hand."""

from __future__ import annotations

import pytest

from pytest_trt.bite.intervals import Share
from pytest_trt.bite.records import OURS, PairRow, ProblemRow, bits_of
from pytest_trt.bite.score import score_pairs
from pytest_trt.records import BATTERIES

QUICK = bits_of(BATTERIES["quick"])
TIES, BIG, SMALL = bits_of(["int_ties"]), bits_of(["big"]), bits_of(["int_small"])
PEER = "np.allclose"
DROPPED, STALE = "last_input_channel_dropped", "last_batch_row_stale"


def test_wilson_interval():
    low, high = Share(95, 100).interval
    assert low == pytest.approx(0.8882, abs=1e-4) and high == pytest.approx(0.9785, abs=1e-4)
    assert Share(0, 0).interval == (0.0, 1.0)
    assert Share(10, 10).interval[1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("count", "total", "limit"),
    [(0, 100, 1 - 0.05 ** (1 / 100)), (3, 100, 0.075711), (5, 5, 1.0), (0, 0, 1.0)],
)
def test_upper_limit_of_false_alarms(count, total, limit):
    assert Share(count, total).upper == pytest.approx(limit, abs=1e-5)


def test_upper_limit_of_many():
    assert Share(0, 130_200).upper == pytest.approx(2.3e-5, rel=0.01)
    assert 0.5 < Share(5000, 10_000).upper < 0.51


def rows():
    default = bits_of(BATTERIES["default"])
    one = ProblemRow("fp32", "one", default, honest=10, alarms={PEER: 4}, dirty={PEER: TIES | BIG})
    one.pairs = [
        PairRow(DROPPED, default, {OURS: default, PEER: SMALL | TIES}),
        PairRow(STALE, BIG, {OURS: BIG, PEER: BIG}),
    ]
    two = ProblemRow("int8", "two", default, honest=5)
    two.pairs = [PairRow(DROPPED, SMALL, {})]
    return [one, two]


def test_a_refusal_is_useful_only_where_correct_kernels_pass():
    score = score_pairs(rows(), "default", [OURS, PEER])
    ours, peer = score.oracles
    assert (ours.useful, ours.raw, ours.alarms) == (Share(2, 3), Share(2, 3), Share(0, 15))
    assert (peer.useful, peer.raw, peer.alarms) == (Share(1, 3), Share(2, 3), Share(4, 15))


def test_smaller_batteries_are_scored_over_the_same_pairs():
    score = score_pairs(rows(), "default", [OURS])
    assert score.batteries == {"quick": Share(1, 3), "default": Share(2, 3)}


def test_groups_and_survivors():
    score = score_pairs(rows(), "default", [OURS])
    assert score.families == {"reduction": Share(1, 2), "memory": Share(1, 1)}
    assert score.contracts == {"fp32": Share(2, 2), "int8": Share(0, 1)}
    assert score.faults == {STALE: Share(1, 1), DROPPED: Share(1, 2)}
    assert [(survivor.fault, survivor.text) for survivor in score.survivors] == [(DROPPED, "two")]
