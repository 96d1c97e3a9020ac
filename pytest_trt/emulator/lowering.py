"""Turns a typed ONNX graph into steps that ONNX Runtime's float32 and integer kernels compute exactly as promised.

One step stands for one ONNX node. Its nodes read and write carried tensors (`dtypes`): a 16-bit result is computed in
float32 from stored values, then rounded by a pair of Casts. A convolution or matrix product between DequantizeLinear
and constant int8 weights is computed on the integers, in parts small enough for the mantissa to be exact.
The same steps serve both ways to run: all in one session, or each in its own (`program`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from onnx import NodeProto, helper

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.constants import Constants, narrowed
from pytest_trt.emulator.graph import Graph
from pytest_trt.emulator.integer import IntegerProduct, find_product, lower_product
from pytest_trt.emulator.subgraphs import holds_halves, native_parts, outer_names

# Results are among the inputs (or zero), so rounding them again changes nothing.
_EXACT = frozenset(
    "Relu MaxPool GlobalMaxPool Concat Reshape Transpose Slice Gather Flatten Squeeze Unsqueeze Identity Split Clip Neg Abs "
    "Min Max Expand Tile Where Pad DepthToSpace SpaceToDepth GatherElements GatherND ReduceMax ReduceMin Dropout".split()
)
_TENSOR_CORE = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
_TYPED_ATTRIBUTES = frozenset(("dtype", "output_dtype"))


@dataclass(frozen=True)
class Policy:
    """How floats are computed.

    Attributes
    ----------
    weak : str
        `fp16` or `bf16` where a builder flag, not the graph, asks for it; else empty.
    tf32 : bool
        Inputs of convolutions and matrix products in float32 are rounded to 10 mantissa bits.
    fp32_nodes : frozenset of str
        Nodes kept in float32 whatever the flag or the graph says.
    types : mapping of str to str
        Weak typing: nodes with a type of their own, `fp32`, `fp16` or `bf16`; they are computed in it, operands included.
    stored : mapping of str to str
        Weak typing: tensors that are stored in a type of their own, whatever computes them.
    kept : frozenset of str
        Tensors that are stored as outputs are: those marked for debugging by name.
    """

    weak: str = ""
    tf32: bool = False
    fp32_nodes: frozenset[str] = frozenset()
    types: Mapping[str, str] = field(default_factory=dict)
    stored: Mapping[str, str] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()


@dataclass
class Step:
    """One node, lowered.

    Attributes
    ----------
    node : NodeProto
        The node of the user's graph.
    working : str
        The type it works in: `fp32`, `tf32`, `fp16`, `bf16`, `int8`, or that of its output.
    nodes : list of NodeProto
        What runs.
    reads : list of str
        Carried tensors that are needed, constants included.
    exact : dict of str to str
        Output to the tensor that holds it before rounding; absent where nothing is rounded.
    elems : dict of str to int
        Output to the element type in which it is stored.
    sources : dict of str to str
        Each input of the node, by its own name, to the tensor that it really is: integers behind DequantizeLinear, a
        rounded graph input, or itself.
    product : IntegerProduct or None
        The integer arithmetic of a quantized convolution or matrix product.
    readers : dict of str to tuple of str
        Output to the operators that read it; empty where it is an output of the network.
    """

    node: NodeProto
    working: str
    nodes: list[NodeProto] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    exact: dict[str, str] = field(default_factory=dict)
    elems: dict[str, int] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    product: IntegerProduct | None = None
    readers: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def rounds_inputs(self) -> bool:
        """True if float inputs must be rounded to TF32 before the step."""
        return self.working == "tf32"


@dataclass
class Lowered:
    """A graph as steps.

    Attributes
    ----------
    steps : list of Step
        In an order in which they can run; dead ones are left out.
    entry : list of Step
        Rounding of graph inputs under a weak flag; run before the others.
    constants : Constants
        Every constant that a step reads, carried.
    elems : dict of str to int
        Element type in which each tensor is stored.
    """

    steps: list[Step]
    entry: list[Step]
    constants: Constants
    elems: dict[str, int]


class _Lowering:
    def __init__(self, graph: Graph, policy: Policy) -> None:
        self.graph = graph
        self.policy = policy
        self.weak = dtypes.elem_of_short(policy.weak) if policy.weak else 0
        self.constants = Constants(graph)
        self.elems = {name: info.elem for name, info in graph.info.items()}
        # A float32 tensor and a 16-bit type to its rounded twin.
        self.alias: dict[tuple[str, int], str] = {}
        self.reformats: list[Step] = []  # what the next step needs to have rounded first
        self.fused: set[str] = set()  # results that go on to a QuantizeLinear before anything rounds them
        self.consumers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in graph.nodes:
            for name in node.input:
                self.consumers[name].append(node)

    def _low(self, node: NodeProto) -> int:
        """Return the 16-bit type in which a node's float32 tensors are computed; 0 where it is float32."""
        kind = self.policy.types.get(node.name)
        if kind is None:
            return self.weak
        return 0 if kind == "fp32" else dtypes.elem_of_short(kind)

    def entry(self) -> list[Step]:
        """Round float32 constants and graph inputs to the 16-bit types in which they are read."""
        if not self.weak and not self.policy.types:
            return []
        for name in self.constants.names():
            if self.elems.get(name) == dtypes.FLOAT:
                self._round_constant(name)
        steps = []
        for name in self.graph.inputs:
            if self.elems.get(name) != dtypes.FLOAT:
                continue
            users = [user for user in self.consumers.get(name, []) if user.op_type != "QuantizeLinear"]
            for elem in dict.fromkeys([self._low(user) for user in users] or [self.weak]):
                if elem:
                    steps.append(self._reformat(name, elem))
        return steps

    def _reformat(self, name: str, elem: int) -> Step:
        """Return the step that rounds a tensor to a 16-bit type for those who read it in that type."""
        short = dtypes.short_of(elem)
        rounded = f"{name}@{short}"
        node = helper.make_node("Cast", [name], [rounded], name=f"{name} reformat", to=elem)
        if any(known == name for known, _ in self.alias):
            node.name = f"{name} {short} reformat"
        step = Step(node, short, self._round(name, rounded, elem), [name])
        step.exact[rounded] = name
        step.sources[name] = name
        step.elems[rounded] = self.elems[rounded] = elem
        self.alias[name, elem] = rounded
        return step

    def _round_constant(self, name: str) -> None:
        """Round a constant in place where all its readers have one type, else once for each type."""
        users = self.consumers.get(name, [])
        kinds = {self._low(user) for user in users if not self._reads_wide(user, name)}
        if users and not kinds:
            return
        if len(kinds) <= 1:
            elem = kinds.pop() if kinds else self.weak
            if elem:
                self.constants.round(name, elem)
                self.elems[name] = elem
            return
        for elem in sorted(kinds - {0}):
            twin = self.alias[name, elem] = f"{name}@{dtypes.short_of(elem)}"
            self.constants.add(twin, narrowed(self.constants.array(name), elem))
            self.elems[twin] = elem

    @staticmethod
    def _reads_wide(user: NodeProto, name: str) -> bool:
        """Tell whether a node reads a constant in float32: a scale, or a parameter that TensorRT's parser folds in float32."""
        return (user.op_type in ("QuantizeLinear", "DequantizeLinear") and name in user.input[:2]) or (
            user.op_type == "BatchNormalization" and name in user.input[1:]
        )

    def _source(self, node: NodeProto, name: str, low: int) -> str:
        """Return the tensor that a node reads for one of its inputs: rounded to its type where a layer's own type differs."""
        if node.op_type == "QuantizeLinear" or self._reads_wide(node, name):
            return name
        if (name, low) in self.alias:
            return self.alias[name, low]
        maker = self.graph.producers.get(name)
        if maker is None or self.graph.tensor(name).elem != dtypes.FLOAT or name in self.constants:
            return name
        if low in (0, self.elems.get(name)) or not (
            maker.name in self.policy.types or name in self.policy.stored
        ):
            return name
        self.reformats.append(self._reformat(name, low))
        return self.alias[name, low]

    @staticmethod
    def _round(source: str, target: str, elem: int) -> list[NodeProto]:
        half = f"{target}@half"
        return [
            helper.make_node("Cast", [source], [half], to=elem),
            helper.make_node("Cast", [half], [target], to=dtypes.FLOAT),
        ]

    def _is_requantized(self, name: str, depth: int = 0) -> bool:
        users = self.consumers.get(name, [])
        if not users or name in self.graph.outputs or name in self.policy.kept:
            return False
        return all(
            user.op_type == "QuantizeLinear"
            or (
                depth < 2
                and user.op_type in ("Relu", "Clip")
                and self._is_requantized(user.output[0], depth + 1)
            )
            for user in users
        )

    def step(self, node: NodeProto) -> Step:
        """Return the step of one node."""
        kept = node.name in self.policy.fp32_nodes
        low = self._low(node)
        sources = {name: self._source(node, name, low) for name in node.input if name}
        floats = kept or node.name in self.policy.types
        product = None if floats else find_product(node, self.graph, self.constants)
        if product is not None and product.bias:
            product = replace(product, bias=sources[product.bias])
        elem = next((self.elems.get(name, 0) for name in node.output if name), 0)
        if product is not None:
            working = "int8"
        elif kept and elem in (*dtypes.HALVES, dtypes.FLOAT):
            working = "fp32"
        elif low and elem == dtypes.FLOAT and node.op_type != "DequantizeLinear":
            working = dtypes.short_of(low)
        elif self.policy.tf32 and elem == dtypes.FLOAT and node.op_type in _TENSOR_CORE:
            working = "tf32"
        else:
            working = dtypes.short_of(elem)
        step = Step(node, working, product=product)
        for name in filter(None, node.output):
            users = () if name in self.graph.outputs else self.consumers.get(name, ())
            step.readers[name] = tuple(user.op_type for user in users)
        rounded = {name: self._rounding(node, name, kept, product, sources) for name in node.output if name}
        rename = {name: f"{name}@exact" for name, to in rounded.items() if to}
        if product is not None:
            nodes, constants = lower_product(product, rename.get(node.output[0], node.output[0]))
            for name, array in constants.items():
                self.constants.add(name, array)
            step.nodes.extend(nodes)
            step.sources = {name: name for name in (product.x, product.w, product.bias) if name}
        else:
            step.nodes.extend(self._plain(node, rename, sources))
            step.sources = sources
        for name, to in rounded.items():
            if to:
                step.nodes.extend(self._round(rename[name], name, to))
                step.exact[name] = rename[name]
                self.elems[name] = to
            elif kept or name in self.fused:
                self.elems[name] = dtypes.carried_elem(self.elems.get(name, 0))
            elif low and working == dtypes.short_of(low) and self._is_rounded(node, low, sources):
                self.elems[name] = low
            step.elems[name] = self.elems.get(name, 0)
        made = {name for part in step.nodes for name in part.output}
        step.reads = _unique(name for part in step.nodes for name in part.input if name and name not in made)
        for part in step.nodes:
            for attribute in part.attribute:
                if attribute.type == attribute.GRAPH:
                    step.reads = _unique([*step.reads, *outer_names(attribute.g)])
        return step

    def _rounding(
        self,
        node: NodeProto,
        name: str,
        kept: bool,
        product: IntegerProduct | None,
        sources: Mapping[str, str],
    ) -> int:
        """Return the 16-bit type to which an output must be rounded; 0 where it need not be."""
        elem = self.elems.get(name, 0)
        if kept or node.op_type == "QuantizeLinear":
            return 0
        starts = product is not None
        goes_on = node.op_type in ("Relu", "Clip") and node.input[0] in self.fused
        if (starts or goes_on) and self._is_requantized(name):
            self.fused.add(name)
            return 0
        target = elem if elem in dtypes.HALVES else 0
        if elem == dtypes.FLOAT and name in self.policy.stored:
            target = dtypes.elem_of_short(self.policy.stored[name])
            target = target if target in dtypes.HALVES else 0
        elif elem == dtypes.FLOAT and node.op_type != "DequantizeLinear":
            target = self._low(node)
        return 0 if not starts and target and self._is_rounded(node, target, sources) else target

    def _is_rounded(self, node: NodeProto, elem: int, sources: Mapping[str, str]) -> bool:
        """Return whether the results have the values of a 16-bit type already: the inputs have, and none is new."""
        if node.op_type not in _EXACT:
            return False
        stored = [self.elems.get(sources[name], 0) for name in node.input if name]
        return all(kind == elem for kind in stored if kind in (dtypes.FLOAT, *dtypes.HALVES))

    def _plain(
        self, node: NodeProto, rename: Mapping[str, str], sources: Mapping[str, str]
    ) -> list[NodeProto]:
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = ""
        for position, name in enumerate(node.input):
            copy.input[position] = sources.get(name, name)
        for position, name in enumerate(node.output):
            copy.output[position] = rename.get(name, name)
        if node.op_type == "CastLike":
            copy.op_type = "Cast"
            target = self.elems.get(node.input[1], dtypes.FLOAT)
            del copy.input[1:]
            copy.attribute.append(helper.make_attribute("to", target))
        for attribute in copy.attribute:
            if attribute.type == attribute.TENSOR and attribute.t.data_type in dtypes.HALVES:
                attribute.t.CopyFrom(Constants.proto(attribute.t.name, dtypes.constant_array(attribute.t)))
            elif attribute.type == attribute.INT and attribute.i in dtypes.HALVES:
                if attribute.name in _TYPED_ATTRIBUTES or (attribute.name == "to" and copy.op_type == "Cast"):
                    attribute.i = dtypes.FLOAT
            elif attribute.type == attribute.GRAPH and holds_halves(attribute.g):
                return native_parts(node, copy, self.graph)
        return [copy]


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def lower(graph: Graph, policy: Policy, outputs: list[str]) -> Lowered:
    """Return the steps that compute `outputs`.

    Parameters
    ----------
    graph : Graph
        The typed graph.
    policy : Policy
        Builder flags, as far as they change arithmetic.
    outputs : list of str
        Tensors that must be computed; steps that none of them needs are left out.
    """
    lowering = _Lowering(graph, policy)
    entry = lowering.entry()
    steps: list[Step] = []
    for node in graph.nodes:
        if node.output[0] not in lowering.constants:
            step = lowering.step(node)
            steps += [*lowering.reformats, step]
            lowering.reformats.clear()
    needed = set(outputs)
    kept = []
    for step in reversed(steps):
        if needed.intersection(step.node.output):
            kept.append(step)
            needed.update(step.reads)
    kept.reverse()
    entry = [step for step in entry if needed.intersection(step.node.output)]
    return Lowered(kept, entry, lowering.constants, lowering.elems)


def has_quantization(graph: Graph) -> bool:
    """Return whether the graph has QuantizeLinear or DequantizeLinear nodes."""
    return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.model.graph.node)


def is_tensor_core(op_type: str) -> bool:
    """Return whether TF32 and INT8 arithmetic apply to an operator: convolutions and matrix products."""
    return op_type in _TENSOR_CORE


__all__ = ["Lowered", "Policy", "Step", "has_quantization", "is_tensor_core", "lower"]
