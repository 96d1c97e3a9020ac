"""Contracts, and storing an interval."""

from __future__ import annotations

import numpy as np

from pytest_trt.numerics.bounds import Bound, Contract, input_error, store, widen


def test_tf32_inputs_cost_nothing_where_they_are_tf32_numbers():
    assert input_error("tf32", np.array([1.5, 1 + 2.0**-10])) == 0.0
    assert input_error("tf32", np.array([1 + 2.0**-11])) == 2.0**-10
    assert input_error("fp32", np.array([1 + 2.0**-20])) == 0.0


def test_storing_an_interval_rounds_its_ends_and_may_be_skipped():
    mid = np.array([1 + 2.0**-11])  # halfway between two fp16 numbers
    bound = widen(Bound.exact(mid, "fp16"), 2.0**-20)
    stored = store(bound, "fp16")
    assert (stored.low[0], stored.high[0]) == (1.0, 1 + 2.0**-10)
    kept = store(Bound.exact(mid, "fp16"), "fp16", may_skip=True)
    assert (kept.low[0], kept.high[0]) == (1.0, 1 + 2.0**-11)
    assert store(Bound.exact(mid, "fp16"), "fp16").is_exact


def test_rungs_widen_the_contract_one_permission_at_a_time():
    contract = Contract(sm=80)
    assert contract.rung("direct") is contract
    loose = contract.rung("unfused")
    assert not loose.fused and not loose.integer and loose.algorithm == "direct"
    assert contract.rung("winograd").algorithm == "winograd"


def test_a_tie_may_be_rounded_to_either_neighbour_where_the_policy_says_so():
    mid = np.array([1 + 2.0**-11, 1 + 3 * 2.0**-12])  # a tie, and no tie
    loose = store(Bound.exact(mid, "fp16"), "fp16", ties="any")
    assert (loose.low[0], loose.high[0]) == (1.0, 1 + 2.0**-10)
    assert loose.low[1] == loose.high[1] == 1 + 2.0**-10


def test_a_subnormal_may_be_flushed_where_the_policy_says_so():
    mid = np.array([2.0**-20, -(2.0**-20), 2.0**-14, 0.0])
    loose = store(Bound.exact(mid, "fp16"), "fp16", flush=True)
    assert loose.low.tolist() == [0.0, -(2.0**-20), 2.0**-14, 0.0]
    assert loose.high.tolist() == [2.0**-20, 0.0, 2.0**-14, 0.0]
