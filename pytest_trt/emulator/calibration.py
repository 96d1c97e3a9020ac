"""Implicit INT8 (up to 10.16): ranges from a calibrator or from the tensors, and the table that a calibrator keeps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator import dtypes, histograms
from pytest_trt.emulator.building import Refusal
from pytest_trt.emulator.graph import Graph
from pytest_trt.emulator.histograms import Histogram
from pytest_trt.emulator.lowering import Policy, has_quantization
from pytest_trt.emulator.pairs import insert_pairs, tensors_without_scale
from pytest_trt.emulator.program import Program
from pytest_trt.emulator.reporting import Reporter, shielded

if TYPE_CHECKING:
    from pytest_trt.emulator.config import BuilderConfig
    from pytest_trt.emulator.host import Host
    from pytest_trt.emulator.network import Network

Scales = dict[str, np.float32]

_NO_SCALES = (
    "Calibration failure occurred with no scaling factors detected. This could be due to no int8 calibrator or"
    " insufficient custom scales for network layers."
)
# Member of CalibrationAlgoType to the word in a table's header.
_WORDS = {
    "ENTROPY_CALIBRATION_2": "EntropyCalibration2",
    "MINMAX_CALIBRATION": "MinMaxCalibration",
    "ENTROPY_CALIBRATION": "EntropyCalibration",
    "LEGACY_CALIBRATION": "LegacyCalibration",
}


def implicit_quantization(
    host: Host,
    network: Network,
    config: BuilderConfig,
    graph: Graph,
    profiles: list[dict[str, Any]],
    reporter: Reporter,
) -> Graph:
    """Return the graph with Q/DQ pairs around convolutions and matrix products; itself if it has Q/DQ already.

    A tensor that such a layer reads and that has no scale is named in a warning, and the layer is not INT8.

    Raises
    ------
    Refusal
        Neither a calibrator nor a dynamic range gives a scale, or a calibrator gives no batch.
    """
    if has_quantization(graph):
        return graph
    scales: Scales = {}
    if config.int8_calibrator is not None:
        scales = _Calibration(host, config, graph, profiles, reporter).scales()
    ranges = {name: max(abs(low), abs(high)) for name, (low, high) in network._ranges.items()}
    scales.update({name: np.float32(amax / 127.0) for name, amax in ranges.items() if amax > 0})
    known = {*graph.inputs, *graph.producers}
    if not known & scales.keys():
        raise Refusal("INVALID_CONFIG", _NO_SCALES)
    missing = tensors_without_scale(graph, scales)
    if host.faults:
        site, _ = host.faults.visit("calibrate", "int8", scales=scales, missing=missing, stage="engine")
        scales, missing = site.scales, site.missing
    for name in missing:
        reporter.log(
            "WARNING",
            f"Missing scale and zero-point for tensor {name}, expect fall back to non-int8 implementation for any"
            " layer consuming or producing given tensor",
        )
    return insert_pairs(graph, scales)


class _Calibration:
    """One calibration: the calibrator's cache if it can be used, else its batches."""

    def __init__(
        self,
        host: Host,
        config: BuilderConfig,
        graph: Graph,
        profiles: list[dict[str, Any]],
        reporter: Reporter,
    ) -> None:
        self._host, self._graph, self._reporter = host, graph, reporter
        self._calibrator = config.int8_calibrator
        self._algorithm = shielded(self._calibrator.get_algorithm)
        if self._algorithm is None or self._algorithm.name not in _WORDS:
            raise Refusal("INVALID_ARGUMENT", "The calibrator names no algorithm")
        self._header = host.cache_header(_WORDS[self._algorithm.name])
        chosen = config._calibration_profile
        self._shapes = {
            name: chosen._shapes[name][1]
            if chosen is not None and name in chosen._shapes
            else tuple(table[1])
            for name, table in profiles[0].items()
        }

    def scales(self) -> Scales:
        """Return the scale of each tensor; a new table is given to the calibrator to keep."""
        found = self._cached()
        return self._calibrate() if found is None else found

    def _cached(self) -> Scales | None:
        cache = shielded(self._calibrator.read_calibration_cache)
        data = b"" if cache is None else shielded(_bytes_of, cache, default=b"")
        if self._host.faults:
            site, _ = self._host.faults.visit(
                "calibrate", "int8", cache=data, header=self._header, stage="cache"
            )
            data = site.cache
        if not data:
            return None
        try:
            return read_cache(data, self._header)
        except ValueError as error:
            self._reporter.log("WARNING", f"Calibration cache is not used, calibrating anew: {error}")
            return None

    def _calibrate(self) -> Scales:
        find = self._search()
        if not shielded(self._calibrator.get_batch_size, default=0):
            raise Refusal("INVALID_ARGUMENT", "The calibrator gives no batch size")
        held, each = self._collect()
        if not each:
            raise Refusal("INVALID_CONFIG", _NO_SCALES)
        reaches = {name: find(histogram) for name, histogram in held.items()}
        scales = {name: np.float32(reach / 127.0) for name, reach in reaches.items() if reach > 0}
        if self._host.faults:
            site, _ = self._host.faults.visit(
                "calibrate", "int8", scales=scales, stage="table", batches=len(each), reach=each,
                algorithm=self._algorithm.name,
            )  # fmt: skip
            scales = site.scales
        shielded(self._calibrator.write_calibration_cache, write_cache(scales, self._header))
        return scales

    def _search(self) -> Callable[[Histogram], float]:
        if self._algorithm.name == "MINMAX_CALIBRATION":
            return histograms.minmax
        if self._algorithm.name != "LEGACY_CALIBRATION":
            return histograms.entropy
        # The cut-off and the histogram's cache are asked for, as TensorRT does, and not used: what for is not published.
        self._legacy("get_regression_cutoff", 1.0)
        self._legacy("read_histogram_cache", None, 0)
        part = self._legacy("get_quantile", -1.0)
        if not 0 < part <= 1:
            raise Refusal("INVALID_ARGUMENT", f"The calibrator's quantile {part} is not within (0, 1]")
        return histograms.quantile(part)

    def _legacy(self, name: str, default: Any, *args: Any) -> Any:
        """Return the answer of a method that the class of the bindings does not show, and a subclass must have."""
        method = getattr(self._calibrator, name, None)
        if method is None:
            print(
                f'[ERROR] Tried to call pure virtual function "IInt8LegacyCalibrator::{name}"',
                file=sys.stderr,
            )
            return default
        return shielded(method, *args, default=default)

    def _collect(self) -> tuple[dict[str, Histogram], list[dict[str, float]]]:
        """Return a histogram of each float32 tensor, and the largest magnitudes of each batch."""
        graph = self._graph
        tensors = [
            name
            for name, node in graph.producers.items()
            if graph.tensor(name).elem == dtypes.FLOAT and node.op_type != "Constant"
        ]
        program = Program(graph, Policy(), tensors)
        held: dict[str, Histogram] = {}
        each: list[dict[str, float]] = []
        while True:
            addresses = shielded(self._calibrator.get_batch, list(graph.inputs))
            if not addresses:
                return held, each
            feeds = self._read(addresses)
            values = {**feeds, **program.run(feeds)}
            each.append({name: _amax(array) for name, array in values.items() if array.dtype == np.float32})
            for name in each[-1]:
                held.setdefault(name, Histogram()).add(values[name])

    def _read(self, addresses: list[int]) -> dict[str, NDArray[Any]]:
        feeds = {}
        for name, address in zip(self._graph.inputs, addresses, strict=True):
            kind = dtypes.storage_of(self._graph.tensor(name).elem)
            narrow = (
                kind == np.int64 and "INT64" not in self._host.enum("DataType")._table
            )  # 8.6 makes it INT32
            stored = np.dtype(np.int32) if narrow else kind
            feeds[name] = self._host.device.read(int(address), stored, self._shapes[name]).astype(kind)
        return feeds


def _bytes_of(cache: Any) -> bytes:
    return bytes(memoryview(cache))


def _amax(array: NDArray[np.float32]) -> float:
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0))


def write_cache(scales: Mapping[str, Any], header: str) -> bytes:
    """Return a calibration cache: a header line, then the bits of each tensor's scale in hexadecimal."""
    lines = [header]
    for name, scale in scales.items():
        lines.append(f"{name}: {int(np.float32(scale).view(np.uint32)):08x}")
    return ("\n".join(lines) + "\n").encode()


def read_cache(data: bytes, header: str) -> Scales:
    """Return the scale of each tensor in a calibration cache.

    Raises
    ------
    ValueError
        The header is of another TensorRT or algorithm, or a line cannot be read.
    """
    first, *lines = data.decode().split("\n")
    if first != header:
        raise ValueError(f"its header is {first!r}, expected {header!r}")
    found = {}
    for line in lines:
        if not line:
            continue
        name, _, bits = line.rpartition(": ")
        number = int(bits, 16)
        if not 0 <= number < 1 << 32:
            raise ValueError(f"{bits!r} is no float32")
        scale = np.uint32(number).view(np.float32)
        if not (np.isfinite(scale) and scale > 0):
            raise ValueError(f"the scale of {name!r} is {scale}")
        found[name] = scale
    return found
