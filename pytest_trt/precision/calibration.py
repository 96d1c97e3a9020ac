"""Turn calibration data into the range of each tensor: min-max, entropy or percentile.

The histograms are built here and the threshold is found in them by ONNX Runtime's collector. Its calibrators build
their histograms too, but keep every tensor of every batch, cannot read batches of different sizes, and let the number of
bins grow with amax of a later batch over amax of the first one, without an end. Here two passes are made: the first finds
amax, the second fills a histogram that reaches just there. So the order and the size of the batches do not matter.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from pytest_trt.errors import InputError
from pytest_trt.precision.digests import add_feed, digest_model
from pytest_trt.precision.progress import Progress
from pytest_trt.precision.ranges import Watcher, find_amax

METHODS = ("minmax", "entropy", "percentile")

Array = NDArray[Any]
Feed = Mapping[str, Array]

# Bins over [-amax, amax] for entropy, as many as in the talk of GTC 2017; ONNX Runtime's own 128 leave the search one candidate,
# the whole range. Bins over [0, amax] for percentile, ONNX Runtime's own.
_BINS = {"entropy": 2048, "percentile": 2048}
_QUANTIZED_BINS = 128


@dataclass(frozen=True)
class Calibration:
    """Calibration data, and how ranges are made from them.

    Attributes
    ----------
    data : iterable of mapping of str to ndarray
        Inputs of the model, one mapping a batch, preprocessed as for inference. Read once: it may be a generator.
    method : str
        `minmax`: the largest magnitude. `entropy`: the range whose quantised histogram has the least Kullback-Leibler
        divergence from the true one. `percentile`: the magnitude that `percentile` per cent of the values do not exceed.
    percentile : float
        In (0, 100]; used by the method of that name.
    progress : callable, optional
        Called as `progress(done, total)` behind each step; `total` is None while it is not known. A batch read is a step:
        entropy and percentile read each twice, and then search one threshold a tensor, a step too.
    """

    data: Iterable[Feed]
    method: str = "minmax"
    percentile: float = 99.999
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(
                f"unknown calibration method {self.method!r}", why=f"good values: {', '.join(METHODS)}"
            )
        if not 0 < self.percentile <= 100:
            raise InputError(
                f"percentile {self.percentile!r} is not in (0, 100]",
                why="it is the share of values, in per cent, that the range has to hold",
                mend="percentile=99.999",
            )
        if isinstance(self.data, (Mapping, str, bytes, np.ndarray)) or not isinstance(self.data, Iterable):
            raise InputError(
                f"calibration data is of type {type(self.data).__name__}, and should be an iterable of mappings",
                why="each element is one batch: input name to array",
                mend="data=[{name: array}, ...], or a generator of such mappings",
            )


@dataclass(frozen=True, eq=False)
class Ranges(Mapping[str, float]):
    """What a calibration found: tensor name to amax, and where it comes from.

    Attributes
    ----------
    amax : mapping of str to float
        Tensor name to the magnitude that becomes 127; 0.0 where only zeros, NaN or infinities were seen.
    method : str
        One of `METHODS`.
    batches, samples : int
        How many mappings were read, and how many rows they had.
    digest : str
        SHA-256 of the data, see `digest_feeds`.
    model : str
        SHA-256 of the model that was run.
    percentile : float, optional
        Where the method is `percentile`.
    """

    amax: Mapping[str, float]
    method: str
    batches: int
    samples: int
    digest: str
    model: str
    percentile: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "amax", MappingProxyType(dict(self.amax)))

    def __getitem__(self, name: str) -> float:
        return self.amax[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.amax)

    def __len__(self) -> int:
        return len(self.amax)

    def __reduce__(self) -> tuple[object, ...]:
        rest = (self.method, self.batches, self.samples, self.digest, self.model, self.percentile)
        return type(self), (dict(self.amax), *rest)

    def provenance(self) -> dict[str, str | int | float]:
        """Return where the ranges come from, in plain values: method, counts, digests of the data and of the model."""
        facts: dict[str, str | int | float] = {
            "method": self.method,
            "batches": self.batches,
            "samples": self.samples,
            "digest": self.digest,
            "model": self.model,
        }
        return facts if self.percentile is None else facts | {"percentile": self.percentile}


def calibrate(model: ModelProto, calibration: Calibration) -> Ranges:
    """Return the range of each float32 tensor of a model over calibration data.

    Parameters
    ----------
    model : ModelProto
        A model in float32; not changed.
    calibration : Calibration
        Its data are read once. Those of an iterable that is no sequence are kept in a temporary folder where the method
        needs a second pass.

    Returns
    -------
    Ranges
        Graph inputs included, initializers not.

    Raises
    ------
    InputError
        There are no data, a batch is no mapping, or it lacks an input, has one too many, or has a wrong type or shape.
    ModelError
        ONNX Runtime does not load the model.

    Notes
    -----
    Symmetric: scale = amax / 127. NaN and infinities do not count. Entropy and percentile are those of
    `onnxruntime.quantization` (`CalibrationMethod.Entropy`, `CalibrationMethod.Percentile`); entropy goes back to S.
    Migacz, "8-bit inference with TensorRT", GTC 2017.
    """
    watcher = Watcher(model)
    again = calibration.method != "minmax"
    with tempfile.TemporaryDirectory(prefix="trt-calibration-") as folder:
        stream = _Stream(model, calibration, len(watcher.names), Path(folder) if again else None)
        reach = _Reach()
        for feed in stream.first_pass():
            reach.add(watcher.watch(feed))
        amax = reach.amax
        if again:
            histograms = _Histograms(calibration.method, reach)
            for feed in stream.second_pass():
                histograms.add(watcher.watch(feed))
            amax = histograms.find_thresholds(calibration.percentile, stream.tell)
    return Ranges(
        amax,
        calibration.method,
        stream.batches,
        stream.samples,
        stream.digest.hexdigest(),
        digest_model(model),
        calibration.percentile if calibration.method == "percentile" else None,
    )


def count_rows(feed: Feed) -> int:
    """Return how many samples a batch holds: the length that all its arrays share in front, 1 if they share none."""
    lengths = {array.shape[0] if array.ndim else 1 for array in map(np.asarray, feed.values())}
    return lengths.pop() if len(lengths) == 1 else 1


@dataclass
class _Stream:
    """The data, batch by batch: checked, counted, told to `progress`, and kept where they are read again."""

    model: ModelProto
    calibration: Calibration
    tensors: int
    folder: Path | None
    digest: Any = field(default_factory=hashlib.sha256)
    batches: int = 0
    samples: int = 0
    steps: int = 0

    def first_pass(self) -> Iterator[Feed]:
        data = self.calibration.data
        fixed = {tensor.name for tensor in self.model.graph.initializer}
        types = {v.name: v.type.tensor_type.elem_type for v in self.model.graph.input if v.name not in fixed}
        wanted = {name: np.dtype(helper.tensor_dtype_to_np_dtype(kind)) for name, kind in types.items()}
        self.total = self._count_steps(len(data)) if isinstance(data, Sequence) else None
        for feed in data:
            checked = _check(feed, wanted, self.batches)
            add_feed(self.digest, checked)
            if self.folder is not None and not isinstance(data, Sequence):
                arrays = [checked[name] for name in sorted(checked)]
                np.savez(self.folder / f"{self.batches}.npz", *arrays)
            yield checked
            self.batches += 1
            self.samples += count_rows(checked)
            self.tell()
        if not self.batches:
            raise InputError(
                "no calibration data: INT8 scales are measured on inputs, and there are none",
                why="the iterable ended before its first batch; a generator can be read once only",
                mend="data=[{name: array}, ...], or a fresh generator",
            )
        self.names = sorted(wanted)

    def second_pass(self) -> Iterator[Feed]:
        self.total = self._count_steps(self.batches)
        for index in range(self.batches):
            yield self._again(index)
            self.tell()

    def tell(self) -> None:
        """One step more is done."""
        self.steps += 1
        if self.calibration.progress is not None:
            self.calibration.progress(self.steps, self.total)

    def _again(self, index: int) -> Feed:
        if isinstance(self.calibration.data, Sequence):
            return {name: np.asarray(array) for name, array in self.calibration.data[index].items()}
        assert self.folder is not None
        with np.load(self.folder / f"{index}.npz") as kept:
            return {name: kept[f"arr_{place}"] for place, name in enumerate(self.names)}

    def _count_steps(self, batches: int) -> int:
        return batches if self.folder is None else 2 * batches + self.tensors


def _check(feed: object, wanted: Mapping[str, np.dtype[Any]], index: int) -> dict[str, Array]:
    """Return a batch as arrays; a wrong one is refused with its number."""
    if not isinstance(feed, Mapping):
        raise InputError(
            f"calibration batch {index} is of type {type(feed).__name__}, and should be a mapping",
            why=f"inputs of the model: {', '.join(sorted(wanted))}",
            mend="yield {name: array}",
        )
    if lacking := sorted(wanted.keys() - feed.keys()):
        raise InputError(
            f"calibration batch {index} lacks input {lacking[0]!r}",
            why=f"it has {', '.join(map(repr, sorted(map(str, feed)))) or 'nothing'}",
            mend="name each array after the input of the model that it is for",
        )
    if extra := sorted(map(str, feed.keys() - wanted.keys())):
        raise InputError(
            f"calibration batch {index} has {extra[0]!r}, which is no input of the model",
            why=f"inputs of the model: {', '.join(sorted(wanted))}",
        )
    arrays = {name: np.asarray(feed[name]) for name in wanted}
    for name, array in arrays.items():
        if array.dtype != wanted[name]:
            raise InputError(
                f"calibration batch {index}: input {name!r} is {array.dtype}, and the model reads {wanted[name]}",
                mend=f"convert it as for inference: array.astype(numpy.{wanted[name]})",
            )
        if not array.size:
            raise InputError(
                f"calibration batch {index}: input {name!r} has no values", why=f"shape {array.shape}"
            )
    return arrays


class _Reach:
    """Lowest, highest and largest finite value of each tensor."""

    def __init__(self) -> None:
        self.amax: dict[str, float] = {}
        self.span: dict[str, tuple[np.float32, np.float32]] = {}

    def add(self, values: Mapping[str, Array]) -> None:
        for name, array in values.items():
            self.amax[name] = max(self.amax.get(name, 0.0), find_amax(array))
            finite = array[np.isfinite(array)]
            if finite.size:
                low, high = self.span.get(name, (np.float32(np.inf), np.float32(-np.inf)))
                self.span[name] = min(low, finite.min()), max(high, finite.max())


class _Histograms:
    """One histogram a tensor, in the form that ONNX Runtime's collector has."""

    def __init__(self, method: str, reach: _Reach) -> None:
        self.method = method
        self.reach = reach
        # A tensor that is zero everywhere has no distribution: its amax is 0 by every method.
        self.edges = {
            name: np.linspace(
                -amax if method == "entropy" else 0.0, amax, _BINS[method] + 1, dtype=np.float32
            )
            for name, amax in reach.amax.items()
            if amax >= np.finfo(np.float32).tiny
        }
        self.counts = {name: np.zeros(_BINS[method], np.int64) for name in self.edges}

    def add(self, values: Mapping[str, Array]) -> None:
        for name, edges in self.edges.items():
            finite = values[name][np.isfinite(values[name])]
            if self.method == "percentile":
                finite = np.abs(finite)
            # Given as a range, numpy need not search the bin of each value.
            span = (float(edges[0]), float(edges[-1]))
            self.counts[name] += np.histogram(finite, bins=_BINS[self.method], range=span)[0]

    def find_thresholds(self, percentile: float, tell: Callable[[], None]) -> dict[str, float]:
        """Return amax of each tensor by the method: ONNX Runtime's search in the histograms."""
        from onnxruntime.quantization.calibrate import HistogramCollector  # slow to import

        amax = dict(self.reach.amax)
        for name in amax:
            if name in self.edges:
                edges = self.edges[name]
                collector = HistogramCollector(
                    method=self.method,
                    symmetric=True,
                    num_bins=_BINS[self.method],
                    num_quantized_bins=_QUANTIZED_BINS,
                    percentile=percentile,
                    scenario="same",
                )
                histogram = (self.counts[name], edges, *self.reach.span[name])
                collector.histogram_dict = {name: histogram}
                with contextlib.redirect_stdout(io.StringIO()):  # it tells its steps with print
                    low, high, *_ = collector.compute_collection_result()[name]
                amax[name] = min(amax[name], max(abs(float(low)), abs(float(high))))
            tell()
        return amax
