"""Which faults of precision the checks see on a trained classifier, how, and after how many of its images.

    pip install -e ".[bench]" && python benchmarks/precision_faults.py [--seed 0]

The classifier of digits of `pytest_trt.cases.digits` is built at each precision, by each route that a TensorRT has to it, on
the emulator: TensorRT's API played over ONNX Runtime, with one fault at a time. Its own training images calibrate, its
own test images are run.

`caught by` names the checks of `Workbench.judge` that refuse the engine, on the fewest images (1, 8, 64, 512) that suffice, or on
the data battery (`battery`) where no image does. What those cannot see, for it takes a cache with a line less or a second
engine, is left to the check of calibrators that the suites run (`suites/test_calibration.py`): `suite`.
`calibration_of_older_model_used` has another training calibrated first, on the same runtime.

With a calibrator TensorRT may keep single layers in FP32, and the proof of precision lets it. What `one_layer_stays_fp32` does
there is no such choice: its product is FP32 and reads values that were rounded to INT8 for it, so the numbers refuse it.
`one_scale_missing` is such a choice as far as an engine tells.

Exit status 1: a fault was not seen, or an engine without one was refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_trt.cases.digits import Digits, find_digits_lack, train_digits
from pytest_trt.check.workbench import Workbench
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from suites._calibrate import check_calibration

IMAGES = (1, 8, 64, 512)
CALIBRATION_IMAGES = 200
OLDER = 1000
BATTERY_SHAPE = (4, 1, 8, 8)
# Calibrates the network of another training before that which is judged.
AFTER_ANOTHER = "calibration_of_older_model_used"


@dataclass(frozen=True)
class Route:
    """One way to a precision on one TensorRT."""

    name: str
    precision: str
    emulate: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def calibrated(self) -> bool:
        """The scales come from a calibrator."""
        return self.options.get("int8") == "implicit"

    @property
    def title(self) -> str:
        """Name and TensorRT."""
        return f"{self.name}, {self.emulate.removeprefix('tensorrt-')}"


EXPLICIT = ("tensorrt-10.13", "tensorrt-11.4")
CALIBRATING = ("tensorrt-8.6.1", "tensorrt-10.13")
ROUTES = (
    *(Route("fp32", "fp32", emulate) for emulate in EXPLICIT),
    *(Route("fp16", "fp16", emulate) for emulate in EXPLICIT),
    *(Route("int8 explicit", "int8", emulate) for emulate in EXPLICIT),
    *(Route("int8 implicit", "int8", emulate, {"int8": "implicit"}) for emulate in CALIBRATING),
)
# What is asked for, the fault, and the routes whose contract forbids it.
NAMED = (
    ("precision ignored", "engine_stays_fp32", ("fp16", "int8 explicit", "int8 implicit")),
    ("precision ignored", "one_layer_stays_fp32", ("fp16", "int8 explicit", "int8 implicit")),
    ("TF32 although it is off", "tf32_although_it_is_off", ("fp32",)),
    ("wrong scale axis", "weight_scales_along_wrong_axis", ("int8 explicit", "int8 implicit")),
    ("saturate before scale", "sum_saturates_before_scale", ("int8 explicit", "int8 implicit")),
    ("bias not rescaled", "bias_not_rescaled", ("int8 explicit", "int8 implicit")),
    ("stale table", "stale_calibration_scale_20pct", ("int8 explicit", "int8 implicit")),
    ("stale table", "calibration_of_one_tensor_stale", ("int8 implicit",)),
    ("stale table", AFTER_ANOTHER, ("int8 implicit",)),
    ("one scale missing", "one_scale_missing", ("int8 implicit",)),
    ("one scale missing", "missing_scale_not_told", ("int8 implicit",)),
)


@dataclass(frozen=True)
class Seen:
    """What refused an engine: the names of the checks, none where nothing did, and on what they were run."""

    checks: tuple[str, ...]
    on: str


def make_workbench(route: Route, fault: str | None) -> Workbench:
    """Return a workbench of an emulated TensorRT with one fault, or none."""
    faults = (f"pytest_trt.emulator.faults:{fault}",) if fault else ()
    settings = Settings(runtime="emulator", gpu="a100", emulate=route.emulate, faults=faults, **route.options)
    return Workbench(settings, discover(settings))


def judge(bench: Workbench, route: Route, digits: Digits, images: int | None) -> tuple[str, ...]:
    """Return the checks that refuse a classifier on its first test images; on the data battery for None."""
    calibration = None
    if route.precision == "int8":
        calibration = [{"x": digits.preprocess(digits.train[:CALIBRATION_IMAGES])}]
    given: dict[str, Any] = {"shapes": {"x": BATTERY_SHAPE}}
    if images is not None:
        given = {"inputs": {"x": digits.preprocess(digits.test[:images])}}
    verdict = bench.judge(digits.model, precision=route.precision, calibration=calibration, **given)
    return tuple(sorted({found.check for found in verdict.findings}))


def run_suite(bench: Workbench) -> tuple[str, ...]:
    """Return what the suites' own check of calibrators refuses."""
    return tuple(sorted({check for check, note in check_calibration(bench.executor) if note is not None}))


def look(route: Route, fault: str | None, digits: Digits, older: Digits) -> Iterator[Seen]:
    """Yield what each way to look finds, the one that costs the least first."""
    for images in (*IMAGES, None):
        bench = make_workbench(route, fault)
        if fault == AFTER_ANOTHER:
            judge(bench, route, older, 1)
        yield Seen(judge(bench, route, digits, images), "battery" if images is None else f"{images}")
        bench.close()
    if route.calibrated:
        bench = make_workbench(route, fault)
        yield Seen(run_suite(bench), "suite")
        bench.close()


def measure(digits: Digits, older: Digits) -> Iterator[tuple[str, str, Route, Seen | None]]:
    """Yield name, fault, route, and what saw it, or None; for engines without a fault what refused them, or None."""
    for route in ROUTES:
        refused = (seen for seen in look(route, None, digits, older) if seen.checks)
        yield "without a fault", "", route, next(refused, None)
    for name, fault, routes in NAMED:
        for route in ROUTES:
            if route.name in routes:
                found = (seen for seen in look(route, fault, digits, older) if seen.checks)
                yield name, fault, route, next(found, None)


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="of the classifier (default 0)")
    given = parser.parse_args()
    lack = find_digits_lack()
    if lack is not None:
        print(f"not run: {lack.reason}; to get it: {lack.mend}")
        return 2
    digits, older = train_digits(given.seed), train_digits(OLDER + given.seed)
    print(f"{'what':24} {'fault':32} {'route':24} {'images':8} caught by")
    missed = alarms = total = 0
    for name, fault, route, seen in measure(digits, older):
        wrong = (seen is None) is bool(fault)
        total += bool(fault)
        missed += wrong and bool(fault)
        alarms += wrong and not fault
        told = "MISSED" if wrong and fault else "passes" if seen is None else ", ".join(seen.checks)
        print(
            f"{name:24} {fault:32} {route.title:24} {seen.on if seen else '-':8} {'REFUSED: ' * (wrong and not fault)}{told}"
        )
    print(f"faults caught {total - missed} of {total}, engines without one refused {alarms} of {len(ROUTES)}")
    return int(missed > 0 or alarms > 0)


if __name__ == "__main__":
    sys.exit(main())
