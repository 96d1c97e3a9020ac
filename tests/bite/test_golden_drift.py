"""What a new version may bring is told apart: honest kernels pass beside a golden, shifts and larger errors do not.

`benchmarks/golden_drift.py` does this a thousand times each.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from pytest_trt.bite.drifts import CHANGES, Case, measure_change, permuted
from pytest_trt.bite.problems import Problem
from pytest_trt.emulator.faults import FAULTS, HONEST, drift
from pytest_trt.golden import rule
from pytest_trt.golden.compare import compare_outputs
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import BENIGN, DRIFT, IDENTICAL, OUTPUTS, REGRESSION, Golden

JUDGED = [change for change, (_, right) in CHANGES.items() if right]
SHIFTS = {
    "outputs_shifted_by_2_percent",
    "row_shifted_by_2_percent",
    "element_shifted_by_2_percent",
}


@pytest.mark.parametrize("likely", [False, True], ids=["hard", "likely"])
@pytest.mark.parametrize("change", JUDGED)
def test_each_change_has_its_class(change, likely):
    tally = measure_change(change, 6, seed=20, likely=likely)
    assert tally.runs == 6 and not tally.wrong


def test_every_fault_of_drift_is_one_of_the_changes():
    shipped = {name for name, entry in FAULTS.items() if entry.call.__module__ == drift.__name__}
    assert shipped == {*SHIFTS, "errors_doubled"} == {n for n, e in FAULTS.items() if e.family == "drift"}
    assert all(FAULTS[name].call.__doc__ for name in shipped)


@pytest.fixture(scope="module")
def wide():
    """A convolution of 576 terms in FP32: its hard limits admit hundreds of times the usual error."""
    return Case(Problem("fp32", (0,), (2, 64, 9, 8), (10, 64, 3, 3), pads=(1, 1, 1, 1)))


ORDERS = ("summation_in_order", "summation_order_reversed", "summation_order_permuted")
TREES = ("pairwise_summation", "blocked_summation", "interleaved_summation", "split_k_summation")


def honest(case, name):
    return case.run(HONEST[name].call, 0)


def test_orders_of_one_quality_and_better_ones_pass(wide):
    chains = [honest(wide, name) for name in ORDERS]
    for first, second in permutations(chains, 2):
        assert wide.compare(first, second).outcome == BENIGN
    for name in TREES:
        assert wide.compare(chains[0], honest(wide, name)).outcome == BENIGN, name


def test_a_coarser_order_is_told_with_its_growth(wide):
    """Sums in order over 576 terms are right, and their error is larger than that of a tree: that is what drift says."""
    found = wide.compare(honest(wide, "pairwise_summation"), honest(wide, "summation_in_order"))
    assert found.outcome == DRIFT
    for numbers in found.numbers.values():
        assert numbers["new_rms"] > rule.GROWTH * numbers["old_rms"] and numbers["new_outside"] == 0


def test_the_same_run_is_identical(wide):
    assert wide.compare(wide.honest, wide.run(lambda site: None, 0)).outcome == IDENTICAL


# Changes of the errors inside of the hard limits, each wrong in one way, and how that is told.
def doubled(errors, limit):
    return 2 * errors


def biased(errors, limit):
    return errors + 0.7 * np.sqrt(np.mean(errors**2))


def one_row(errors, limit):
    errors[-1] *= 2.5
    return errors


def one_element(errors, limit):
    errors.flat[7] = 0.9 * (limit.high - limit.mid).flat[7]
    return errors


INSIDE = {doubled: "RMS error", biased: "bias", one_row: "RMS error", one_element: "error"}


@pytest.mark.parametrize("change", INSIDE, ids=lambda change: change.__name__)
def test_what_grew_inside_of_the_limits_is_drift_by_its_rule_alone(wide, change):
    limits = wide.limits()
    golden, today = wide.run(permuted(1), 0), {}
    for kind, values in wide.run(permuted(2), 0).items():
        mid = limits[kind].mid
        today[kind] = (mid + change(values.astype(np.float64) - mid, limits[kind])).astype(np.float32)
    found = wide.compare(golden, today)
    assert found.outcome == DRIFT
    grown = [line for line in found.why if line.startswith("drift")]
    assert {line.partition("but the ")[2].partition(" grew")[0] for line in grown} == {INSIDE[change]}
    if change is one_row:
        last = len(next(iter(today.values()))) - 1
        assert any(f"in row {last}:" in line for line in grown)


def test_exact_data_shows_one_step_as_a_regression(wide):
    """On data without rounding every fault of drift is outside of the limits, the smallest step as well."""
    limits = {kind: replace(b, low=b.mid, high=b.mid, _lsb=[]) for kind, b in wide.limits().items()}
    golden = {kind: bound.mid.astype(np.float32) for kind, bound in limits.items()}
    today = {kind: values.copy() for kind, values in golden.items()}
    first = next(iter(today))
    today[first].flat[0] = np.nextafter(today[first].flat[0], np.float32(np.inf))
    key = Key("case", "fp32", "t4", "then")
    found = compare_outputs(Golden(key, OUTPUTS, golden), Golden(key.of("now"), OUTPUTS, today), limits)
    assert found.outcome == REGRESSION
