"""Implicit INT8 (up to 10.16): ranges from a calibrator or from the tensors, then the graph with Q/DQ pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.building import Refusal
from pytest_trt.emulator.constants import Constants
from pytest_trt.emulator.graph import Graph, load
from pytest_trt.emulator.lowering import Policy, has_quantization, is_tensor_core
from pytest_trt.emulator.program import Program
from pytest_trt.emulator.reporting import Reporter, shielded

if TYPE_CHECKING:
    from pytest_trt.emulator.config import BuilderConfig
    from pytest_trt.emulator.host import Host
    from pytest_trt.emulator.network import Network

_NO_SCALES = (
    "Calibration failure occurred with no scaling factors detected. This could be due to no int8 calibrator or"
    " insufficient custom scales for network layers."
)


def implicit_quantization(
    host: Host,
    network: Network,
    config: BuilderConfig,
    graph: Graph,
    profiles: list[dict[str, Any]],
    reporter: Reporter,
) -> Graph:
    """Return the graph with Q/DQ pairs around convolutions and matrix products; itself if it has Q/DQ already.

    Raises
    ------
    Refusal
        Neither a calibrator nor a dynamic range, or a calibrator that gives no batch.
    """
    if has_quantization(graph):
        return graph
    ranges = {name: max(abs(low), abs(high)) for name, (low, high) in network._ranges.items()}
    calibrator = config.int8_calibrator
    if calibrator is not None:
        ranges = {**_calibrate(host, calibrator, config, graph, profiles, reporter), **ranges}
    if not ranges:
        raise Refusal("INVALID_CONFIG", _NO_SCALES)
    scales = {name: np.float32(amax / 127.0) for name, amax in ranges.items() if amax > 0}
    if host.faults:
        site, _ = host.faults.visit("calibrate", "int8", scales=scales, stage="engine")
        scales = site.scales
    return insert_pairs(graph, scales)


def _calibrate(
    host: Host,
    calibrator: Any,
    config: BuilderConfig,
    graph: Graph,
    profiles: list[dict[str, Any]],
    reporter: Reporter,
) -> dict[str, float]:
    cached = shielded(calibrator.read_calibration_cache)
    if cached is not None:
        try:
            return read_cache(bytes(memoryview(cached)), host.cache_header)
        except ValueError as error:
            reporter.log("WARNING", f"Calibration cache is not used: {error}")
    batch = shielded(calibrator.get_batch_size, default=0)
    if not batch:
        raise Refusal("INVALID_ARGUMENT", "The calibrator gives no batch size")
    chosen = config._calibration_profile
    shapes = {
        name: chosen._shapes[name][1] if chosen is not None and name in chosen._shapes else tuple(table[1])
        for name, table in profiles[0].items()
    }
    tensors = [
        name
        for name, node in graph.producers.items()
        if graph.tensor(name).elem == dtypes.FLOAT and node.op_type != "Constant"
    ]
    program = Program(graph, Policy(), tensors)
    found: dict[str, float] = {}
    count = 0
    while True:
        addresses = shielded(calibrator.get_batch, list(graph.inputs))
        if not addresses:
            break
        count += 1
        feeds: dict[str, NDArray[Any]] = {}
        for name, address in zip(graph.inputs, addresses, strict=True):
            kind = dtypes.storage_of(graph.tensor(name).elem)
            feeds[name] = host.device.read(int(address), kind, shapes[name])
        for name, array in (*feeds.items(), *program.run(feeds).items()):
            if array.dtype == np.float32 and array.size:
                found[name] = max(
                    found.get(name, 0.0), float(np.abs(array[np.isfinite(array)]).max(initial=0.0))
                )
    if not count:
        raise Refusal("INVALID_CONFIG", _NO_SCALES)
    if host.faults:
        table = {name: np.float32(amax / 127.0) for name, amax in found.items()}
        site, _ = host.faults.visit("calibrate", "int8", scales=table, stage="table", batches=count)
        found = {name: 127.0 * float(scale) for name, scale in site.scales.items()}
    shielded(calibrator.write_calibration_cache, write_cache(found, host.cache_header))
    return found


def write_cache(ranges: dict[str, float], header: str) -> bytes:
    """Return a calibration cache: a header line, then the bits of each tensor's scale in hexadecimal."""
    lines = [header]
    for name, amax in ranges.items():
        bits = int(np.float32(amax / 127.0).view(np.uint32))
        lines.append(f"{name}: {bits:08x}")
    return ("\n".join(lines) + "\n").encode()


def read_cache(data: bytes, header: str) -> dict[str, float]:
    """Return the range of each tensor in a calibration cache.

    Raises
    ------
    ValueError
        The header is of another TensorRT, or a line cannot be read.
    """
    lines = data.decode().splitlines()
    if not lines or lines[0] != header:
        raise ValueError(f"its header is {lines[0] if lines else ''!r}, expected {header!r}")
    found = {}
    for line in lines[1:]:
        name, _, bits = line.rpartition(": ")
        found[name] = float(np.uint32(int(bits, 16)).view(np.float32)) * 127.0
    return found


def _weight_scales(weights: NDArray[Any], node: NodeProto) -> tuple[NDArray[np.float32], int]:
    axis = {"Conv": 0, "ConvTranspose": 1, "MatMul": weights.ndim - 1}.get(node.op_type, 1)
    if node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute):
        axis = 0
    others = tuple(i for i in range(weights.ndim) if i != axis)
    amax = np.abs(weights).max(axis=others)
    return np.where(amax > 0, amax / 127.0, 1.0).astype(np.float32), axis


def insert_pairs(graph: Graph, scales: dict[str, Any]) -> Graph:
    """Return a copy of the graph with Q/DQ pairs on inputs and constant weights of convolutions and matrix products.

    Parameters
    ----------
    graph : Graph
        A float graph.
    scales : mapping of str to float
        Scale of each activation; an operator whose input has none stays as it is.
    """
    model = type(graph.model)()
    model.CopyFrom(graph.model)
    constants = Constants(graph)
    zero = "@int8_zero"
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((), np.int8), zero))
    nodes: list[NodeProto] = []
    done: dict[str, str] = {}
    for node in model.graph.node:
        if is_tensor_core(node.op_type) and node.input[0] in scales:
            weights = constants.folded(node.input[1])
            if weights is not None and weights.ndim >= 2:
                node.input[0] = _pair(
                    node.input[0], np.float32(scales[node.input[0]]), zero, done, nodes, model
                )
                node.input[1] = _weight_pair(node, weights, model, nodes)
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    changed = load(model)
    changed.outputs = list(graph.outputs)
    changed.own_outputs = graph.own_outputs
    return changed


def _pair(name: str, scale: Any, zero: str, done: dict[str, str], nodes: list[NodeProto], model: Any) -> str:
    if name not in done:
        model.graph.initializer.append(
            numpy_helper.from_array(np.float32(scale).reshape(()), f"{name}@scale")
        )
        given = [f"{name}@scale", zero]
        nodes.append(helper.make_node("QuantizeLinear", [name, *given], [f"{name}@q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}@q", *given], [f"{name}@dq"]))
        done[name] = f"{name}@dq"
    return done[name]


def _weight_pair(node: NodeProto, weights: NDArray[Any], model: Any, nodes: list[NodeProto]) -> str:
    scale, axis = _weight_scales(weights, node)
    shape = [1] * weights.ndim
    shape[axis] = -1
    quantized = np.clip(np.rint(weights / scale.reshape(shape)), -127, 127).astype(np.int8)
    base = f"{node.name}@weights"
    model.graph.initializer.append(numpy_helper.from_array(quantized, f"{base}_q"))
    model.graph.initializer.append(numpy_helper.from_array(scale, f"{base}_scale"))
    nodes.append(
        helper.make_node("DequantizeLinear", [f"{base}_q", f"{base}_scale"], [f"{base}_dq"], axis=axis)
    )
    return f"{base}_dq"
