"""How a comparison with a golden classes what a new version may bring, on the emulator: 1,000 runs of each kind of change.

    python benchmarks/golden_drift.py [--runs 1000] [--seed 6000] [--likely]

A case is a convolution or matrix product (with bias, residual, ReLU) in FP32, FP16 or INT8 on random data, as
`python -m pytest_trt bite` draws them, with 1,000 elements or more; a run is one case, recorded honestly and then changed. The
limits are those of the check.

`one step`          honest kernels, each element at most one step of its type from the golden: identical or benign
`another order`     golden and today add in two random orders: identical or benign
`mean shift`        every element off by 2 % of the outputs' RMS (a level at least, where quantized): drift or regression
`doubled RMS`       products and levels with random errors of twice the honest RMS: drift or regression
`one element`       one element off by 2 % of the outputs' RMS: drift or regression
`one row`           one row of the batch off by 2 % of the outputs' RMS: drift or regression

`another kernel` is told and not judged: plain kernels against every other honest one. Adding in another manner may multiply the
error, and then it did grow: where that is called drift, the RMS error or the bias did grow as the rule says.

A run in which no bit changed is drawn anew. Exit status 1: a run was classed otherwise.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pytest_trt.bite.pairs import Bench, honest_for
from pytest_trt.bite.problems import make_problem
from pytest_trt.emulator.faults import FAULTS, Fault
from pytest_trt.emulator.faults.honest.sums import chain
from pytest_trt.emulator.faults.honest.terms import recompute
from pytest_trt.golden.compare import compare_outputs
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import (
    BENIGN,
    CLASSES,
    DRIFT,
    IDENTICAL,
    OUTPUTS,
    REGRESSION,
    Comparison,
    Golden,
)
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import Array

CONTRACTS = ("fp32", "fp16", "int8")
KINDS = ("normal", "uniform11")
ENOUGH = 1000  # elements, of all kinds of data; `rule.needed_elements` is the half of it
RUNGS = ("direct", "unfused")
GOOD, BAD = (IDENTICAL, BENIGN), (DRIFT, REGRESSION)
Outputs = dict[str, Array]


class Case:
    """One configuration on all kinds of data: honest outputs, outputs with a fault, limits."""

    def __init__(self, contract: str, seed: tuple[int, ...], likely: bool) -> None:
        self.problem = make_problem(contract, seed)
        self._benches = {kind: Bench(self.problem, kind, RUNGS, peers=False) for kind in KINDS}
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
        if len(KINDS) * math.prod(make_problem(contract, place).y) < ENOUGH:
            continue
        case = Case(contract, place, likely)
        golden, today = make(case, np.random.default_rng([*place, list(CHANGES).index(change)]))
        if all(np.array_equal(values, today[kind], equal_nan=True) for kind, values in golden.items()):
            continue
        found = case.compare(golden, today)
        tally.classes[found.outcome] += 1
        if right and found.outcome not in right:
            tally.wrong.append(f"{case.problem.text}: {found.outcome}: {' | '.join(found.why)}")
    tally.seconds = time.perf_counter() - started
    return tally


def main() -> int:
    """Run all kinds of change and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=6000)
    parser.add_argument("--only", choices=list(CHANGES), action="append")
    parser.add_argument("--likely", action="store_true", help="limits of 12 standard deviations")
    given = parser.parse_args()
    failed = False
    print(f"seed {given.seed}; {', '.join(CONTRACTS)}; {' and '.join(KINDS)} data")
    for change in given.only or CHANGES:
        tally = measure_change(change, given.runs, given.seed, likely=given.likely)
        classed = ", ".join(f"{name} {tally.classes[name]}" for name in CLASSES if tally.classes[name])
        right = CHANGES[change][1]
        verdict = f"{tally.runs - len(tally.wrong)} of {tally.runs} {' or '.join(right)}" if right else "told"
        print(f"{change}: {verdict} ({classed}), {tally.seconds:.0f} s", flush=True)
        for line in tally.wrong[:20]:
            print(f"  {line}")
        failed |= bool(tally.wrong) or (bool(right) and tally.runs < given.runs)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
