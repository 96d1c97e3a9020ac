"""Defects of cuDNN that the oracle has found, each with what it does, so that an output that has it is told by name.

An output is explained by a defect only if it conforms once the elements that the defect hit have what they should have had:
whatever else is wrong with it stays unexplained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from pytest_trt.bite.data import Drawn
from pytest_trt.bite.problems import Problem

Array = NDArray[Any]

# Seen on an H200 with ONNX Runtime 1.31.1, `cudnn_conv_algo_search` HEURISTIC, convolutions in FP16 mostly with a stride, also
# without bias, residual or ReLU: the kernel stores 0 where the sum is below the least finite FP16 number. +inf is right.
LOST_OVERFLOW = "overflow to -inf is stored as 0"
DEFECTS = (LOST_OVERFLOW,)
# Sums of -65520 and below round to -inf (IEEE 754-2019, 4.3.1). These may be on either side of it by the order in which they
# are added; whether -inf is admissible there is for the check to say.
_MAYBE_INF = -65520 * (1 - 1e-3)


def explain(problem: Problem, drawn: Drawn, got: Array, conforms: Callable[[Array], bool]) -> str:
    """Return the defect that an output has and nothing besides; empty where it is none of these.

    Parameters
    ----------
    problem : Problem
    drawn : Drawn
        Model and inputs.
    got : ndarray
        What the check refused.
    conforms : callable
        Whether the check admits an output.
    """
    if problem.is_gemm or problem.contract != "fp16":
        return ""
    lost = _sums(problem, drawn) < _MAYBE_INF
    with np.errstate(over="ignore"):
        left, right = (_behind(problem, drawn, np.float16(sum_)) for sum_ in (0, -np.inf))
        hit = lost & (got.astype(np.float16) == left)
    if not hit.any():
        return ""
    return LOST_OVERFLOW if conforms(np.where(hit, right, got)) else ""


def _sums(problem: Problem, drawn: Drawn) -> Array:
    """Return the sums of the convolution alone, in float32."""
    (conv,) = (node for node in drawn.model.graph.node if node.op_type == "Conv")
    known = _known(drawn)
    values = {name: np.asarray(known[name], np.float32) for name in conv.input[:2]}
    node = helper.make_node("Conv", list(values), ["y"])
    node.attribute.extend(conv.attribute)
    kind = 1  # float32
    graph = helper.make_graph(
        [node],
        "sums",
        [helper.make_tensor_value_info(name, kind, list(array.shape)) for name, array in values.items()],
        [helper.make_tensor_value_info("y", kind, list(problem.y))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    sums: Array = session.run(["y"], values)[0]
    return sums


def _known(drawn: Drawn) -> dict[str, Array]:
    """Return inputs and weights by name."""
    return {**drawn.values, **{t.name: numpy_helper.to_array(t) for t in drawn.model.graph.initializer}}


def _behind(problem: Problem, drawn: Drawn, stored: Any) -> Array:
    """Return what the nodes behind a convolution make of an element of it, for each place of the output, in FP16."""
    known = _known(drawn)
    made: Array = np.full(problem.y, stored, np.float16)
    if problem.bias:
        made = made + np.asarray(known["b"], np.float16).reshape(1, -1, 1, 1)
    if problem.residual:
        made = made + np.asarray(known["r"], np.float16)
    return np.maximum(made, np.float16(0)) if problem.relu else made
