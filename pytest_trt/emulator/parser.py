"""The ONNX parser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from pytest_trt.emulator import dtypes, plugins_network
from pytest_trt.emulator import graph as graphs
from pytest_trt.emulator.bound import Bound
from pytest_trt.emulator.external import LostWeights, import_weights
from pytest_trt.emulator.graph import is_plugin
from pytest_trt.emulator.plugins_life import PluginFailure
from pytest_trt.emulator.reporting import Reporter

# Operators of the default domain that TensorRT's parser takes; source: onnx-tensorrt, docs/operators.md, release 10.x.
SUPPORTED = frozenset(
    (
        "Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast CastLike Ceil Celu Clip "
        "Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout Einsum "
        "Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool "
        "GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Identity If "
        "ImageScaler InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax "
        "Loop LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg "
        "NonMaxSuppression NonZero Not OneHot Or PRelu ParametricSoftplus Pad Pow QuantizeLinear RNN RandomNormal "
        "RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp "
        "ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign "
        "Round STFT ScaledTanh Scan ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax "
        "Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu "
        "Unsqueeze Upsample Where Xor"
    ).split()
)

# By position of the operand that has to be a constant.
_UNRESOLVED = {
    1: "Assertion failed: resolvedWeights(axesWeights): Axis input must resolve to a build-time constant (an initializer or a"
    " constant-foldable subgraph)!",
    2: "Assertion failed: inputs.at(2).is_weights(): This Version of TensorRT only supports the training_mode input as an"
    " initializer.",
}


@dataclass(frozen=True)
class _Fault:
    code: str
    text: str
    node: int = -1
    name: str = ""
    operator: str = ""


class ParserError(Bound):
    """One error of the parser."""

    _fault: _Fault

    def _setup(self, fault: _Fault) -> None:
        self._fault = fault

    def code(self) -> Any:
        """Return the `ErrorCode`."""
        return self._host.enum("ErrorCode")._table[self._fault.code]

    def desc(self) -> str:
        """Return what is wrong."""
        return self._fault.text

    def file(self) -> str:
        """Return the source file that a real message would name."""
        return "ModelImporter.cpp"

    def line(self) -> int:
        """Return 0: there is no source line."""
        return 0

    def func(self) -> str:
        """Return an empty text: there is no function to name."""
        return ""

    def node(self) -> int:
        """Return the index of the node, or -1."""
        return self._fault.node

    def node_name(self) -> str:
        """Return the name of the node."""
        return self._fault.name

    def node_operator(self) -> str:
        """Return the operator of the node."""
        return self._fault.operator

    def local_function_stack(self) -> list[str]:
        """Return an empty list: local functions are inlined first."""
        return []

    def local_function_stack_size(self) -> int:
        """Return 0."""
        return 0

    def __repr__(self) -> str:
        f = self._fault
        return f"In node {f.node} with name: {f.name} and operator: {f.operator} (): {f.code}: {f.text}"

    __str__ = __repr__


class OnnxParser(Bound):
    """Parses ONNX into an empty network; calls answer False and keep the errors."""

    _network: Any
    _reporter: Reporter

    def __init__(self, network: Any, logger: Any) -> None:
        self._network = network
        # The recorder that the network has now: one that is attached later is not told (seen with TensorRT-RTX 1.7.1).
        self._reporter = Reporter(self._host, logger, network._reporter.recorder)
        self._faults: list[_Fault] = []
        self._subgraphs: list[tuple[list[int], bool]] = []
        self._flags = 1 << int(self._host.enum("OnnxParserFlag")._table["NATIVE_INSTANCENORM"])
        self._flags *= self._host.major >= 10 or self._host.is_rtx

    @property
    def flags(self) -> int:
        """Parser flags, one bit each."""
        return self._flags

    @flags.setter
    def flags(self, value: int) -> None:
        self._flags = value

    def set_flag(self, flag: Any) -> None:
        """Turn a flag on."""
        self._flags |= 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        """Turn a flag off."""
        self._flags &= ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        """Return whether a flag is on."""
        return bool(self._flags & (1 << int(flag)))

    @property
    def num_errors(self) -> int:
        """How many errors the last call left."""
        return len(self._faults)

    def get_error(self, index: int) -> Any:
        """Return an error, or None with a logged error."""
        if 0 <= index < len(self._faults):
            return self._host.new(ParserError, self._faults[index])
        self._reporter.log("ERROR", f"OnnxParser::getError: index {index} is out of range")
        return None

    def clear_errors(self) -> None:
        """Forget all errors."""
        self._faults = []

    def _fail(self, faults: list[_Fault]) -> bool:
        self._faults.extend(faults)
        for fault in faults:
            text = repr(self._host.new(ParserError, fault))
            if self._reporter.recorder is not None:
                self._reporter.error("INVALID_ARGUMENT", "OnnxParser::parse", text)
            else:
                self._reporter.log("ERROR", text)
        return False

    def _usable(self) -> bool:
        if self._network._graph is not None:
            self._faults.append(
                _Fault("INTERNAL_ERROR", "Parse was called with a non-empty network definition")
            )
            self._reporter.log(
                "ERROR", "ModelImporter.cpp: Parse was called with a non-empty network definition"
            )
            return False
        if self._network._is_implicit:
            return self._fail(
                [
                    _Fault(
                        "INVALID_VALUE",
                        "This version of the ONNX parser only supports networks with an explicit batch dimension."
                        " Please create the network with the EXPLICIT_BATCH NetworkDefinitionCreationFlag.",
                    )
                ]
            )
        return True

    def _read(self, data: bytes, path: str | None) -> onnx.ModelProto | None:
        model = onnx.ModelProto()
        try:
            model.ParseFromString(data)
        except DecodeError:
            model.Clear()
        if not model.HasField("graph"):
            self._fail(
                [_Fault("MODEL_DESERIALIZE_FAILED", "Failed to parse ONNX model: these bytes are not one.")]
            )
            return None
        try:
            import_weights(model, path or None, self._host.faults)
        except LostWeights as lost:
            self._reporter.log("ERROR", f"WeightsContext.cpp: {lost}")
            self._fail([_Fault("INVALID_GRAPH", f"Failed to import initializer: {lost.tensor}")])
            return None
        return model

    def parse(self, model: Any, path: str | None = None) -> bool:
        """Fill the network from the bytes of a model; `path` says where its external weights lie."""
        self._faults = []
        if not self._usable():
            return False
        found = self._read(bytes(memoryview(model)), path)
        return found is not None and self._import(found)

    def parse_from_file(self, model: str) -> bool:
        """Fill the network from a file."""
        self._faults = []
        if not Path(model).is_file():
            return self._fail(
                [_Fault("INVALID_VALUE", f"Input file cannot be found, or is not a regular file: {model}")]
            )
        if not self._usable():
            return False
        found = self._read(Path(model).read_bytes(), model)
        return found is not None and self._import(found)

    def _import(self, model: onnx.ModelProto) -> bool:
        faults = self._check(model)
        if faults:
            return self._fail(faults)
        try:
            graph = graphs.load(model)
        except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
            return self._fail([_Fault("INVALID_GRAPH", str(error).strip())])
        try:
            plugins_network.import_nodes(self._network, graph)
        except PluginFailure as failure:
            for held in self._network._plugins.values():
                held.release()
            self._network._plugins.clear()
            return self._fail([_Fault("INVALID_NODE", str(failure))])
        typeless = [
            name for name in (*graph.inputs, *graph.outputs) if not dtypes.is_known(graph.tensor(name).elem)
        ]
        if typeless:
            code = self._code("UNSUPPORTED_NODE_DATATYPE")
            kinds = ", ".join(f"{name} ({graph.tensor(name).elem})" for name in typeless)
            return self._fail([_Fault(code, f"Unsupported data type of network input or output: {kinds}")])
        self._network._graph = graph
        return True

    def _code(self, name: str) -> str:
        return name if name in self._host.enum("ErrorCode")._table else "UNSUPPORTED_NODE"

    def _check(self, model: onnx.ModelProto) -> list[_Fault]:
        local = {function.name for function in model.functions}
        foreign = [
            n for n in model.graph.node if not self._takes(n.op_type, n.domain) and n.op_type not in local
        ]
        plugins_network.mark_nodes(self._host, model, foreign)
        # TensorRT works the shapes of outputs out; the checker wants one declared, be it a wrong one.
        shapeless = [value for value in model.graph.output if not value.type.tensor_type.HasField("shape")]
        for value in shapeless:
            value.type.tensor_type.shape.SetInParent()
        try:
            onnx.checker.check_model(model)
        except onnx.checker.ValidationError as error:
            unknown = self._unsupported(model)
            return unknown or [_Fault("INVALID_GRAPH", str(error).strip())]
        finally:
            for value in shapeless:
                value.type.tensor_type.ClearField("shape")
        return (
            self._unsupported(model)
            or self._unregistered(model)
            or self._asymmetric(model)
            or self._unresolved(model)
        )

    @staticmethod
    def _unresolved(model: onnx.ModelProto) -> list[_Fault]:
        """Axes of a reduction, and whether Dropout trains, are known when a network is built (seen with TensorRT-RTX 1.7.1)."""
        constants = {tensor.name for tensor in model.graph.initializer}
        unknown = {value.name for value in model.graph.input} - constants
        faults = []
        for position, node in enumerate(model.graph.node):
            place = (
                1
                if node.op_type.startswith("Reduce")
                else 2
                if node.op_type == "Dropout"
                else len(node.input)
            )
            if node.domain in ("", "ai.onnx") and unknown.intersection(node.input[place : place + 1]):
                faults.append(
                    _Fault("UNSUPPORTED_NODE", _UNRESOLVED[place], position, node.name, node.op_type)
                )
            if node.op_type not in ("Shape", "Size") and unknown.intersection(node.input):
                unknown.update(node.output)
        return faults

    @staticmethod
    def _unregistered(model: onnx.ModelProto) -> list[_Fault]:
        """The parser has never read `sparse_initializer`."""
        sparse = {tensor.values.name for tensor in model.graph.sparse_initializer}
        return [
            _Fault(
                "INVALID_GRAPH",
                "Assertion failed: (ctx->tensors().count(inputName)): Node input was not registered.",
                position,
                node.name,
                node.op_type,
            )
            for position, node in enumerate(model.graph.node)
            if sparse.intersection(node.input)
        ]

    @staticmethod
    def _asymmetric(model: onnx.ModelProto) -> list[_Fault]:
        """Zero points have to be zero, and dequantised constants signed (seen with TensorRT-RTX 1.7.1)."""
        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                constants[node.output[0]] = node.attribute[0].t
        faults = []
        for position, node in enumerate(model.graph.node):
            if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or node.domain not in (
                "",
                "ai.onnx",
            ):
                continue
            data = constants.get(node.input[0])
            zero = constants.get(node.input[2]) if len(node.input) > 2 else None
            if data is not None and data.data_type == onnx.TensorProto.UINT8:
                text = "Assertion failed: status.is_success(): Found unsupported input type of UINT8"
                faults.append(_Fault("UNSUPPORTED_NODE", text, position, node.name, node.op_type))
            elif zero is not None and np.any(onnx.numpy_helper.to_array(zero).astype(np.float32)):
                text = (
                    "Assertion failed: shiftIsAllZeros(zeroPoint): Non-zero zero point is not supported. Please set "
                    "kENABLE_UINT8_AND_ASYMMETRIC_QUANTIZATION_DLA to enable asymmetric quantization if it is on DLA."
                )
                faults.append(_Fault("INVALID_NODE", text, position, node.name, node.op_type))
        return faults

    def _unsupported(self, model: onnx.ModelProto) -> list[_Fault]:
        local = {function.name for function in model.functions}
        return [
            _Fault(
                "UNSUPPORTED_NODE",
                "Plugin not found, are the plugin name, version, and namespace correct? No importer registered for"
                f" op: {node.op_type}.",
                position,
                node.name,
                node.op_type,
            )
            for position, node in enumerate(model.graph.node)
            if not (self._takes(node.op_type, node.domain) or node.op_type in local or is_plugin(node))
        ]

    @staticmethod
    def _takes(op_type: str, domain: str) -> bool:
        return domain in ("", "ai.onnx") and op_type in SUPPORTED

    def supports_operator(self, op_name: str) -> bool:
        """Return whether the parser takes an operator."""
        return op_name in SUPPORTED

    def supports_model_v2(self, model: Any, path: str | None = None) -> bool:
        """Return whether the whole model is supported; `num_subgraphs` and the like tell of its parts."""
        self._faults = []
        self._subgraphs = []
        found = self._read(bytes(memoryview(model)), path)
        if found is None:
            return False
        faults = self._check(found)
        refused = {fault.node for fault in faults}
        for position in range(len(found.graph.node)):
            good = position not in refused
            if self._subgraphs and self._subgraphs[-1][1] == good:
                self._subgraphs[-1][0].append(position)
            else:
                self._subgraphs.append(([position], good))
        if faults:
            self._fail(faults)
        return not faults

    def supports_model(
        self, model: Any, path: str | None = None
    ) -> tuple[bool, list[tuple[list[int], bool]]]:
        """Return whether the whole model is supported, and its parts as (node indices, supported)."""
        good = self.supports_model_v2(model, path)
        return good, list(self._subgraphs)

    @property
    def num_subgraphs(self) -> int:
        """How many parts `supports_model_v2` found."""
        return len(self._subgraphs)

    def get_subgraph_nodes(self, index: int) -> list[int]:
        """Return the node indices of a part."""
        return list(self._subgraphs[index][0]) if 0 <= index < len(self._subgraphs) else []

    def is_subgraph_supported(self, index: int) -> bool:
        """Return whether a part is supported."""
        return 0 <= index < len(self._subgraphs) and self._subgraphs[index][1]

    def get_layer_output_tensor(self, name: str, i: int) -> Any:
        """Return the output tensor of a node, by the node's name, or None."""
        graph = self._network._graph
        for node in graph.nodes if graph else []:
            if node.name == name and 0 <= i < len(node.output):
                return self._network._tensor(node.output[i])
        return None

    def get_used_vc_plugin_libraries(self) -> list[str]:
        """Return an empty list: the emulator has no plugin libraries."""
        return []

    def set_builder_config(self, builder_config: Any) -> bool:
        """Take a builder configuration; the emulator needs none for parsing."""
        return True
