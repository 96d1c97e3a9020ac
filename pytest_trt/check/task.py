"""The accuracy of an engine on labelled data, against the float32 model: data of several forms, one engine, one test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_trt.check.accuracy import Accuracy, cut_batches, measure_accuracy, run_plainly
from pytest_trt.check.feeds import Profile, check_feeds, profile_for
from pytest_trt.check.graph import Graph, load_model
from pytest_trt.errors import InputError
from pytest_trt.numerics.formats import Array
from pytest_trt.precision.graph import is_quantized
from pytest_trt.runtime.session import Session

if TYPE_CHECKING:
    from pytest_trt.check.workbench import Workbench

BATCH = 32


def measure_task(
    workbench: Workbench,
    model: Any,
    data: Any,
    labels: Iterable[int],
    *,
    precision: str,
    calibration: Any = None,
    profile: Profile | None = None,
    batch: int = BATCH,
    **limits: Any,
) -> Accuracy:
    """Return how much accuracy a model loses as an engine.

    Parameters
    ----------
    workbench : Workbench
    model : path, bytes or onnx.ModelProto
        In float32; ONNX Runtime runs it as the reference.
    data : iterable of mapping of name to array, or a mapping, or an array
        Batches of inputs; or whole inputs by name; or the whole input of a model that has one. Whole inputs are cut into
        batches of `batch`, or of the model's own fixed size.
    labels : iterable of int
    precision : str
        Of the engine.
    calibration : Calibration or iterable of mappings, optional
        What INT8 scales come from. INT8 needs it unless the model has scales of its own.
    profile : mapping of name to (min, opt, max), optional
        By default batches from 1 to that of the first.
    **limits
        `top`, `limit`, `confidence`, `output`: see `measure_accuracy`.

    Raises
    ------
    InputError
        Data, labels and model do not fit, or INT8 has no calibration data.
    """
    graph = Graph(load_model(model))
    if precision == "int8" and calibration is None and not is_quantized(graph.model):
        raise InputError(
            "INT8 needs calibration data besides the labelled samples",
            why="scales that come from the samples that are tested on would flatter the engine",
            mend="calibration=[{name: array}, ...], or a pytest_trt.precision.calibration.Calibration",
        )
    batches = (check_feeds(graph, feed) for feed in _batches(graph, data, batch))
    first = next(batches, None)
    if first is None:
        raise InputError("there are no labelled data", mend="give at least one batch")
    shapes = {name: array.shape for name, array in first.items()}
    subject = workbench.subject(
        graph.model, precision, profile_for(graph, shapes, profile), calibration=calibration
    )
    with subject:
        subject.prepared.demand_accurate()
        session: Session = subject.session
        return measure_accuracy(
            run_plainly(graph.model), session.run, chain([first], batches), labels, **limits
        )


def _batches(graph: Graph, data: Any, batch: int) -> Iterator[Mapping[str, Any]]:
    if isinstance(data, np.ndarray):
        if len(graph.inputs) != 1:
            raise InputError(
                f"one array, and the model has inputs {', '.join(graph.inputs)}",
                mend="data={name: array, ...}",
            )
        data = {next(iter(graph.inputs)): data}
    if not isinstance(data, Mapping):
        return iter(data)
    fixed = {shape[0] for _, shape in graph.inputs.values() if shape and isinstance(shape[0], int)}
    arrays: dict[str, Array] = {str(name): np.asarray(values) for name, values in data.items()}
    return cut_batches(arrays, fixed.pop() if fixed else batch)
