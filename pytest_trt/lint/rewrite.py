"""Rewrite what can be rewritten without changing a bit, and prove it by running both models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper
from onnx.external_data_helper import uses_external_data

from pytest_trt.errors import ModelError
from pytest_trt.hardware import get
from pytest_trt.lint.activation import is_exact, uniform_slope
from pytest_trt.lint.bypass import bypass, can_bypass, prune
from pytest_trt.lint.fusion import cast_source, passes_through, transpose_source
from pytest_trt.lint.same import compare_outputs
from pytest_trt.lint.view import Scope, View, written_out
from pytest_trt.precision import graph as graphs

_DROPPED = ("Identity", "Dropout")


@dataclass(frozen=True)
class Mended:
    """A rewritten model.

    Attributes
    ----------
    model : ModelProto
        Checked, with inferred shapes.
    changes : mapping of str to int
        Rule to how many nodes were rewritten for it.
    compared : int
        Output values that were found equal, bit for bit.
    """

    model: ModelProto
    changes: Mapping[str, int]
    compared: int


def mend(model: ModelProto, *, shapes: Mapping[str, tuple[int, ...]] | None = None, seed: int = 0) -> Mended:
    """Return a model rewritten where a rule says `fixable`, and shown to compute the same.

    PReLU with one slope becomes LeakyReLU; Identity, Dropout, reshapes to the same shape, Casts and pairs of Casts and
    Transposes that change nothing go.

    Parameters
    ----------
    model : ModelProto
        Not changed.
    shapes : mapping of str to shape, optional
        Input shapes for the comparison; without them a few sizes are tried for what is dynamic.
    seed : int
        What the inputs are drawn from.

    Raises
    ------
    ModelError
        Its weights are not in it, the rewritten model is not valid, its outputs differ from those of the given one
        on the data drawn, or ONNX Runtime runs neither. Nothing is returned then.
    """
    if any(uses_external_data(tensor) for tensor in model.graph.initializer):
        raise ModelError(
            "a model whose weights are not in it cannot be rewritten",
            why="they lie in files beside it and are too large for one message, or were not loaded",
            mend="onnx.load(path), with the files of its weights beside it",
        )
    result = ModelProto()
    result.CopyFrom(written_out(model))
    changes: dict[str, int] = {}
    while done := _pass(result):
        for name in done:
            changes[name] = changes.get(name, 0) + 1
    if changes:
        for graph in _graphs(result.graph):
            # Casts and Transposes that only fed what was removed; a Constant that held a slope.
            prune(graph, ("Cast", "Transpose", "Constant"))
    try:
        result = onnx.shape_inference.infer_shapes(result, strict_mode=bool(changes) and _infers(model))
        onnx.checker.check_model(result)
    except Exception as error:  # ValidationError and InferenceError differ between onnx versions
        raise ModelError("the rewritten model is not valid", why=str(error).strip()[:2000]) from error
    compared = compare_outputs(result, model, shapes or {}, seed) if changes else 0
    return Mended(result, changes, compared)


def _pass(model: ModelProto) -> list[str]:
    """Rewrite what does not touch each other; return the rule of each rewrite."""
    view = View(model, get("sm80"), frozenset())
    done: list[str] = []
    touched: set[str] = set()
    for graph, scope in zip(list(_graphs(model.graph)), view.scopes, strict=True):
        for node in list(graph.node):
            names = {*node.input, *node.output}
            found = None if names & touched else _choose(graph, node, scope, view.opset)
            if found is None:
                continue
            name, source = found
            if source is None:
                _to_leaky(node, uniform_slope(node, scope, view.opset) or 0.0)
            elif source in touched:
                continue
            else:
                touched |= {*names, source}
                bypass(graph, node, source)
            done.append(name)
    return done


def _choose(graph: GraphProto, node: NodeProto, scope: Scope, opset: int) -> tuple[str, str | None] | None:
    """Return the rule that rewrites a node, and the tensor that its readers get; None for no tensor is LeakyReLU."""
    if node.domain not in ("", "ai.onnx") or not node.input or not node.output:
        return None
    if uniform_slope(node, scope, opset) is not None:
        return ("prelu-uniform", None) if is_exact(node, scope) else None
    choices = (
        ("noop", node.input[0] if passes_through(node, scope) else None),
        ("cast-removable", cast_source(node, scope)),
        ("transpose-pair", transpose_source(node, scope)),
    )
    for name, source in choices:
        if source is not None and can_bypass(graph, node, source):
            return name, source
    return None


def _to_leaky(node: NodeProto, slope: float) -> None:
    node.op_type = "LeakyRelu"
    del node.input[1:]
    del node.attribute[:]
    node.attribute.extend([helper.make_attribute("alpha", slope)])


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for inner in graphs.subgraphs(node):
            yield from _graphs(inner)


def _infers(model: ModelProto) -> bool:
    """Tell whether strict inference passes on a model, so that it may be asked of its rewrite."""
    try:
        onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except Exception:  # see above
        return False
    return True
