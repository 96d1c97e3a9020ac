"""Bugs of INT8 calibration: caches on another GPU or with another batch, and the batches of a calibrator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np
from onnx import ModelProto

from pytest_trt.cases.triggers.nets import levels, net, node
from pytest_trt.cases.triggers.registry import trigger
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.check.calibrated import TABLE, Calibrated
from pytest_trt.check.feeds import Profile
from pytest_trt.check.workbench import Workbench
from pytest_trt.numerics.formats import Array


@contextmanager
def _implicit(trial: Trial) -> Iterator[Workbench]:
    """Yield a workbench of implicit INT8."""
    if not trial.rt.features.calibrators:
        trial.skip(f"{trial.rt.title} has no calibrators")
    bench = Workbench(replace(trial.bench.settings, int8="implicit", typing="auto"), trial.bench.discovery)
    try:
        yield bench
    finally:
        bench.close()


_PIXELS = 8


def _two_products() -> ModelProto:
    """Return y = 6 x by two products, each with a scale of its own in front."""
    weights = {"a": 2 * np.eye(_PIXELS, dtype=np.float32), "b": 3 * np.eye(_PIXELS, dtype=np.float32)}
    shape = ["N", _PIXELS]
    return net([node("MatMul", "x a", "h"), node("MatMul", "h b", "y")], {"x": shape}, {"y": shape}, weights)


def _profile(largest: int) -> Profile:
    return {"x": ((1, _PIXELS), (4, _PIXELS), (largest, _PIXELS))}


def _calibrated(bench: Workbench, batches: list[Array], largest: int = 4) -> Calibrated:
    made = bench.subject(
        _two_products(), "int8", _profile(largest), calibration=[{"x": batch} for batch in batches]
    )
    assert isinstance(made, Calibrated)
    return made


def _images() -> Array:
    """Return four rows on levels of 1/128, the largest of them in one row."""
    x = levels((4, _PIXELS)) * np.float32(2.0**-7)
    x[2, 3] = 127 / 128
    return np.asarray(x)


def _saturated(values: Array, step: float) -> Array:
    return np.asarray(np.clip(np.rint(values / step), -128, 127) * step)


@trigger("B34", precisions="int8", faults="engine_ignores_calibration cached_scales_an_eighth_larger")
def engine_quantises_by_the_cache_it_is_given(trial: Trial) -> None:
    """An engine built from a calibration cache of one's own has the scales of the cache, on whatever GPU it runs."""
    x = _images()
    x_step, h_step = 2.0**-6, 2.0**-5  # other ones than those of the data
    with _implicit(trial) as bench:
        first = _calibrated(bench, [x])
        table = first.table
        own = replace(
            table, scales={**table.scales, "x": np.float32(x_step), "h": np.float32(h_step)}, header=""
        )
        second = Calibrated(
            first.rt, first.prepared, first.profile, calibration=first.calibration, table=own.to_bytes()
        )
        with closing(second):
            got = second.run({"x": 2 * x})["y"]
            read = second.placement.read
    if not all(0 in read.get(name, ()) for name in ("matmul_h", "matmul_y")):
        trial.skip("the builder computes a product in floating point, as it may")
    want = 3 * _saturated(2 * _saturated(2 * x, x_step), h_step)
    wrong = int((got != want).sum())
    note = f"{wrong} of {want.size} values are not those of the cache's scales" if wrong else None
    trial.demand([("certificate", note)])


@trigger("B35", precisions="int8", faults="calibration_follows_batching")
def calibration_does_not_depend_on_batches(trial: Trial) -> None:
    """Min-max calibration gives one table whether its data come in one batch, in two or row by row."""
    # Entropy calibration adds to a histogram batch by batch, and may depend on them, as NVIDIA says in the threads.
    x = _images()
    with _implicit(trial) as bench:
        tables = {count: _scales(_calibrated(bench, np.split(x, 4 // count))) for count in (4, 2, 1)}
    wrong = [count for count, scales in tables.items() if scales != tables[4]]
    note = f"batches of {wrong[0]} give another table than one of 4" if wrong else None
    trial.demand([(TABLE, note)])


def _scales(made: Calibrated) -> dict[str, float]:
    with made:
        return {name: float(scale) for name, scale in made.table.scales.items()}


@trigger("B35", precisions="int8", faults="cached_scales_an_eighth_larger")
def one_cache_serves_every_largest_batch(trial: Trial) -> None:
    """Engines from one calibration cache give the same rows, whatever the largest batch of their profile."""
    x = _images()
    with _implicit(trial) as bench, closing(_calibrated(bench, [x])) as first:
        want = first.run({"x": x})["y"]
        wrong = []
        for largest in (5, 16, 64):
            with first.with_profile(_profile(largest)) as other:
                if not np.array_equal(other.run({"x": x})["y"], want):
                    wrong.append(largest)
    note = f"with a largest batch of {wrong[0]}, rows differ from those with 4" if wrong else None
    trial.demand([("certificate", note)])
