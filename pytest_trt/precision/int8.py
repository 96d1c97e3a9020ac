"""Write explicit INT8 into a graph: QuantizeLinear and DequantizeLinear where TensorRT fuses them.

`onnxruntime.quantization`'s quantizer puts a Q between a convolution and the residual Add behind it, where
TensorRT's fusion wants none, and works on files. The rules here are TensorRT's own ("Working with Quantized
Types", "Explicit Quantization", recommended placement of Q/DQ):

=================  ==================================================================================================
what               where Q/DQ stands
=================  ==================================================================================================
weighted operator  on the data input and the weights of Conv, ConvTranspose, Gemm and MatMul; not on the bias
weights            one scale an output channel: axis 0 of Conv, axis 1 of ConvTranspose, whose weights are (C_in,
                   C_out / groups, ...), so groups share scales; by transB of Gemm; the last axis of a 2-D MatMul
output             behind the chain that fuses: BatchNormalization, residual Add, then an activation
residual Add       on the input that is not the fused convolution
pools              on both sides; MaxPool with one scale, so that it commutes with Q
Concat             one scale for its output and for every input that has a Q/DQ: nothing is requantised on the way
moved data         Reshape, Transpose, Slice, nearest Resize and their like: one scale before and behind
nothing of these   on the inputs and outputs of the graph
=================  ==================================================================================================
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from pytest_trt.errors import PrecisionError
from pytest_trt.precision import graph as graphs
from pytest_trt.precision.qdq import PairMaker

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu")
# Operators whose result has values of their data inputs alone: Q and DQ commute with them where the scale stays.
MOVES = frozenset(
    "Concat MaxPool GlobalMaxPool Reshape Flatten Squeeze Unsqueeze Transpose Slice Split Identity Expand Tile "
    "DepthToSpace SpaceToDepth Gather Resize".split()
)
# Least normal number, and the largest scale that is rounded up to a finite one.
_NORMAL = {"fp32": (2.0**-126, 3e38), "fp16": (2.0**-14, 65504.0), "bf16": (2.0**-126, 3e38)}
# QuantizeLinear has per-channel scales since operator set 13.
_OPSET = 13


def quantize(
    model: ModelProto,
    ranges: Mapping[str, float],
    *,
    folded: bool,
    grid: str = "fp32",
    keep: Collection[str] = (),
) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """Return a model with Q/DQ pairs, and the scales in it.

    Parameters
    ----------
    model : ModelProto
        A float32 model; one with QuantizeLinear nodes of its own is returned as it is. Not changed.
    ranges : mapping of str to float
        Tensor name to amax for every tensor that gets a Q.
    folded : bool
        True: weights are INT8 initializers behind a DQ. False: float32 initializers behind Q and DQ.
    grid : str
        `fp32`, `fp16` or `bf16`: scales are numbers of that type, rounded up so that nothing is clipped. A tensor with a
        scale below the type's normal numbers keeps its scales as they are.
    keep : collection of str
        Names of weighted nodes that stay in floating point.

    Returns
    -------
    model : ModelProto
    scales : dict of str to ndarray
        Tensor name to scale: amax / 127 in float32, 0-d for activations; 1-d for weights, along the output
        channels (axis 0; 1 for ConvTranspose; by transB for Gemm; the last for a 2-D MatMul). Zero point 0.

    Raises
    ------
    PrecisionError
        A tensor that needs a scale has no range.
    """
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return model, _own_scales(model)
    result = graphs.infer(graphs.at_least(model, _OPSET, "per-channel INT8"))
    graphs.settle(result)
    inserter = _Inserter(result, ranges, folded, grid, frozenset(keep))
    inserter.insert()
    return graphs.verify(result), inserter.scales


def scale_of(amax: float) -> np.ndarray:
    """Return amax / 127 as a 0-d float32; 1 where that would not be a normal number."""
    scale = np.float32(amax / 127.0)
    return np.asarray(scale if scale >= np.finfo(np.float32).tiny else np.float32(1.0))


def on_grid(scales: np.ndarray, grid: str) -> np.ndarray:
    """Return scales rounded up to numbers of a type; as they are where one would be no normal number of it."""
    if grid == "fp32" or not is_normal(scales, grid):
        return scales
    if grid == "fp16":
        near = scales.astype(np.float16)
        up = np.where(near.astype(np.float32) < scales, np.nextafter(near, np.float16(np.inf)), near)
        return np.asarray(up.astype(np.float32))
    bits = np.atleast_1d(scales.astype(np.float32)).view(np.uint32)
    raised = ((bits + np.uint32(0xFFFF)) & np.uint32(0xFFFF0000)).view(np.float32)
    return np.asarray(raised.reshape(scales.shape))


def is_normal(scales: np.ndarray, grid: str) -> bool:
    """Tell whether scales lie among the normal numbers of a type, with room to be rounded up."""
    least, most = _NORMAL[grid]
    return bool(np.all((scales >= least) & (scales <= most)))


def weight_scales(array: np.ndarray, axis: int | None) -> np.ndarray:
    """Return the scales of a weight tensor: 1-d along `axis`, or 0-d when it is None."""
    if axis is None:
        return scale_of(float(np.max(np.abs(array), initial=0.0)))
    amax = np.max(np.abs(array), axis=tuple(i for i in range(array.ndim) if i != axis), initial=0.0)
    return np.asarray([scale_of(float(value)) for value in amax], dtype=np.float32)


def quantize_array(array: np.ndarray, scale: np.ndarray, axis: int | None) -> np.ndarray:
    """Return array / scale, rounded half to even and held within [-128, 127], as int8."""
    if axis is not None:
        scale = scale.reshape([-1 if i == axis else 1 for i in range(array.ndim)])
    steps = np.rint(array.astype(np.float32) / scale)
    stored: np.ndarray = np.clip(steps, -128, 127).astype(np.int8)
    return stored


def weight_axis(node: NodeProto, rank: int) -> int | None:
    """Return the axis of a node's weights that runs over output channels; None: one scale has to do."""
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if graphs.attribute(node, "transB", 0) else 1
    if node.op_type == "MatMul":
        return 1 if rank == 2 else None
    return 0


class _Inserter:
    def __init__(
        self, model: ModelProto, ranges: Mapping[str, float], folded: bool, grid: str, keep: frozenset[str]
    ) -> None:
        self.graph = model.graph
        self.grid = grid
        self.keep = keep
        self.ranges = ranges
        self.folded = folded
        self.types = graphs.element_types(model)
        self.readers = graphs.consumers(model.graph)
        self.names = graphs.Names(model.graph)
        self.maker = PairMaker(self.names)
        self.constants = graphs.float_constants(model.graph)
        self.fixed = graphs.computed_constants(model.graph)
        self.outputs = {value.name for value in model.graph.output}
        self.makers = {name: node for node in model.graph.node for name in node.output if name}
        self.amax: dict[str, float] = {}
        self.scales: dict[str, np.ndarray] = {}
        self.weights: dict[tuple[str, int | None], str] = {}

    def insert(self) -> None:
        self._choose()
        nodes: list[NodeProto] = []
        renamed: dict[str, str] = {}
        for value in self.graph.input:
            if value.name in self.amax:
                nodes += self._pair(value.name, value.name, renamed)
        for node in self.graph.node:
            fresh = NodeProto()
            fresh.CopyFrom(node)
            for index, name in enumerate(node.input):
                fresh.input[index] = renamed.get(name, name)
                if self._is_weight(node, index):
                    made, extra = self._weight(node, name)
                    nodes += extra
                    fresh.input[index] = made
            nodes.append(fresh)
            for index, name in enumerate(node.output):
                if name in self.amax:
                    source = self.names.fresh(f"{name}_float") if name in self.outputs else name
                    fresh.output[index] = source
                    nodes += self._pair(name, source, renamed)
        used = {name for node in nodes for name in (*node.input, *graphs.captured(node))} | self.outputs
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        graphs.replace(self.graph, nodes, [*kept, *self.maker.tensors])

    # -- which tensors get a Q

    def _choose(self) -> None:
        fused: set[str] = set()
        for node in self.graph.node:
            if self._is_weighted(node) and self._is_float(node.output[0]):
                for index, name in enumerate(node.input[:2]):
                    if not self._is_weight(node, index):
                        self._mark(name)
                self._mark(self._chain_end(node, fused))
            elif node.op_type in _POOLS and self._is_float(node.output[0]):
                self._mark(node.input[0])
                self._mark(node.output[0])
        if not self.amax:
            for value in (*self.graph.input, *self.graph.output):
                self._mark(value.name)
        self._share_scales()

    def _share_scales(self) -> None:
        """Give the largest range to all quantised tensors between which data are only moved."""
        group: dict[str, list[str]] = {name: [name] for name in self.amax}
        for node in self.graph.node:
            if node.op_type not in MOVES or not self._commutes(node):
                continue
            data = node.input if node.op_type == "Concat" else node.input[:1]
            first, *rest = [name for name in (*data, *node.output) if name in group] or [""]
            for name in rest:
                if (other := group[name]) is not group[first]:
                    group[first] += other
                    group.update(dict.fromkeys(other, group[first]))
        for name, members in group.items():
            self.amax[name] = max(self.ranges[member] for member in members)

    @staticmethod
    def _commutes(node: NodeProto) -> bool:
        if node.op_type != "Resize":
            return True
        mode = next((entry.s for entry in node.attribute if entry.name == "mode"), b"nearest")
        return bool(mode == b"nearest")

    def _chain_end(self, node: NodeProto, fused: set[str]) -> str:
        """Follow what fuses behind a weighted node: BatchNormalization, one residual Add, one activation."""
        end: str = node.output[0]
        allowed = ["BatchNormalization", "Add", *_ACTIVATIONS]
        while (reader := self._only_reader(end)) is not None and reader.op_type in allowed:
            if reader.op_type == "Add":
                other = reader.input[1] if reader.input[0] == end else reader.input[0]
                if reader.output[0] in fused or other == end:
                    break
                self._mark(other)
                fused.add(reader.output[0])
                allowed = list(_ACTIVATIONS)
            elif reader.op_type == "BatchNormalization":
                allowed = ["Add", *_ACTIVATIONS]
            else:
                if reader.input[0] != end:
                    break
                allowed = []
            end = reader.output[0]
        return end

    def _only_reader(self, name: str) -> NodeProto | None:
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def _mark(self, name: str) -> None:
        if name in self.fixed or not self._is_float(name):
            return
        if name not in self.ranges:
            raise PrecisionError(
                f"tensor {name!r} needs an INT8 scale and has no range",
                why=f"ranges were given for {len(self.ranges)} tensors",
                mend="measure them on this very model: precision.measure_ranges(model, feeds)",
            )
        self.amax[name] = self.ranges[name]

    def _is_float(self, name: str) -> bool:
        return self.types.get(name) == TensorProto.FLOAT

    # -- what is put in

    def _is_weight(self, node: NodeProto, index: int) -> bool:
        return self._is_weighted(node) and index < 2 and node.input[index] in self.constants

    def _is_weighted(self, node: NodeProto) -> bool:
        return node.op_type in _WEIGHTED and node.name not in self.keep

    def _weight(self, node: NodeProto, name: str) -> tuple[str, list[NodeProto]]:
        array = self.constants[name]
        axis = weight_axis(node, array.ndim) if name == node.input[1] else None
        if (name, axis) in self.weights:
            return self.weights[name, axis], []
        scale = on_grid(weight_scales(array, axis), self.grid)
        self.scales.setdefault(name, scale)
        integers = quantize_array(array, scale, axis) if self.folded else None
        self.weights[name, axis], nodes = self.maker.weight(name, integers, scale, axis, name)
        return self.weights[name, axis], nodes

    def _pair(self, name: str, source: str, renamed: dict[str, str]) -> list[NodeProto]:
        scale = self.scales[name] = on_grid(scale_of(self.amax[name]), self.grid)
        end = renamed[name] = name if source != name else self.names.fresh(f"{name}_dq")
        return self.maker.pair(source, end, scale, name)


def _own_scales(model: ModelProto) -> dict[str, np.ndarray]:
    constants = graphs.float_constants(model.graph)
    return {
        node.input[0]: constants[node.input[1]]
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[1] in constants
    }
