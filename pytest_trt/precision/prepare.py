"""Turn a model and a precision into what a builder gets: a typed graph, or builder flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto

from pytest_trt.errors import PrecisionError, SettingsError
from pytest_trt.precision.int8 import quantize
from pytest_trt.precision.sixteen import retype
from pytest_trt.records import PRECISIONS

_QDQ = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Prepared:
    """A model made ready for one precision.

    Attributes
    ----------
    model : ModelProto
        What the parser gets. Inputs and outputs have the types of the user's model at each precision.
    matched : ModelProto
        The graph with every type written out: what the check interprets. Under strong typing it is `model`.
    precision : str
        One of `records.PRECISIONS`.
    strong : bool
        True where the graph's types decide, False where builder flags do.
    flags, clear : frozenset of str
        Names of `BuilderFlag` members to set and to clear.
    scales : mapping of str to ndarray
        INT8: tensor name to its scale, 0-d per tensor, 1-d per channel; float32.
    kept_fp32 : tuple of str
        Names of nodes that stay in float32 because ONNX has no such operator in the type asked for.
    hybrid : str
        INT8: `fp16` or `bf16` where what is not INT8 has that type; else `off`.
    implicit : bool
        INT8 scales come from a calibrator or from dynamic ranges: `model` is the float graph, and so is `matched`, since
        only the built engine says where INT8 is.
    constraints : str
        Weak typing: `prefer` or `obey` where every layer is given the type that was asked for; else `off`.
    """

    model: ModelProto
    matched: ModelProto
    precision: str
    strong: bool
    flags: frozenset[str] = frozenset()
    clear: frozenset[str] = frozenset()
    scales: Mapping[str, np.ndarray] = field(default_factory=dict)
    kept_fp32: tuple[str, ...] = ()
    hybrid: str = "off"
    implicit: bool = False
    constraints: str = "off"


def prepare(
    model: ModelProto,
    precision: str,
    *,
    strong: bool,
    ranges: Mapping[str, float] | None = None,
    hybrid: str = "off",
    implicit: bool = False,
    constraints: str = "off",
    rewriter: str = "builtin",
) -> Prepared:
    """Return a model made ready for a precision.

    Parameters
    ----------
    model : ModelProto
        A valid model, in float32 where the precision is to matter. It is not changed.
    precision : str
        `fp32`, `tf32`, `fp16`, `bf16` or `int8`.
    strong : bool
        Whether the network will be strongly typed. Otherwise 16-bit precisions are builder flags, and INT8 is
        a Q/DQ graph with float weights behind a Q of their own, which is what TensorRT 8.6 wants.
    ranges : mapping of str to float, optional
        Tensor name to amax, from `measure_ranges`. INT8 needs it unless the model has Q/DQ of its own.

    Returns
    -------
    Prepared

    Raises
    ------
    SettingsError
        The precision is unknown.
    PrecisionError
        INT8 without ranges, a tensor without a range, or a model that ONNX cannot lift to the operator set
        that the precision needs.
    ModelError
        The model contradicts itself.
    """
    if precision not in PRECISIONS:
        raise SettingsError(f"unknown precision {precision!r}", why=f"good values: {', '.join(PRECISIONS)}")
    quantized = any(node.op_type in _QDQ for node in model.graph.node)
    own = frozenset({"INT8"}) if quantized and not strong else frozenset[str]()  # the builder wants it said
    clear = frozenset() if precision == "tf32" else frozenset({"TF32"})
    if precision in ("fp32", "tf32"):
        flags = frozenset({"TF32"}) if precision == "tf32" else frozenset[str]()
        return Prepared(model, model, precision, strong, flags=flags | own, clear=clear)
    if precision == "int8":
        if ranges is None and not quantized:
            raise PrecisionError(
                "INT8 needs the range of each tensor, and none were given",
                mend="measure them: precision.measure_ranges(model, feeds)",
            )
        matched, scales = quantize(model, ranges or {}, folded=True)
        if strong:
            return Prepared(matched, matched, precision, strong, clear=clear, scales=scales)
        built, _ = quantize(model, ranges or {}, folded=False)
        return Prepared(built, matched, precision, strong, frozenset({"INT8"}), clear, scales)
    matched, kept = retype(model, precision)
    if strong:
        return Prepared(matched, matched, precision, strong, clear=clear, kept_fp32=kept)
    return Prepared(model, matched, precision, strong, own | {precision.upper()}, clear, kept_fp32=kept)
