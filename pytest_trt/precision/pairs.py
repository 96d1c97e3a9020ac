"""Fill the Q/DQ pairs that a library has placed with scales from measured ranges."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from pytest_trt.errors import PrecisionError
from pytest_trt.precision import graph as graphs
from pytest_trt.precision.int8 import MOVES, on_grid, quantize_array, scale_of, weight_axis, weight_scales
from pytest_trt.precision.qdq import PairMaker

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def fill_pairs(
    placed: ModelProto, base: ModelProto, ranges: Mapping[str, float], *, folded: bool, grid: str = "fp32"
) -> dict[str, np.ndarray]:
    """Write our scales and weights into the pairs of a model, and return the scales.

    Parameters
    ----------
    placed : ModelProto
        `base` with Q/DQ pairs by a library; changed in place: symmetric int8 with zero points 0, weights per output
        channel, biases in float32 as they were.
    base : ModelProto
        The model without pairs; its nodes have names.
    ranges : mapping of str to float
        Tensor name to amax.
    folded : bool
        Weights become INT8 initializers behind a DQ; else they stay float32 behind Q and DQ.
    grid : str
        Scales are numbers of this type, as `int8.quantize` has it.

    Raises
    ------
    PrecisionError
        A tensor with a pair has no range.
    """
    return _Filler(placed, base, ranges, folded, grid).fill()


class _Filler:
    def __init__(
        self, placed: ModelProto, base: ModelProto, ranges: Mapping[str, float], folded: bool, grid: str
    ) -> None:
        self.grid = grid
        self.graph = placed.graph
        self.base = base.graph
        self.folded = folded
        self.ranges = ranges
        self.maker = PairMaker(graphs.Names(placed.graph), mark="_trt")
        self.makers = {name: node for node in self.graph.node for name in node.output if name}
        self.readers = graphs.consumers(self.graph)
        self.constants = graphs.float_constants(self.base)
        self.fixed = graphs.computed_constants(self.graph)
        self.made: dict[tuple[str, int | None], str] = {}
        self.added: list[NodeProto] = []
        self.scales: dict[str, np.ndarray] = {}

    def fill(self) -> dict[str, np.ndarray]:
        self._fill_weights()
        pairs = {
            node.output[0]: self._own_name(node)
            for node in self.graph.node
            if node.op_type == "QuantizeLinear" and node.input[0] not in self.fixed
        }
        amax = self._share_ranges(set(pairs.values()))
        for node in self.graph.node:
            if node.op_type == "QuantizeLinear" and node.output[0] in pairs:
                name = pairs[node.output[0]]
                self._fill_pair(node, name, on_grid(scale_of(amax[name]), self.grid))
        self.graph.initializer.extend(self.maker.tensors)
        nodes = [*self.added, *self.graph.node]
        for name in {name for node in nodes for name in node.input} & self.constants.keys():
            self._restore(name)  # ONNX Runtime drops a bias that was not there while it worked
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        _drop_unread(self.graph)
        return self.scales

    def _fill_weights(self) -> None:
        now = {node.name: node for node in self.graph.node}
        for node in self.base.node:
            if node.op_type not in _WEIGHTED or node.name not in now:
                continue
            for index, name in enumerate(node.input):
                if name not in self.constants:
                    continue
                maker = self.makers.get(now[node.name].input[index])
                if maker is None or maker.op_type != "DequantizeLinear":
                    continue
                # TensorRT reads no int32 behind DequantizeLinear: a bias stays float.
                now[node.name].input[index] = name if index > 1 else self._weight(node, index, name)

    def _weight(self, node: NodeProto, index: int, name: str) -> str:
        array = self.constants[name]
        axis = weight_axis(node, array.ndim) if index == 1 else None
        if (name, axis) in self.made:
            return self.made[name, axis]
        scale = on_grid(weight_scales(array, axis), self.grid)
        self.scales.setdefault(name, scale)
        integers = quantize_array(array, scale, axis) if self.folded else None
        self.made[name, axis], nodes = self.maker.weight(name, integers, scale, axis, name)
        self.added += nodes
        return self.made[name, axis]

    def _own_name(self, node: NodeProto) -> str:
        """Return the name that the tensor behind a Q has in the given model: a library renames what it quantises."""
        behind = [r for r in self.readers.get(node.output[0], []) if r.op_type == "DequantizeLinear"]
        sides = [str(node.input[0]), *(str(reader.output[0]) for reader in behind)]
        name = next((side for side in sides if side in self.ranges), None)
        if name is None:
            raise PrecisionError(
                f"tensor {node.input[0]!r} needs an INT8 scale and has no range",
                why=f"ranges were given for {len(self.ranges)} tensors",
                mend="measure them on this very model: precision.measure_ranges(model, feeds)",
            )
        return name

    def _share_ranges(self, names: set[str]) -> dict[str, float]:
        """Return the range of each quantised tensor: the largest among those between which data are only moved."""
        amax = {name: self.ranges[name] for name in names}
        moved = [
            [
                name
                for name in (*(n.input if n.op_type == "Concat" else n.input[:1]), *n.output)
                if name in amax
            ]
            for n in self.base.node
            if n.op_type in MOVES and (n.op_type != "Resize" or _is_nearest(n))
        ]
        for _ in moved:  # as often as the longest chain has links
            before = dict(amax)
            for group in moved:
                amax.update(dict.fromkeys(group, max((amax[name] for name in group), default=0.0)))
            if amax == before:
                break
        return amax

    def _fill_pair(self, node: NodeProto, name: str, scale: np.ndarray) -> None:
        self.scales[name] = scale
        parameters = self.maker.parameters(name, scale)
        behind = [r for r in self.readers.get(node.output[0], []) if r.op_type == "DequantizeLinear"]
        for each in (node, *behind):
            del each.input[1:]
            each.input.extend(parameters)
            del each.attribute[:]

    def _restore(self, name: str) -> None:
        if all(tensor.name != name for tensor in self.graph.initializer):
            self.graph.initializer.append(numpy_helper.from_array(self.constants[name], name))


def _is_nearest(node: NodeProto) -> bool:
    return bool(next((entry.s for entry in node.attribute if entry.name == "mode"), b"nearest") == b"nearest")


def _drop_unread(graph: GraphProto) -> None:
    """Drop pairs and initializers that nothing reads any more."""
    outputs = {value.name for value in graph.output}
    while True:
        read = outputs | {name for node in graph.node for name in (*node.input, *graphs.captured(node))}
        kept = [
            node
            for node in graph.node
            if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or read & set(node.output)
        ]
        if len(kept) == len(graph.node):
            break
        graphs.replace(graph, kept, list(graph.initializer))
    graphs.replace(graph, list(graph.node), [t for t in graph.initializer if t.name in read])
