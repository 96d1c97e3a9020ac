"""Kernels of cuDNN that the oracle has found to be wrong, or to be of an algorithm that it has no rung for, each by its name.

An output is explained by one of them only if the GPU ran it, and if the output conforms once the elements that it hit have what
they should have had: whatever else is wrong stays unexplained. All were seen on an H200 with ONNX Runtime 1.31.1 and
`cudnn_conv_algo_search` HEURISTIC, in FP16; the direct kernels of DEFAULT conform on the same data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from pytest_trt.bite.data import Drawn
from pytest_trt.bite.problems import Problem
from pytest_trt.numerics.formats import U32
from pytest_trt.numerics.linear import Window, windows

Array = NDArray[Any]

# A defect: sums below the least finite FP16 number come out as 0, in convolutions without bias or ReLU too; +inf is right.
LOST_OVERFLOW = "overflow to -inf is stored as 0"
LOSES_OVERFLOW = "sm80_xmma_fprop_implicit_gemm"
# No defect: an algorithm whose error grows far beyond that of F(4, 3), the widest one that the ladder admits. It is not added
# there: its transforms are not published, and a limit as wide as it needs would see little.
WINOGRAD_5X5 = "Winograd F(5 x 5, 5 x 5), which no rung admits"
IS_WINOGRAD_5X5 = "winograd_nonfused::winogradForwardData9x9_5x5"
DEFECTS = (LOST_OVERFLOW, WINOGRAD_5X5)
# Sums of -65520 and below round to -inf (IEEE 754-2019, 4.3.1). These may be on either side of it by the order in which they
# are added; whether -inf is admissible there is for the check to say.
_MAYBE_INF = -65520 * (1 - 1e-3)
_TILE, _STEP = 9, 5
# The largest error seen, normwise over a tile, was 2,514 units of float32 rounding; errors of 9 x 9 tiles grow by thousands
# (Barabasz, Anderson, Soodhalter, Gregg, arXiv 1803.10986, table 4). What is larger is not put down to the algorithm.
_GROWTH = 8192


def explain(
    problem: Problem, drawn: Drawn, got: Array, conforms: Callable[[Array], bool], kernels: Sequence[str]
) -> str:
    """Return which of these an output comes from, and has nothing wrong besides; empty where it is none.

    Parameters
    ----------
    problem : Problem
    drawn : Drawn
        Model and inputs.
    got : ndarray
        What the check refused.
    conforms : callable
        Whether the check admits an output.
    kernels : sequence of str
        Names of the kernels that gave it.
    """
    if problem.is_gemm or problem.contract != "fp16":
        return ""
    for name, mark, mend in (
        (LOST_OVERFLOW, LOSES_OVERFLOW, _with_overflow),
        (WINOGRAD_5X5, IS_WINOGRAD_5X5, _without_winograd),
    ):
        if any(mark in kernel for kernel in kernels):
            with np.errstate(over="ignore", invalid="ignore"):
                mended = mend(problem, drawn, got)
            if conforms(mended):
                return name
    return ""


def _with_overflow(problem: Problem, drawn: Drawn, got: Array) -> Array:
    """Return an output with -inf where the kernel may have stored 0 for it."""
    lost = _sums(problem, drawn) < _MAYBE_INF
    left, right = (_behind(problem, drawn, np.full(problem.y, value)) for value in (0, -np.inf))
    return np.where(lost & (got.astype(np.float16) == left), right, got)


def _without_winograd(problem: Problem, drawn: Drawn, got: Array) -> Array:
    """Return an output with direct sums where it differs from them by no more than the algorithm may."""
    known = _known(drawn)
    # Where the tiles begin is not known: this takes what all tiles read that an output may lie in.
    top, left, bottom, right = (pad + _STEP - 1 for pad in problem.pads)
    reach = Window((_TILE + _STEP - 1,) * 2, (1, 1), (1, 1), (top, left), (bottom, right))
    largest = np.abs(windows(np.asarray(known["x"], np.float64), reach, problem.y[2:])).max(axis=(-2, -1))
    weights = np.abs(np.asarray(known["w"], np.float64)).sum(axis=(2, 3))
    largest = largest.reshape(len(largest), problem.groups, -1, *problem.y[2:])
    weights = weights.reshape(problem.groups, -1, weights.shape[1])
    norm = np.einsum("ngchw,goc->ngohw", largest, weights).reshape(problem.y)
    direct = _behind(problem, drawn, _sums(problem, drawn))
    near = np.abs(got.astype(np.float64) - direct) <= _GROWTH * U32 * norm
    # A value of a tile that is not finite, or that its transforms carry out of range, reaches all of its outputs.
    return np.where(near | ~np.isfinite(norm), direct, got)


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


def _behind(problem: Problem, drawn: Drawn, sums: Array) -> Array:
    """Return what the nodes behind a convolution make of its sums, each stored in FP16."""
    known = _known(drawn)
    made: Array = sums.astype(np.float16)
    if problem.bias:
        made = made + np.asarray(known["b"], np.float16).reshape(1, -1, 1, 1)
    if problem.residual:
        made = made + np.asarray(known["r"], np.float16)
    return np.maximum(made, np.float16(0)) if problem.relu else made
