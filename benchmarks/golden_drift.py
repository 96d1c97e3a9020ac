"""How a comparison with a golden classes what a new version may bring, on the emulator: 1,000 runs of each kind of change.

    python benchmarks/golden_drift.py [--runs 1000] [--seed 6000] [--likely]

A case is a convolution or matrix product (with bias, residual, ReLU) in FP32, FP16 or INT8 on random data, as
`python -m pytest_trt bite` draws them, with 1,000 elements or more that are not zero; a run is one case, recorded honestly and
then changed. The limits are those of the check.

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
import sys

from pytest_trt.bite.drifts import CHANGES, CONTRACTS, KINDS, measure_change
from pytest_trt.golden.record import CLASSES


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
