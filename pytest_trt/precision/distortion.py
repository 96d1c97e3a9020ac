"""Measure what INT8 scales do to the tensors of a model, and to its outputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from pytest_trt.errors import ModelError
from pytest_trt.precision.ranges import Watcher
from pytest_trt.precision.sessions import plain_session

Array = NDArray[Any]
Feed = Mapping[str, Array]

_QUANTILE = 0.9999
_BINS = 4096
_LARGEST = 127
# What rounds beyond 127 steps; up to half a step more loses nothing by it.
_BEYOND = _LARGEST + 0.5


@dataclass(frozen=True)
class TensorDistortion:
    """What one scale does to one tensor.

    Attributes
    ----------
    name : str
    scale : float
        float32 value of one step.
    clipped : float
        Share of values that round beyond 127 steps, 0 to 1.
    clipped_by_method : float
        The same share under the scale that fresh data give, over the slack: 0 for min-max; others clip on purpose.
    range_use : float
        99.99 % quantile of the magnitudes over 127 steps; 1 where it is that or more. Steps of 1/4096.
    sqnr : float
        Signal to quantisation noise ratio of the tensor, quantised and back, in dB.
    ratio : float
        The scale over the one that fresh data give, or the reverse: 1 or more.
    direction : int
        1 where the scale is the larger one, -1 where it is the smaller one, 0 where they are the same.
    """

    name: str
    scale: float
    clipped: float
    clipped_by_method: float
    range_use: float
    sqnr: float
    ratio: float
    direction: int = 0


def measure_distortion(
    model: ModelProto,
    scales: Mapping[str, float],
    fresh: Mapping[str, float],
    data: Iterable[Feed],
    *,
    slack: float = 1.0,
) -> tuple[TensorDistortion, ...]:
    """Return what scales do to the tensors of a float32 model over some data.

    Parameters
    ----------
    model : ModelProto
    scales, fresh : mapping of str to float
        Tensor name to its scale, and to the one that it should have.
    data : iterable of mapping of str to ndarray
        Inputs of the model; read once.
    slack : float
        What the method clips is counted with its scale over this: a threshold of entropy is an estimate.

    Returns
    -------
    tuple of TensorDistortion
        In the order of `scales`; without the tensors that are zero, or not finite, throughout.
    """
    watcher = Watcher(model)
    tallies = {name: _Tally(scale, fresh.get(name, math.inf) / slack) for name, scale in scales.items()}
    for feed in data:
        values = watcher.watch(feed)
        for name, tally in tallies.items():
            if name in values:
                tally.add(values[name])
    return tuple(
        TensorDistortion(
            name,
            tally.scale,
            tally.clipped / tally.count,
            tally.clipped_by_method / tally.count,
            tally.range_use(),
            decibels(tally.signal, tally.noise),
            max(tally.scale / fresh[name], fresh[name] / tally.scale) if name in fresh else math.nan,
            (tally.scale > fresh[name]) - (tally.scale < fresh[name]) if name in fresh else 0,
        )
        for name, tally in tallies.items()
        if tally.signal > 0
    )


def measure_output_sqnr(model: ModelProto, quantized: ModelProto, data: Iterable[Feed]) -> dict[str, float]:
    """Return the signal to noise ratio of each float output, in dB: the quantised graph against the float32 one.

    Raises
    ------
    ModelError
        ONNX Runtime loads one of the two not.
    """
    try:
        sessions = plain_session(model), plain_session(quantized)
    except Exception as error:  # ONNX Runtime raises types of its own C++ half
        raise ModelError("ONNX Runtime does not load the quantised model", why=str(error)[:2000]) from error
    names = [value.name for value in sessions[0].get_outputs() if value.type == "tensor(float)"]
    power = {name: [0.0, 0.0] for name in names}
    for feed in data:
        if not names:
            break
        want, got = (session.run(names, dict(feed)) for session in sessions)
        for name, w, g in zip(names, want, got, strict=True):
            fine = np.isfinite(w) & np.isfinite(g)
            power[name][0] += float(np.sum(np.square(w[fine], dtype=np.float64)))
            power[name][1] += float(np.sum(np.square(w[fine].astype(np.float64) - g[fine])))
    return {name: decibels(*pair) for name, pair in power.items() if pair[0] > 0}


def decibels(signal: float, noise: float) -> float:
    """Return 10 log10(signal / noise); infinite without noise."""
    if noise <= 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


class _Tally:
    def __init__(self, scale: float, fitting: float) -> None:
        self.scale, self.fitting = scale, fitting
        self.count = self.clipped = self.clipped_by_method = 0
        self.signal = self.noise = 0.0
        self.bins = np.zeros(_BINS, np.int64)

    def add(self, array: Array) -> None:
        finite = array[np.isfinite(array)].astype(np.float64)
        steps = finite / self.scale
        self.count += finite.size
        self.clipped += int(np.count_nonzero(np.abs(steps) > _BEYOND))
        self.clipped_by_method += int(np.count_nonzero(np.abs(finite) > _BEYOND * self.fitting))
        back = np.clip(np.rint(steps), -_LARGEST - 1, _LARGEST) * self.scale
        self.signal += float(np.sum(finite**2))
        self.noise += float(np.sum((finite - back) ** 2))
        place = np.ceil(np.minimum(np.abs(steps) / _LARGEST, 1.0) * _BINS).astype(np.int64) - 1
        self.bins += np.bincount(np.maximum(place, 0), minlength=_BINS)

    def range_use(self) -> float:
        wanted = math.ceil(_QUANTILE * self.count)
        return (int(np.searchsorted(np.cumsum(self.bins), wanted)) + 1) / _BINS
