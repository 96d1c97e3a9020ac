"""What a new version may bring, made on the emulator, and how a comparison with a golden classes it.

A case is a configuration of the pair score on random data; a run is one case, recorded honestly and then changed.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pytest_trt.bite.pairs import Bench, honest_for
from pytest_trt.bite.problems import Problem, make_problem
from pytest_trt.emulator.faults import FAULTS, Fault
from pytest_trt.emulator.faults.honest.sums import chain
from pytest_trt.emulator.faults.honest.terms import recompute
from pytest_trt.golden.compare import compare_outputs
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import BENIGN, DRIFT, IDENTICAL, OUTPUTS, REGRESSION, Comparison, Golden
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import Array

CONTRACTS = ("fp32", "fp16", "int8")
KINDS = ("normal", "uniform11")
# Elements of a case that are not zero, of all kinds of data; `rule.needed_elements` is the half of it.
ENOUGH = 1000
RUNGS = ("direct", "unfused")
GOOD, BAD = (IDENTICAL, BENIGN), (DRIFT, REGRESSION)
Outputs = dict[str, Array]


class Case:
    """One configuration on all kinds of data: honest outputs, outputs with a fault, limits.

    Parameters
    ----------
    problem : Problem
    likely : bool
        The limits are those of 12 standard deviations, else the hard ones.
    """

    def __init__(self, problem: Problem, *, likely: bool = False) -> None:
        self.problem = problem
        self._benches = {kind: Bench(problem, kind, RUNGS, peers=False) for kind in KINDS}
        self._likely = likely

    @property
    def honest(self) -> Outputs:
        """Return the outputs of the plain kernel."""
        return {kind: bench.recording.outputs["y"] for kind, bench in self._benches.items()}

    def limits(self) -> Mapping[str, Bound]:
        """Return what the check admits."""
        benches = self._benches.items()
        if self._likely:
            return {k: b.admissible.on("unfused", likely=True).tensors["y"] for k, b in benches}
        return {kind: bench.admissible.widest("y") for kind, bench in benches}

    def count(self) -> int:
        """Return how many elements are not zero: a ReLU's zeros have no error, now or then."""
        return sum(int(np.count_nonzero(bound.mid)) for bound in self.limits().values())

    def run(self, fault: Fault, seed: int) -> Outputs:
        """Return the outputs with a fault or by another kernel."""
        with np.errstate(all="ignore"):
            return {kind: b.recording.faulty(fault, seed)["y"] for kind, b in self._benches.items()}

    def compare(self, golden: Outputs, today: Outputs) -> Comparison:
        """Return the comparison of two sets of outputs."""
        key = Key("case", self.problem.contract, "t4", "then")
        return compare_outputs(
            Golden(key, OUTPUTS, golden), Golden(key.of("now"), OUTPUTS, today), self.limits()
        )


def by_a_step(golden: Array, other: Array) -> Array:
    """Return the golden with each element moved by at most one step of its type towards another output."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(golden == other, golden, np.nextafter(golden, other))


def one_step(case: Case, rng: np.random.Generator) -> tuple[Outputs, Outputs]:
    """Return a golden, and honest outputs at most one step from it."""
    golden, today = case.honest, case.run(_any(case, rng), int(rng.integers(2**31)))
    if case.problem.contract != "int8":  # whose step is a level: what is honest is at most one away
        today = {kind: by_a_step(values, today[kind]) for kind, values in golden.items()}
    return golden, today


def another_order(case: Case, rng: np.random.Generator) -> tuple[Outputs, Outputs]:
    """Return the outputs of one random order of summation, and of another."""
    first, second = (case.run(permuted(int(seed)), 0) for seed in rng.integers(2**31, size=2))
    return first, second


def permuted(seed: int) -> Fault:
    """Return an honest kernel that adds products in an order drawn from a seed."""

    def kernel(site: Any) -> None:
        recompute(
            site, lambda terms: chain(terms, np.random.default_rng(seed).permutation(terms.count).tolist())
        )

    return kernel


def another_kernel(case: Case, rng: np.random.Generator) -> tuple[Outputs, Outputs]:
    """Return the outputs of the plain kernel, and of another honest one."""
    return case.honest, case.run(_any(case, rng), int(rng.integers(2**31)))


def faulty(name: str) -> Callable[[Case, np.random.Generator], tuple[Outputs, Outputs]]:
    """Return what gives the outputs of the plain kernel, and those with a fault."""

    def make(case: Case, rng: np.random.Generator) -> tuple[Outputs, Outputs]:
        return case.honest, case.run(FAULTS[name].call, int(rng.integers(2**31)))

    return make


def _any(case: Case, rng: np.random.Generator) -> Fault:
    entries = honest_for(case.problem, RUNGS)
    return entries[int(rng.integers(len(entries)))].call


# What is done, and the classes that are right; none where it is only told.
CHANGES: dict[str, tuple[Callable[[Case, np.random.Generator], tuple[Outputs, Outputs]], tuple[str, ...]]] = {
    "one step": (one_step, GOOD),
    "another order": (another_order, GOOD),
    "mean shift": (faulty("outputs_shifted_by_2_percent"), BAD),
    "doubled RMS": (faulty("errors_doubled"), BAD),
    "one element": (faulty("element_shifted_by_2_percent"), BAD),
    "one row": (faulty("row_shifted_by_2_percent"), BAD),
    "another kernel": (another_kernel, ()),
}


@dataclass
class Tally:
    """How the runs of one kind of change were classed."""

    classes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def runs(self) -> int:
        """How many runs changed a bit."""
        return sum(self.classes.values())


def measure_change(change: str, runs: int, seed: int, *, likely: bool = False) -> Tally:
    """Return how so many runs of a kind of change are classed.

    Parameters
    ----------
    change : str
        A key of `CHANGES`.
    runs : int
    seed : int
        Of the cases and of what is done to them.
    likely : bool
        The limits are those of 12 standard deviations.
    """
    make, right = CHANGES[change]
    tally, number, started = Tally(), 0, time.perf_counter()
    while tally.runs < runs and number < 20 * runs + 20:
        place, contract = (seed, number), CONTRACTS[number % len(CONTRACTS)]
        number += 1
        problem = make_problem(contract, place)
        if len(KINDS) * math.prod(problem.y) < ENOUGH:
            continue
        case = Case(problem, likely=likely)
        if case.count() < ENOUGH:
            continue
        golden, today = make(case, np.random.default_rng([*place, list(CHANGES).index(change)]))
        if all(np.array_equal(values, today[kind], equal_nan=True) for kind, values in golden.items()):
            continue
        found = case.compare(golden, today)
        tally.classes[found.outcome] += 1
        if right and found.outcome not in right:
            tally.wrong.append(f"{case.problem.text}: {found.outcome}: {' | '.join(found.why)}")
    tally.seconds = time.perf_counter() - started
    return tally
