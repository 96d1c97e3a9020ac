"""The same precisions through libraries that others keep: ONNX Runtime's converters and NVIDIA's ModelOpt.

A library says which operators become 16-bit and where Q/DQ pairs stand. The numbers are ours with each of them: weights
rounded to nearest even (both libraries lift what lies below 6e-8), scales of activations from the ranges that were measured,
scales of weights per output channel. So three graphs of one model differ in their structure alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from pytest_trt.errors import PrecisionError, SettingsError
from pytest_trt.precision import graph as graphs
from pytest_trt.precision.int8 import quantize
from pytest_trt.precision.library_calls import PLACERS, PRODUCTS, RETYPERS, find_library_lack
from pytest_trt.precision.ordering import sort_nodes
from pytest_trt.precision.pairs import fill_pairs
from pytest_trt.precision.sixteen import BF16_OPSET, fold_batch_norms, low_tensor, retype

REWRITERS = ("builtin", "onnxruntime", "modelopt")
_PER_CHANNEL_OPSET = 13
_KINDS = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


@dataclass(frozen=True)
class Rewritten:
    """A model that says its precision itself.

    Attributes
    ----------
    model : ModelProto
        Checked, sorted, with inferred types. Inputs and outputs have the types of the given one.
    kept_fp32 : tuple of str
        Names of nodes that stay in float32. INT8: convolutions and products that the library leaves in floating point.
    scales : mapping of str to ndarray
        INT8: tensor name to its scale, 0-d per tensor, 1-d per channel; float32.
    """

    model: ModelProto
    kept_fp32: tuple[str, ...] = ()
    scales: Mapping[str, np.ndarray] = field(default_factory=dict)


def rewrite(
    model: ModelProto,
    precision: str,
    rewriter: str,
    *,
    ranges: Mapping[str, float] | None = None,
    folded: bool = True,
    grid: str = "fp32",
    keep: Collection[str] = (),
) -> Rewritten:
    """Return a model rewritten to a precision by one of the rewriters.

    Parameters
    ----------
    model : ModelProto
        In float32. It is not changed.
    precision : str
        `fp16`, `bf16` or `int8`.
    rewriter : str
        `builtin`, `onnxruntime` (`transformers.float16` and `quantization`) or `modelopt` (`onnx.autocast` and
        `onnx.quantization`).
    ranges : mapping of str to float, optional
        INT8: tensor name to amax, from `measure_ranges`.
    folded : bool
        INT8 weights: initializers behind a DQ; else float32 behind Q and DQ.
    grid : str
        INT8 scales are numbers of this type, as `int8.quantize` has it.
    keep : collection of str
        Names of nodes that stay in float32; ModelOpt keeps none in a 16-bit precision.

    Raises
    ------
    SettingsError
        There is no such rewriter, or none of these precisions.
    PrecisionError
        The library is not installed, cannot express the precision, fails on the model, or leaves a tensor without a
        scale.
    ModelError
        What it made is not valid.
    """
    if rewriter not in REWRITERS or precision not in (*_KINDS, "int8"):
        wrong, good = (rewriter, REWRITERS) if rewriter not in REWRITERS else (precision, (*_KINDS, "int8"))
        raise SettingsError(f"no rewriter makes {wrong!r}", why=f"good values: {', '.join(good)}")
    lack = find_library_lack(rewriter, precision)
    if lack is not None:
        raise PrecisionError(lack[0], mend=lack[1])
    if precision == "int8":
        return _eight(model, rewriter, ranges or {}, folded, grid, frozenset(keep))
    if rewriter == "builtin":
        made, kept = retype(model, precision, keep=frozenset(keep))
        return Rewritten(made, kept)
    return _sixteen(model, precision, rewriter, frozenset(keep))


def _eight(
    model: ModelProto,
    rewriter: str,
    ranges: Mapping[str, float],
    folded: bool,
    grid: str,
    keep: frozenset[str],
) -> Rewritten:
    # Both libraries begin at products; a graph without one has its pools, or inputs and outputs, quantised as by the builtin.
    plain = all(node.op_type not in PRODUCTS for node in model.graph.node)
    if rewriter == "builtin" or plain or _has_pairs(model):
        made, scales = quantize(model, ranges, folded=folded, grid=grid, keep=keep)
        return Rewritten(made, scales=scales)
    base = graphs.infer(graphs.at_least(model, _PER_CHANNEL_OPSET, "per-channel INT8"))
    graphs.settle(base)
    placed = _call(rewriter, lambda given: PLACERS[rewriter](given, sorted(keep)), base)
    scales = fill_pairs(placed, base, ranges, folded=folded, grid=grid)
    if not scales:
        raise PrecisionError(
            f"{rewriter} puts no Q/DQ pair into this model",
            why="its rules leave every convolution and product in floating point",
            mend="--trt-rewriter=builtin",
        )
    sort_nodes(placed.graph)
    left = tuple(name for name in _find_float_products(placed.graph) if name not in keep)
    return Rewritten(graphs.verify(placed), left, scales)


def _find_float_products(graph: GraphProto) -> list[str]:
    """Return the convolutions and products that a library has left in floating point: ModelOpt leaves small ones."""
    makers = {name: node for node in graph.node for name in node.output}
    found = []
    for node in graph.node:
        if node.op_type in PRODUCTS:
            sides = [makers.get(name) for name in node.input[:2]]
            if not all(maker is not None and maker.op_type == "DequantizeLinear" for maker in sides):
                found.append(node.name)
    return found


def _has_pairs(model: ModelProto) -> bool:
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def _sixteen(model: ModelProto, precision: str, rewriter: str, keep: frozenset[str]) -> Rewritten:
    if _has_pairs(model) or (keep and rewriter == "modelopt"):
        raise PrecisionError(
            f"{rewriter} does not write {precision} "
            + ("around Q/DQ pairs" if _has_pairs(model) else "with single nodes in float32"),
            mend="--trt-rewriter=builtin",
        )
    lifted = graphs.at_least(model, BF16_OPSET, "bf16") if precision == "bf16" else model
    base = graphs.infer(lifted)
    graphs.settle(base)
    fold_batch_norms(base)
    # What ONNX has no such type for must stay: no library asks the operator schemas.
    _, impossible = retype(base, precision)
    kinds = {
        node.op_type for node in base.graph.node if node.name in impossible and not graphs.subgraphs(node)
    }
    placed = _call(rewriter, lambda given: RETYPERS[rewriter](given, precision, kinds, sorted(keep)), base)
    _round_weights(placed, base, precision)
    sort_nodes(placed.graph)
    graphs.replace(placed.graph, list(placed.graph.node), list(placed.graph.initializer))  # stale types go
    made = graphs.verify(placed)
    kept = _find_kept(made, base, precision)
    return Rewritten(made, tuple(name for name in kept if name not in keep))


def _call(rewriter: str, work: Callable[[ModelProto], object], base: ModelProto) -> ModelProto:
    """Return what a library makes of a copy of a model; whatever it raises is told in our words."""
    copy = ModelProto()
    copy.CopyFrom(base)
    try:
        made = work(copy)
    except Exception as error:  # both raise anything, AssertionError and KeyError among them
        raise PrecisionError(
            f"{rewriter} fails on this model",
            why=f"{type(error).__name__}: {str(error).strip()[:500]}",
            mend="--trt-rewriter=builtin",
        ) from error
    if not isinstance(made, ModelProto):
        raise PrecisionError(f"{rewriter} gives no model", why=f"got {type(made).__name__}")
    return made


def _round_weights(made: ModelProto, base: ModelProto, precision: str) -> None:
    """Put weights rounded to nearest even in place of the library's."""
    wide = {t.name: t for t in base.graph.initializer if t.data_type == TensorProto.FLOAT}
    for tensor in made.graph.initializer:
        if tensor.data_type == _KINDS[precision] and tensor.name in wide:
            tensor.CopyFrom(low_tensor(wide[tensor.name], precision, tensor.name))


def _find_kept(made: ModelProto, base: ModelProto, precision: str) -> tuple[str, ...]:
    """Return the nodes of the given model that compute in float32 still."""
    before, after = graphs.element_types(base), graphs.element_types(made)
    nodes = {node.name: node for node in made.graph.node}
    kept = []
    for node in base.graph.node:
        now = nodes.get(node.name)
        if now is None or not any(
            before.get(name) == TensorProto.FLOAT for name in (*node.input, *node.output)
        ):
            continue
        if not _is_low(now, after, _KINDS[precision]):
            kept.append(node.name)
    return tuple(kept)


def _is_low(node: NodeProto, types: Mapping[str, int], kind: int) -> bool:
    outputs = [types.get(name) for name in node.output if name]
    if any(found in (TensorProto.FLOAT, kind) for found in outputs):
        return kind in outputs
    return kind in [types.get(name) for name in node.input if name]
