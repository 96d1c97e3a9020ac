"""Hold a model against every rule."""

from __future__ import annotations

import os
from collections.abc import Iterable

from onnx import ModelProto

from pytest_trt.errors import SettingsError
from pytest_trt.hardware import GpuClass
from pytest_trt.lint import activation, channels, fusion, interface, quantized, reach, residual  # noqa: F401
from pytest_trt.lint.advice import SEVERITIES, Advice
from pytest_trt.lint.load import load
from pytest_trt.lint.registry import RULES
from pytest_trt.lint.view import View
from pytest_trt.records import PRECISIONS


def lint(
    model: ModelProto | bytes | str | os.PathLike[str], *, gpu: GpuClass, precisions: Iterable[str]
) -> tuple[Advice, ...]:
    """Return what the rules find in a model, the severest first, else in the order of the graph.

    Parameters
    ----------
    model : ModelProto, bytes or path
        Any valid ONNX model; it is not changed. Weights in files of more than 2 GB are not read.
    gpu : GpuClass
        Whose tensor cores count.
    precisions : iterable of str
        What the engine is wanted in; a rule about another precision is silent. INT8 rules speak about the Q/DQ pairs that
        are in the graph: a float graph is not told to have some.

    Raises
    ------
    ModelError
        This is no ONNX model.
    SettingsError
        A precision is unknown.
    """
    wanted = frozenset(precisions)
    unknown = sorted(wanted - set(PRECISIONS))
    if unknown:
        raise SettingsError(f"unknown precision {unknown[0]!r}", why=f"good values: {', '.join(PRECISIONS)}")
    view = View(load(model), gpu, wanted)
    found = [
        advice
        for rule in RULES.values()
        if not rule.precisions or wanted & set(rule.precisions)
        for advice in rule.check(view)
    ]
    return tuple(sorted(found, key=lambda advice: -SEVERITIES.index(advice.severity)))
