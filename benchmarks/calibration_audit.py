"""Which INT8 calibrations an audit flags, and by which check: good ones must pass, bad ones must not.

    pip install -e ".[bench]" && python benchmarks/calibration_audit.py [--trainings 6] [--seed 0] [--draws 20]

Each training is a small classifier of the digits that scikit-learn ships (`pytest_trt.cases.digits`). Half of its training
images calibrate, the other half is the fresh data of the audit, and the test images measure the top-1 loss by the paired test.
`stale` is the table of another training. The three tables changed by hand carry no identity, as a file would.

Columns: trainings flagged, the checks that flagged with how often, the mean accuracy, and how often the paired test accepts a
loss under 1 %. `ranges alone` counts what is flagged by the ranges held against fresh data, without identity, preprocessing and
the samples themselves.

`honest draws`: of each training, `--draws` times, 100, 200 or 400 of the training images are drawn, calibrate by min-max, and are
audited with the rest of them. Told are those that are flagged, and those that fixed limits on scale and clipping would flag.

Exit status 1: fewer than 90 % of the bad calibrations flagged, or one good one, or one honest draw.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.cases.digits import CLASSES, Digits, find_digits_lack, train_digits
from pytest_trt.check.accuracy import ACCEPTED, measure_accuracy, run_plainly
from pytest_trt.precision.audit import Audit, audit
from pytest_trt.precision.audit_rules import (
    ACTIVATION,
    CLIPPED,
    LOGITS,
    RANGE_USE,
    SCALE,
    SHIFT,
    Thresholds,
    judge_tensors,
)
from pytest_trt.precision.calibration import Calibration, calibrate
from pytest_trt.precision.int8 import quantize

Array = NDArray[Any]

ON_RANGES = frozenset({CLIPPED, RANGE_USE, ACTIVATION, LOGITS, SCALE, SHIFT})
LEAST_FLAGGED = 0.9
OLDER = 1000
DRAWN = (100, 200, 400)


@dataclass(frozen=True)
class Attempt:
    """One calibration: its ranges, its data as it saw them, their labels, and its preprocessing where it is its own."""

    name: str
    good: bool
    ranges: Mapping[str, float]
    data: Array
    labels: Array
    preprocess: Callable[[Array], Array] | None = None


def make_attempts(digits: Digits, older: Digits, seed: int) -> Iterator[Attempt]:
    """Yield the good and the bad calibrations of one training."""
    half = len(digits.train) // 2
    raw, labels = digits.train[:half], digits.train_labels[:half]
    x = digits.preprocess(raw)

    def attempt(
        name: str,
        data: Array,
        labels: Array,
        method: str = "minmax",
        *,
        good: bool = False,
        preprocess: Callable[[Array], Array] | None = None,
    ) -> Attempt:
        ranges = calibrate(digits.model, Calibration([{"x": data}], method))
        return Attempt(name, good, ranges, data, labels, preprocess)

    yield attempt("min-max", x, labels, good=True)
    yield attempt("entropy", x, labels, "entropy", good=True)
    yield attempt("percentile 99.999", x, labels, "percentile", good=True)
    yield attempt("min-max, 200 images", x[:200], labels[:200], good=True)
    wrong: dict[str, Callable[[Array], Array]] = {
        "raw pixels": lambda pixels: pixels.astype(np.float32),
        "pixels / 255": lambda pixels: (pixels / 255).astype(np.float32),
        "pixels / 16, no mean and std": lambda pixels: (pixels / 16).astype(np.float32),
    }
    for name, preprocess in wrong.items():
        yield attempt(name, preprocess(raw), labels, preprocess=preprocess)
    yield attempt("1 image", x[:1], labels[:1])
    yield attempt("4 images, entropy", x[:4], labels[:4], "entropy")
    one = labels == seed % CLASSES
    yield attempt("one class", x[one], labels[one])
    rng = np.random.default_rng(seed)
    yield attempt("blank images", digits.preprocess(np.zeros_like(raw)), labels)
    yield attempt("Gaussian noise", rng.standard_normal(x.shape).astype(np.float32), labels)
    stale = calibrate(older.model, Calibration([{"x": older.preprocess(raw)}]))
    yield Attempt("stale table", False, stale, x, labels)
    amax = dict(calibrate(digits.model, Calibration([{"x": x}])))
    yield Attempt("all scales x 1.25", False, {name: v * 1.25 for name, v in amax.items()}, x, labels)
    yield Attempt("all scales x 0.5", False, {name: v * 0.5 for name, v in amax.items()}, x, labels)
    yield Attempt("one scale / 4", False, amax | {"a1": amax["a1"] / 4}, x, labels)


def flags_of(digits: Digits, attempt: Attempt) -> frozenset[str]:
    """Return the checks of the audit that flag a calibration."""
    half = len(digits.train) // 2
    own = attempt.preprocess
    found = audit(
        digits.model,
        attempt.ranges,
        [{"x": attempt.data}],
        fresh=[{"x": digits.preprocess(digits.train[half:])}],
        preprocess=None if own is None else (own, digits.preprocess),
        raw=None if own is None else list(digits.train[:8]),
        labels=attempt.labels,
    )
    return found.flags


def is_accepted(digits: Digits, attempt: Attempt) -> tuple[float, bool]:
    """Return the accuracy of the quantised classifier, and whether the paired test accepts its loss."""
    quantized, _ = quantize(digits.model, attempt.ranges, folded=True)
    made = measure_accuracy(
        run_plainly(digits.model),
        run_plainly(quantized),
        [{"x": digits.preprocess(digits.test)}],
        digits.test_labels,
    )
    return made.engine_accuracy, made.outcome == ACCEPTED


def audit_draws(digits: Digits, draws: int, seed: int) -> Iterator[Audit]:
    """Yield audits of calibrations on images that are drawn at random, held against the rest of the images."""
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        x = digits.preprocess(digits.train)[rng.permutation(len(digits.train))]
        count = DRAWN[draw % len(DRAWN)]
        data, fresh = [{"x": x[:count]}], [{"x": x[count:]}]
        yield audit(digits.model, calibrate(digits.model, Calibration(data)), data, fresh=fresh)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trainings", type=int, default=6, help="how many classifiers (default 6)")
    parser.add_argument("--seed", type=int, default=0, help="of the first (default 0)")
    parser.add_argument("--draws", type=int, default=20, help="honest draws of each (default 20)")
    arguments = parser.parse_args()
    lack = find_digits_lack()
    if lack is not None:
        print(f"not run: {lack.reason}; to get it: {lack.mend}")
        return 2
    good: dict[str, bool] = {}
    flagged, alone, accepted = Counter[str](), Counter[str](), Counter[str]()
    checks: dict[str, Counter[str]] = {}
    accuracy: dict[str, list[float]] = {}
    honest: Counter[str] = Counter()
    for seed in range(arguments.seed, arguments.seed + arguments.trainings):
        digits, older = train_digits(seed), train_digits(OLDER + seed)
        for attempt in make_attempts(digits, older, seed):
            good[attempt.name] = attempt.good
            flags = flags_of(digits, attempt)
            flagged[attempt.name] += bool(flags)
            alone[attempt.name] += bool(flags & ON_RANGES)
            checks.setdefault(attempt.name, Counter()).update(flags)
            share, passes = is_accepted(digits, attempt)
            accuracy.setdefault(attempt.name, []).append(share)
            accepted[attempt.name] += passes
        for found in audit_draws(digits, arguments.draws, seed):
            fixed = judge_tensors(found.tensors, Thresholds(), {})
            honest.update({"all": 1, "flagged": bool(found.flags), "fixed": bool(found.flags) or bool(fixed)})
    n = arguments.trainings
    print(f"{'calibration':32} {'flagged':8} {'ranges alone':13} {'top-1 %':8} {'loss < 1 %':11} checks")
    for name in good:
        told = ", ".join(f"{check} {count}" for check, count in checks[name].most_common())
        mark = "" if good[name] else "BAD "
        print(
            f"{mark + name:32} {flagged[name]:>3}/{n:<4} {alone[name]:>6}/{n:<6} {100 * np.mean(accuracy[name]):>7.2f} "
            f"{accepted[name]:>5}/{n:<5} {told}"
        )
    bad, fine = ([name for name in good if good[name] is kind] for kind in (False, True))
    caught, alarms = sum(flagged[name] for name in bad), sum(flagged[name] for name in fine)
    print(f"bad flagged {caught} of {n * len(bad)} (by the ranges alone {sum(alone[name] for name in bad)})")
    print(f"good flagged {alarms} of {n * len(fine)}")
    print(f"honest draws flagged {honest['flagged']} of {honest['all']} (by fixed limits {honest['fixed']})")
    print(f"bad with an accepted loss {sum(accepted[name] for name in bad)} of {n * len(bad)}")
    return int(caught < LEAST_FLAGGED * n * len(bad) or alarms > 0 or honest["flagged"] > 0)


if __name__ == "__main__":
    sys.exit(main())
