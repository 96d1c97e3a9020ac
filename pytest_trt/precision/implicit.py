"""Implicit INT8, seen from outside: the graph that an engine computes, told by its layer list and its calibration table.

Under implicit quantisation (TensorRT 8.6 and 10.x) the builder decides where INT8 is. What it decided stands in the layer list:
a layer whose input is `Int8` reads that tensor quantised with the tensor's scale, and a tensor that a layer writes as
`Int8` is stored so for all its readers. Weights are quantised by the builder, symmetrically and one scale an output channel,
after a BatchNormalization behind a convolution was folded into them (TensorRT Developer Guide, "Post-Training Quantization
Using Calibration" and "Layer Fusion").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto

from pytest_trt.precision import graph as graphs
from pytest_trt.precision.attribution import onnx_nodes
from pytest_trt.precision.int8 import quantize_array, weight_axis, weight_scales
from pytest_trt.precision.qdq import PairMaker
from pytest_trt.records import LayerInfo

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_OPSET = 13
_NORM = "BatchNormalization"
# TensorRT's name for an input that it converted in front of a layer.
_REFORMATTED = re.compile(r"Reformatted Input Tensor (\d+) to ")


@dataclass(frozen=True)
class Placement:
    """Where an engine has INT8.

    Attributes
    ----------
    read : mapping of str to frozenset of int
        Node name to the positions of the inputs that it reads in INT8.
    stored : frozenset of str
        Tensors that are stored in INT8 for all their readers.
    untold : frozenset of str
        Weighted nodes that no layer names: nothing says in which type they ran.
    """

    read: Mapping[str, frozenset[int]] = field(default_factory=dict)
    stored: frozenset[str] = frozenset()
    untold: frozenset[str] = frozenset()


def name_nodes(model: ModelProto) -> ModelProto:
    """Return a copy of a model in which every node has a name, so that a layer list can name it."""
    made = ModelProto()
    made.CopyFrom(model)
    graphs.settle(made)
    return made


def find_placement(model: ModelProto, layers: Iterable[LayerInfo]) -> Placement:
    """Return where the layer list of an engine shows INT8.

    Parameters
    ----------
    model : ModelProto
        What the engine was built from, its nodes named.
    layers : iterable of LayerInfo
        DETAILED.
    """
    nodes = {node.name: node for node in model.graph.node}
    fixed = graphs.computed_constants(model.graph)
    read: dict[str, set[int]] = {}
    stored: set[str] = set()
    told: set[str] = set()
    for layer in layers:
        mine = [nodes[name] for name in onnx_nodes(layer) if name in nodes]
        told.update(node.name for node in mine)
        inner = {name for node in mine for name in node.output}
        stored.update(
            name
            for name, kind in zip(layer.writes, layer.outputs, strict=False)
            if kind == "int8" and name in inner
        )
        outer = [
            (node, position)
            for node in mine
            for position, name in enumerate(node.input)
            if name and name not in inner and name not in fixed
        ]
        names = list(dict.fromkeys(node.input[position] for node, position in outer))
        for place, (name, kind) in enumerate(zip(layer.reads, layer.inputs, strict=False)):
            if kind != "int8":
                continue
            converted = _REFORMATTED.match(name)
            if name not in names:
                place = int(converted.group(1)) if converted else place
                name = names[place] if place < len(names) else name
            for node, position in outer:
                if node.input[position] == name:
                    read.setdefault(node.name, set()).add(position)
    weighted = {node.name for node in nodes.values() if node.op_type in WEIGHTED}
    return Placement(
        {name: frozenset(positions) for name, positions in read.items()},
        frozenset(stored),
        frozenset(weighted - told),
    )


def write_placement(
    model: ModelProto, placement: Placement, scales: Mapping[str, np.float32]
) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """Return the graph that an engine computes, with Q/DQ where it has INT8, and the scales in it.

    Parameters
    ----------
    model : ModelProto
        What the engine was built from, in float32, its nodes named. Not changed.
    placement : Placement
    scales : mapping of str to numpy.float32
        The calibration table. A tensor without a scale stays in float32, whatever the placement says.

    Returns
    -------
    model : ModelProto
        Tensors keep their names: of one that is stored in INT8, `NAME` is the dequantised tensor.
    scales : dict of str to ndarray
        Tensor name to scale: 0-d for activations, 1-d along the output channels for weights.
    """
    made = ModelProto()
    made.CopyFrom(graphs.at_least(model, _OPSET, "per-channel INT8"))
    graphs.settle(made)
    writer = _Writer(made, placement, scales)
    writer.write()
    return graphs.verify(made), writer.scales


class _Writer:
    def __init__(self, model: ModelProto, placement: Placement, scales: Mapping[str, np.float32]) -> None:
        self.graph = model.graph
        self.placement = placement
        self.table = scales
        self.names = graphs.Names(model.graph)
        self.maker = PairMaker(self.names)
        self.constants = graphs.float_constants(model.graph)
        self.readers = graphs.consumers(model.graph)
        self.outputs = {value.name for value in model.graph.output}
        self.scales: dict[str, np.ndarray] = {}
        self.nodes: list[NodeProto] = []
        self.read: dict[str, str] = {}

    def write(self) -> None:
        folded: set[str] = set()
        for node in self.graph.node:
            if node.name in folded:
                continue
            fresh = NodeProto()
            fresh.CopyFrom(node)
            positions = self.placement.read.get(node.name, frozenset())
            in_int8 = node.op_type in WEIGHTED and 0 in positions and node.input[0] in self.table
            if in_int8 and node.input[1] in self.constants:
                folded |= self._fold_normalisation(fresh)
                fresh.input[1] = self._weight(fresh)
            for position in positions:
                name = node.input[position]
                if name in self.table and position < len(fresh.input):
                    fresh.input[position] = self._quantised(name)
            written = list(fresh.output)
            stored = {name for name in written if name in self.placement.stored and name in self.table}
            for index, name in enumerate(written):
                if name in stored:
                    fresh.output[index] = self.names.fresh(f"{name}_float")
            self.nodes.append(fresh)
            for index, name in enumerate(written):
                if name in stored:
                    self._pair(fresh.output[index], name, name)
        used = {name for node in self.nodes for name in (*node.input, *graphs.captured(node))} | self.outputs
        tensors = [*self.graph.initializer, *self.maker.tensors]
        graphs.replace(self.graph, self.nodes, [tensor for tensor in tensors if tensor.name in used])

    def _fold_normalisation(self, node: NodeProto) -> set[str]:
        """Fold the BatchNormalization that alone reads a convolution into its weights; return the names of nodes that go."""
        readers = self.readers.get(node.output[0], [])
        if node.op_type != "Conv" or len(readers) != 1 or node.output[0] in self.outputs:
            return set()
        after = readers[0]
        known = graphs.fold_normalisation(after, self.constants) if after.op_type == _NORM else None
        if known is None:
            return set()
        factor, shift, mean = known
        weights = self.constants[node.input[1]].astype(np.float64)
        biased = len(node.input) > 2 and node.input[2] != ""
        bias = self.constants[node.input[2]].astype(np.float64) if biased else np.zeros_like(factor)
        shape = (-1, *(1,) * (weights.ndim - 1))
        made = [self.names.fresh(f"{node.name}_folded"), self.names.fresh(f"{node.name}_shift")]
        self.maker.store(made[0], (weights * factor.reshape(shape)).astype(np.float32))
        self.maker.store(made[1], ((bias - mean) * factor + shift).astype(np.float32))
        self.constants[made[0]] = (weights * factor.reshape(shape)).astype(np.float32)
        kept = [node.input[0], *made]
        del node.input[:]
        node.input.extend(kept)
        node.output[0] = after.output[0]
        return {after.name}

    def _weight(self, node: NodeProto) -> str:
        array = self.constants[node.input[1]]
        axis = weight_axis(node, array.ndim)
        scale = weight_scales(array, axis)
        self.scales.setdefault(node.input[1], scale)
        integers = quantize_array(array, scale, axis)
        made, nodes = self.maker.weight(node.input[1], integers, scale, axis, node.name)
        self.nodes += nodes
        return made

    def _quantised(self, name: str) -> str:
        if name not in self.read:
            self.read[name] = self.names.fresh(f"{name}_dq")
            self._pair(name, self.read[name], name)
        return self.read[name]

    def _pair(self, source: str, target: str, name: str) -> None:
        scale = self.scales[name] = np.asarray(self.table[name], dtype=np.float32)
        self.nodes += self.maker.pair(source, target, scale, target)
