"""Turn a model and a precision into what a builder gets: a typed graph, or builder flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from onnx import ModelProto

from pytest_trt.errors import PrecisionError, SettingsError
from pytest_trt.precision import graph as graphs
from pytest_trt.precision.rewriters import REWRITERS, rewrite
from pytest_trt.precision.sixteen import retype
from pytest_trt.records import PRECISIONS

_HALVES = ("fp16", "bf16")
_CONSTRAINTS = ("off", "prefer", "obey")
# The first operator set with 16-bit scales in QuantizeLinear and DequantizeLinear.
_TYPED_SCALES = 19


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
    layer_types : mapping of str to str
        Weak typing: the layers with a type of their own.
    dummy_range : float or None
        Every tensor has the INT8 range -r to r: good for a speed trial and for nothing else.
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
    layer_types: Mapping[str, str] = field(default_factory=dict)
    dummy_range: float | None = None

    @property
    def accurate(self) -> bool:
        """Whether the outputs mean anything: not with dummy ranges."""
        return self.dummy_range is None

    def demand_accurate(self) -> None:
        """Refuse to have the outputs judged where they mean nothing.

        Raises
        ------
        PrecisionError
            The ranges are dummies.
        """
        if not self.accurate:
            raise PrecisionError(
                "built for a speed trial with dummy ranges; its outputs mean nothing",
                why=f"every tensor was given the INT8 range -{self.dummy_range:g} to {self.dummy_range:g}",
                mend="build it without dummy_range, with scales from data, before any number is compared",
            )


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
    layer_types: Mapping[str, str] | None = None,
    dummy_range: float | None = None,
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
        Tensor name to amax, from `measure_ranges`. INT8 needs it unless the model has Q/DQ of its own, the scales come
        from a calibrator, or the ranges are dummies.
    hybrid : str
        INT8 alone: `fp16` or `bf16`, the type of everything that is not INT8. Strong typing: it is written into the graph,
        and scales are numbers of that type. Weak typing: one more builder flag.
    implicit : bool
        INT8 alone, weak typing alone: the float graph and the flag INT8; scales come from a calibrator or dynamic ranges.
    constraints : str
        Weak typing alone: `prefer` or `obey`, every layer is given the type that was asked for.
    rewriter : str
        Who writes the typed graph: `builtin`, `onnxruntime` or `modelopt`. 16-bit types around INT8 are always written by
        `builtin`.
    layer_types : mapping of str to str, optional
        Weak typing alone: layer name to `fp32`, the type that it keeps, or to the precision itself.
    dummy_range : float, optional
        INT8 alone, for speed trials: -r to r on every tensor. Strong typing: Q/DQ pairs with one constant scale for
        activations. Weak typing: dynamic ranges.

    Returns
    -------
    Prepared

    Raises
    ------
    SettingsError
        The precision, or another setting, is unknown.
    PrecisionError
        INT8 without ranges, a tensor without a range, a model that ONNX cannot lift to the operator set that the precision
        needs, or settings that this typing or precision does not have.
    ModelError
        The model contradicts itself, or has no layer of a name that was given.
    """
    _known("precision", precision, PRECISIONS)
    _known("hybrid type", hybrid, ("off", *_HALVES))
    _known("constraint", constraints, _CONSTRAINTS)
    _known("rewriter", rewriter, REWRITERS)
    if precision != "int8":
        hybrid, implicit, dummy_range = "off", False, None
    layers = dict(layer_types or {})
    _check_typing(strong, implicit, constraints, layers)
    _check_layers(model, precision, hybrid, layers)
    if hybrid != "off" and constraints != "off":
        raise PrecisionError(
            f"constraints name one type for every layer, and INT8 with {hybrid} has two",
            mend="--trt-constraints=off with --trt-hybrid; or --trt-typing=strong, where the graph names every type",
        )
    base = Prepared(
        model,
        model,
        precision,
        strong,
        clear=frozenset() if precision == "tf32" else frozenset({"TF32"}),
        hybrid=hybrid,
        constraints=constraints,
        layer_types=layers,
        dummy_range=dummy_range,
    )
    quantized = graphs.is_quantized(model)
    if precision == "int8":
        return _int8(base, ranges, rewriter, quantized=quantized, implicit=implicit)
    own = frozenset({"INT8"}) if quantized and not strong else frozenset[str]()  # the builder wants it said
    if precision in ("fp32", "tf32"):
        flags = frozenset({"TF32"}) if precision == "tf32" else frozenset[str]()
        return replace(base, flags=flags | own)
    # Under weak typing no typed graph is built: it only says what the engine may compute.
    made = rewrite(model, precision, rewriter if strong else "builtin", keep=_layers_in("fp32", base))
    typed = replace(base, matched=made.model, kept_fp32=made.kept_fp32)
    if strong:
        return replace(typed, model=made.model)
    return replace(typed, flags=own | {precision.upper()})


def _int8(
    base: Prepared, ranges: Mapping[str, float] | None, rewriter: str, *, quantized: bool, implicit: bool
) -> Prepared:
    model, hybrid, dummy = base.model, base.hybrid, base.dummy_range
    flags = frozenset({"INT8"} if hybrid == "off" else {"INT8", hybrid.upper()})
    if dummy is not None:
        _check_dummy(dummy, quantized)
        ranges = dict.fromkeys(graphs.element_types(graphs.infer(model)), float(dummy))
    if not base.strong and not quantized and (implicit or dummy is not None):
        return replace(base, flags=flags, implicit=True)
    if ranges is None and not quantized:
        raise PrecisionError(
            "INT8 needs the range of each tensor, and none were given",
            mend="measure them: precision.measure_ranges(model, feeds)",
        )
    lifted = model if hybrid == "off" else graphs.at_least(model, _TYPED_SCALES, f"INT8 with {hybrid}")
    grid = "fp32" if hybrid == "off" else hybrid
    floating = frozenset(name for name, kind in base.layer_types.items() if kind != "int8")
    pairs = rewrite(lifted, "int8", rewriter, ranges=ranges, folded=True, grid=grid, keep=floating)
    matched, kept = pairs.model, pairs.kept_fp32
    if hybrid != "off":
        matched, kept = retype(matched, hybrid, keep=_layers_in("fp32", base))
    made = replace(base, model=matched, matched=matched, scales=pairs.scales, kept_fp32=kept)
    if base.strong:
        return made
    built = rewrite(model, "int8", rewriter, ranges=ranges, folded=False, grid=grid, keep=floating)
    return replace(made, model=built.model, flags=flags)


def _layers_in(kind: str, prepared: Prepared) -> frozenset[str]:
    return frozenset(name for name, given in prepared.layer_types.items() if given == kind)


def _known(what: str, value: str, good: tuple[str, ...]) -> None:
    if value not in good:
        raise SettingsError(f"unknown {what} {value!r}", why=f"good values: {', '.join(good)}")


def _check_typing(strong: bool, implicit: bool, constraints: str, layers: Mapping[str, str]) -> None:
    if not strong:
        return
    if implicit:
        raise PrecisionError(
            "implicit INT8 needs weak typing",
            why="calibrators and dynamic ranges are of TensorRT 8.6 and 10.x, in weakly typed networks",
            mend="--trt-typing=weak, or --trt-int8=explicit",
        )
    if constraints != "off" or layers:
        raise PrecisionError(
            f"{'types of single layers' if layers else f'constraints ({constraints!r})'} need weak typing",
            why="in a strongly typed network the graph names every type, and TensorRT keeps to it",
            mend="--trt-typing=weak, where TensorRT 8.6 or 10.x has it; or Cast nodes in the graph",
        )


def _check_layers(model: ModelProto, precision: str, hybrid: str, layers: Mapping[str, str]) -> None:
    good = tuple(dict.fromkeys(("fp32", precision, *(() if hybrid == "off" else (hybrid,)))))
    for name, kind in layers.items():
        _known(f"type for layer {name!r} at {precision}:", kind, good)
    names = [node.name for node in model.graph.node]
    for name in layers.keys() - set(names):
        raise graphs.no_such("layer", name, names)


def _check_dummy(value: float, quantized: bool) -> None:
    if not (np.isfinite(value) and value > 0):
        raise PrecisionError(f"a dummy range is a positive number, and this one is {value!r}")
    if quantized:
        raise PrecisionError(
            "the model has Q/DQ of its own: dummy ranges would change nothing",
            mend="build it as it is; its speed is that of its own scales",
        )
