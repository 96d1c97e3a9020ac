"""One configuration: what is measured on it, by whom, and what counts."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.bite import pairs
from pytest_trt.bite.pairs import ORACLES, Bench, Task, faults_for, honest_for, measure_problem
from pytest_trt.bite.problems import Problem
from pytest_trt.bite.records import HARD, OURS, bits_of
from pytest_trt.bite.score import score_pairs
from pytest_trt.emulator.faults import FAULTS, HONEST, Entry

KINDS = ("uniform11", "int_small")
FAULT_NAMES = ("last_input_channel_dropped", "bias_omitted_on_channel_tail", "output_truncated_not_rounded")
CONV = Problem("fp16", (7,), (2, 4, 6, 6), (9, 4, 3, 3))
RUNGS = ("direct", "unfused")


@pytest.fixture(scope="module")
def row():
    return measure_problem(Task("fp16", (0, 2), KINDS, FAULT_NAMES, 2, RUNGS))


def test_a_configuration_is_measured(row):
    assert row.contract == "fp16" and row.text.endswith("[0:2]")
    assert row.kinds == bits_of(KINDS)
    assert {pair.fault for pair in row.pairs} <= set(FAULT_NAMES)
    assert row.honest >= len(KINDS)
    assert not row.broken and not row.named


def test_every_refusal_lies_where_the_output_differs(row):
    assert row.pairs
    for pair in row.pairs:
        assert pair.differs and pair.differs & ~row.kinds == 0
        for oracle, kinds in pair.refused.items():
            assert oracle in ORACLES and kinds and kinds & ~pair.differs == 0
        assert pair.refused.get(HARD, 0) & ~pair.refused.get(OURS, 0) == 0


def test_it_repeats(row):
    again = measure_problem(Task("fp16", (0, 2), KINDS, FAULT_NAMES, 2, RUNGS))
    again.seconds = row.seconds
    assert again == row


def test_peers_can_be_left_out():
    row = measure_problem(Task("fp16", (0, 2), ("int_small",), FAULT_NAMES, 0, RUNGS, peers=False))
    assert {name for pair in row.pairs for name in pair.refused} == {OURS, HARD}


def test_a_fault_counts_only_where_its_contract_forbids_it():
    assert faults_for(CONV, ["int8_scale_of_neighbour_channel", "last_input_channel_dropped"]) == [
        FAULTS["last_input_channel_dropped"]
    ]
    outside = next(name for name, entry in FAULTS.items() if not entry.is_pair)
    assert faults_for(CONV, [outside]) == []


def test_correct_kernels_are_those_of_contract_and_rung():
    direct = honest_for(CONV, RUNGS)
    assert direct and all("fp16" in entry.contracts and entry.rung in RUNGS for entry in direct)
    every = honest_for(CONV, ("direct", "unfused", "splitk", "winograd", "fft"))
    assert {entry.name for entry in every} == {
        name for name, entry in HONEST.items() if "fp16" in entry.contracts
    }


def entry_of(call, family="small"):
    return Entry(call, family, frozenset({"fp16"}))


def test_the_sign_of_zero_is_no_difference():
    def negate_zeros(site):
        if site.kind == "execute":
            array = site.outputs["y"]
            array[array == 0] = -0.0

    relu = Problem("fp16", (7,), (2, 4, 6, 6), (9, 4, 3, 3), relu=True)
    bench = Bench(relu, "uniform11", RUNGS)
    assert (bench.plain == 0).any()
    assert bench.run(entry_of(negate_zeros)) is None


def test_what_a_relu_makes_of_nan_counts_for_nothing():
    def swallow(site):
        if site.kind == "execute":
            array = site.outputs["y"]
            array[np.isnan(array)] = 0

    for relu in (True, False):
        bench = Bench(Problem("fp16", (7,), (2, 4, 6, 6), (9, 4, 3, 3), relu=relu), "special", RUNGS)
        assert np.isnan(bench.plain).any()
        assert (bench.run(entry_of(swallow)) is None) is relu


def test_a_refused_correct_kernel_makes_the_kind_dirty(monkeypatch):
    def wrong(site):
        if site.kind == "execute":
            site.outputs["y"] += 1

    monkeypatch.setattr(pairs, "honest_for", lambda problem, rungs: [entry_of(wrong, "honest")])
    row = measure_problem(Task("fp16", (0, 2), KINDS, FAULT_NAMES, -1, RUNGS))
    assert row.honest == 2 * len(KINDS) and row.alarms[OURS] == len(KINDS)
    assert row.dirty[OURS] == bits_of(KINDS)
    assert len(row.named) == len(KINDS) and "wrong on uniform11" in row.named[0]
    score = score_pairs([row], "quick", ORACLES)
    assert score.ours.useful.count == 0 < score.ours.raw.count


def test_a_fault_that_raises_is_told(monkeypatch):
    def raises(site):
        raise ValueError("no such axis")

    monkeypatch.setattr(pairs, "faults_for", lambda problem, names: [entry_of(raises)])
    row = measure_problem(Task("fp16", (0, 2), ("int_small",), (), 0, RUNGS))
    assert len(row.broken) == 1 and "raises on int_small" in row.broken[0] and "no such axis" in row.broken[0]


def test_the_statistics_alone_see_what_hides_in_the_hard_interval():
    """A constant factor on random data: inside the bound of any order, far outside the deviation of a random one."""
    gemm = Problem("fp32", (5,), (4, 1024), (64, 1024), bias=False)
    bench = Bench(gemm, "uniform11", RUNGS, peers=False)
    off = (bench.plain * np.float32(1 + 2**-18)).astype(np.float32)
    assert bench.refusals(off) == [OURS]
