"""Builds that have to succeed: a refusal or a crash is what was reported, and no reason to skip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from onnx import ModelProto

from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import UnsupportedError
from pytest_trt.records import Settings
from pytest_trt.runtime.contained import DONE, run_contained
from pytest_trt.runtime.load import discover

BUILD = "build"
_SECONDS = 300.0


def must_build(trial: Trial, model: ModelProto, *, may_refuse: bool = False) -> bool:
    """Demand that a model builds, and return whether it does.

    A real TensorRT is asked in a process of its own, since what was reported may crash it.

    Parameters
    ----------
    trial : Trial
    model : ModelProto
    may_refuse : bool
        It lies beyond a limit that TensorRT documents: a refusal in words will do, and a crash will not.

    Raises
    ------
    ConformanceError
        TensorRT refuses the model, or dies of it.
    """
    if trial.rt.emulated:
        words, crashed = _refusal(trial.bench, trial.precision, model), False
    else:
        arguments = {"settings": replace(trial.bench.settings, faults=()), "precision": trial.precision}
        items = {"model": model.SerializeToString()}
        (ended,) = run_contained(f"{__name__}:builder", items, arguments=arguments, timeout=_SECONDS)
        crashed = ended.how != DONE
        words = f"the build {ended.how}: {ended.words}" if crashed else ended.value
    trial.demand([(BUILD, None if may_refuse and not crashed else words)])
    return words is None


def builder(settings: Settings, precision: str) -> Callable[[bytes], str | None]:
    """Return what builds a serialized model and says how TensorRT refused it: the work of the other process."""
    bench = Workbench(settings, discover(settings))
    return lambda data: _refusal(bench, precision, data)


def _refusal(bench: Workbench, precision: str, model: Any) -> str | None:
    try:
        with bench.subject(model, precision) as subject:
            return None if subject.plan else "no plan"
    except UnsupportedError as error:
        return f"the model was not built: {error.what}"
