"""Measure how far each tensor of a model reaches: what INT8 scales are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from pytest_trt.errors import InputError, ModelError
from pytest_trt.precision.sessions import plain_session


class Watcher:
    """Runs a model and shows every float32 tensor that it computes or is given.

    Parameters
    ----------
    model : ModelProto
        A model in float32. It is run as it is, in one ONNX Runtime session with one thread and no graph
        optimisation.

    Attributes
    ----------
    names : frozenset of str
        The tensors: graph inputs included, initializers not.

    Raises
    ------
    ModelError
        ONNX Runtime does not load the model; its words are in `why`.
    """

    def __init__(self, model: ModelProto) -> None:
        probe = onnx.ModelProto()
        probe.CopyFrom(model)
        have = {value.name for value in probe.graph.output}
        for node in probe.graph.node:
            for name in node.output:
                if name and name not in have:
                    probe.graph.output.append(onnx.ValueInfoProto(name=name))
                    have.add(name)
        try:
            self._session = plain_session(probe)
        except Exception as error:  # ONNX Runtime raises types of its own C++ half
            raise ModelError(
                "ONNX Runtime does not load the model, so INT8 scales cannot be measured",
                why=str(error)[:2000],
            ) from error
        self._given = [value.name for value in probe.graph.input]
        self._names = [value.name for value in self._session.get_outputs() if value.type == "tensor(float)"]
        self._floats = {
            value.name for value in model.graph.input if value.type.tensor_type.elem_type == TensorProto.FLOAT
        }
        fixed = {tensor.name for tensor in model.graph.initializer}
        self.names = frozenset(self._names) | (self._floats - fixed)

    def watch(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the value of each float32 tensor for one feed: graph inputs included, initializers not.

        Raises
        ------
        InputError
            ONNX Runtime refuses the feed; its words are in `why`.
        """
        fed = {name: np.asarray(feed[name]) for name in self._given if name in feed}
        try:
            # No names would mean every output.
            results = self._session.run(self._names, fed) if self._names else []
        except Exception as error:  # ONNX Runtime raises types of its own C++ half
            raise InputError("a calibration input does not fit the model", why=str(error)[:2000]) from error
        return {name: fed[name] for name in fed if name in self._floats} | dict(
            zip(self._names, results, strict=True)
        )


def measure_ranges(model: ModelProto, feeds: Iterable[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Return the largest finite magnitude that each float32 tensor takes over some inputs.

    Parameters
    ----------
    model : ModelProto
        A model in float32, run as `Watcher` runs it.
    feeds : iterable of mapping of str to ndarray
        Inputs of the model, one mapping a run.

    Returns
    -------
    dict of str to float
        Tensor name (graph inputs included, initializers not) to amax; 0.0 where only zeros, NaN or infinities
        were seen.

    Raises
    ------
    InputError
        No feed was given, or ONNX Runtime refuses one.
    ModelError
        ONNX Runtime does not load the model; its words are in `why`.

    Notes
    -----
    Min-max calibration, symmetric: scale = amax / 127. NaN and infinities do not count: a scale is finite.
    """
    watcher = Watcher(model)
    reach: dict[str, float] = {}
    runs = 0
    for feed in feeds:
        runs += 1
        for name, array in watcher.watch(feed).items():
            reach[name] = max(reach.get(name, 0.0), find_amax(array))
    if not runs:
        raise InputError(
            "no calibration data: INT8 scales are measured on inputs, and there are none",
            mend="pass calibration=[{name: array}, ...] or inputs={name: array}",
        )
    return reach


def find_amax(array: np.ndarray) -> float:
    """Return the largest finite magnitude in an array, 0.0 where there is none."""
    largest = float(np.max(np.abs(array), initial=0.0))
    if np.isfinite(largest):
        return largest
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max(initial=0.0))
