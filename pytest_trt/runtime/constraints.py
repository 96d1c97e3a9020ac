"""Typing of networks, and types of single layers in weakly typed ones (TensorRT 8.6 and 10.x)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pytest_trt.errors import UnsupportedError

if TYPE_CHECKING:
    from pytest_trt.runtime.load import Runtime
    from pytest_trt.runtime.request import BuildRequest

_MEMBERS = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "BF16", "int8": "INT8"}
_FLOATING = ("FLOAT", "HALF", "BF16")
_FLAGS = {"prefer": "PREFER_PRECISION_CONSTRAINTS", "obey": "OBEY_PRECISION_CONSTRAINTS"}
# Layers that multiply and accumulate: those that implicit INT8 is for.
_WORKING = ("CONVOLUTION", "DECONVOLUTION", "FULLY_CONNECTED", "MATRIX_MULTIPLY")
# What has the types that the graph says: values, casts, quantisation, shapes, control flow, and plugins, which choose themselves.
_FIXED = frozenset(
    "CONSTANT CAST QUANTIZE DEQUANTIZE DYNAMIC_QUANTIZE SHAPE ASSERTION CONDITION CONDITIONAL_INPUT CONDITIONAL_OUTPUT "
    "TRIP_LIMIT RECURRENCE ITERATOR LOOP_OUTPUT PLUGIN PLUGIN_V2 PLUGIN_V3".split()
)


def flag_of(request: BuildRequest) -> str | None:
    """Return the builder flag that a request's constraints need; single types without a word on how strictly are obeyed."""
    if request.constraints == "off" and not (request.layer_types or request.output_types):
        return None
    kind = "obey" if request.constraints == "off" else request.constraints
    if kind not in _FLAGS:
        raise UnsupportedError(f"unknown constraints {kind!r}", why=f"good values: off, {', '.join(_FLAGS)}")
    return _FLAGS[kind]


def check_offered(rt: Runtime, request: BuildRequest) -> None:
    """Refuse a typing, or constraints, that this TensorRT or this typing does not have.

    Raises
    ------
    UnsupportedError
        With the version, and the way that works.
    """
    if request.strongly_typed and not rt.features.strong_typing:
        raise UnsupportedError(
            f"{rt.title} has no strongly typed networks",
            why="they came with TensorRT 10",
            mend="--trt-typing=weak or auto",
        )
    if not request.strongly_typed and not rt.features.weak_typing:
        raise UnsupportedError(
            f"{rt.title} has no weakly typed networks",
            why="precision flags ended with TensorRT 10.x and TensorRT-RTX 1.4",
            mend="--trt-typing=strong or auto",
        )
    if flag_of(request) is None:
        return
    if not (rt.features.layer_precision and rt.features.weak_typing):
        raise UnsupportedError(
            f"{rt.title} has no types of single layers and no precision constraints",
            why="ILayer.precision, set_output_type and the flags for them ended with TensorRT 10.x",
            mend="--trt-constraints=off; write Cast nodes into the graph: a strongly typed network keeps to them",
        )
    if request.strongly_typed:
        raise UnsupportedError(
            f"{rt.title} takes no types of single layers in a strongly typed network",
            why="there the graph names every type, and TensorRT keeps to it",
            mend="--trt-typing=weak, or Cast nodes in the graph",
        )


def check_implicit(rt: Runtime, *, by_ranges: bool = False) -> None:
    """Refuse implicit INT8 where this TensorRT has no calibrators (`by_ranges`: no dynamic ranges).

    Raises
    ------
    UnsupportedError
        With the version, and the way that works.
    """
    if not (rt.features.dynamic_ranges if by_ranges else rt.features.calibrators):
        raise UnsupportedError(
            f"{rt.title} has no implicit INT8",
            why="it has no calibrators and takes no dynamic ranges: both ended with TensorRT 10.16",
            mend="--trt-int8=explicit",
        )


def constrain(rt: Runtime, network: Any, request: BuildRequest) -> None:
    """Set the precision and the output types of layers as a request asks.

    Every layer with a floating output gets the type of the request's flags where `constraints` is on, those of
    `layer_types` their own. Outputs of the network keep the type of the user's model, integers and booleans theirs.

    Raises
    ------
    ModelError
        No layer, or no tensor, of a name that was given.
    UnsupportedError
        A type that this TensorRT has not, or a tensor whose type is fixed.
    """
    if flag_of(request) is None:
        return
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    outputs = {network.get_output(index).name for index in range(network.num_outputs)}
    if request.constraints != "off":
        for layer, kind in _asked(layers, request):
            _give(rt, layer, kind, outputs)
    for name, kind in (request.layer_types or {}).items():
        named = [layer for layer in layers if _is_named(layer, name)]
        if not named:
            raise _no_such("layer", name, (layer.name for layer in layers))
        for layer in named:
            _give(rt, layer, kind, outputs)
    places = {tensor.name: (layer, slot) for layer in layers for slot, tensor in _outputs(layer)}
    for name, kind in (request.output_types or {}).items():
        if name not in places:
            raise _no_such("tensor", name, places)
        layer, slot = places[name]
        if name in outputs or layer.get_output(slot).dtype.name not in _FLOATING:
            raise UnsupportedError(
                f"the type of tensor {name!r} is fixed",
                why="it is an output of the network" if name in outputs else "it is not a floating tensor",
                mend="name inner floating tensors in output_types",
            )
        layer.set_output_type(slot, _data_type(rt, kind))


def _asked(layers: list[Any], request: BuildRequest) -> Iterator[tuple[Any, str]]:
    """Yield each layer that a type is asked for by the flags, and the type; Q/DQ say for themselves where INT8 is."""
    low = next((kind for kind in ("fp16", "bf16") if kind.upper() in request.flags), "fp32")
    if "INT8" in request.flags and any(layer.type.name == "QUANTIZE" for layer in layers):
        return
    for layer in layers:
        is_int8 = "INT8" in request.flags and layer.type.name in _WORKING
        yield layer, "int8" if is_int8 else low


def _give(rt: Runtime, layer: Any, kind: str, network_outputs: set[str]) -> None:
    floating = [(slot, tensor) for slot, tensor in _outputs(layer) if tensor.dtype.name in _FLOATING]
    if layer.type.name in _FIXED or not floating or any(tensor.is_shape_tensor for _, tensor in floating):
        return
    wanted = _data_type(rt, kind)
    layer.precision = wanted
    if kind == "int8":
        return  # the type of the result is that of its reader
    for slot, tensor in floating:
        if tensor.name not in network_outputs:
            layer.set_output_type(slot, wanted)


def _outputs(layer: Any) -> list[tuple[int, Any]]:
    found = ((slot, layer.get_output(slot)) for slot in range(layer.num_outputs))
    return [(slot, tensor) for slot, tensor in found if tensor is not None]


def _is_named(layer: Any, name: str) -> bool:
    """Tell whether a layer has a name, or comes from the ONNX node of that name; one node may become several layers."""
    return bool(layer.name == name or f"[ONNX Layer: {name}]" in (getattr(layer, "metadata", "") or ""))


def _data_type(rt: Runtime, kind: str) -> Any:
    if kind not in _MEMBERS:
        raise UnsupportedError(f"unknown type {kind!r} for a layer", why=f"good ones: {', '.join(_MEMBERS)}")
    found = getattr(rt.trt.DataType, _MEMBERS[kind], None)
    if found is None:
        raise UnsupportedError(
            f"{rt.title} has no type {kind} for layers",
            why="bf16 came with TensorRT 10",
            mend="use fp16 or fp32",
        )
    return found


def _no_such(what: str, name: str, names: Any) -> Exception:
    from pytest_trt.precision.graph import no_such  # it loads onnx

    return no_such(what, name, names)
