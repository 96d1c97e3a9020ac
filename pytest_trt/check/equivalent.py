"""Relations between graphs: those that say the same in other nodes, and those with nodes beside the network.

Public bugs: NVIDIA/TensorRT issue 3447 (a Transpose on either side of a product gave two answers) and 2091 (nodes that touched
nothing of a network changed its outputs).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.check.admissible import Admissible
from pytest_trt.check.graph import Graph
from pytest_trt.check.relations import Base, Broken, compare_bits, compare_engine, compare_rows, first_broken
from pytest_trt.check.subject import Subject
from pytest_trt.errors import ModelError
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import Array
from pytest_trt.records import RUNGS, VIOLATES

EQUIVALENT = "equivalent graphs give the same answer"
EXTENDED = "nodes beside the network change nothing"

_BESIDE = "beside_"
_SIDE = np.array([[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]], np.float32)


def check_equivalent(
    subject: Subject, bases: Sequence[Base], other: Subject
) -> Iterator[tuple[str, Broken | None]]:
    """Yield whether a graph that says the same in other nodes gives the same answer.

    Where nothing rounds in either graph, and where no limits are known, that is the same bits. Elsewhere the other answer has
    to lie inside the limits of its own graph: its roundings are in other places.

    Parameters
    ----------
    subject : Subject
    bases : sequence of Base
        Runs of it.
    other : Subject
        The equivalent graph: inputs and outputs have the same names.

    Raises
    ------
    ModelError
        The other graph lacks an output, so the two are not equivalent.
    """
    yield EQUIVALENT, first_broken(_differs(other, base) for base in bases)


def _differs(other: Subject, base: Base) -> Broken | None:
    got = other.run(base.feeds)
    lacking = [name for name in base.got if name not in got]
    if lacking:
        raise ModelError(f"the other graph has no output {lacking[0]!r}: the two are not equivalent")
    rungs = RUNGS if base.admissible is None else base.admissible.rungs
    admissible = Admissible(other.graph, base.feeds, other.contract, rungs)
    limits = admissible.on("direct").tensors
    stored = [admissible.on(rung).tensors for rung in ("direct", "unfused") if rung in ("direct", *rungs)]
    for name, want in base.got.items():
        mine, its = base.limits.get(name), limits.get(name)
        if got[name].shape != want.shape:
            broken = compare_rows(EQUIVALENT, {name: got[name]}, base)
        elif mine is None or its is None or all(_is_exact(mine, each[name]) for each in stored):
            broken = compare_bits(EQUIVALENT, {name: got[name]}, base.got)
        else:
            judged = admissible.judge(name, got[name], statistics=False)
            broken = Broken(EQUIVALENT, name, judged.measure) if judged.status == VIOLATES else None
        if broken is not None:
            return broken
    return None


def _is_exact(mine: Bound, other: Bound) -> bool:
    """Tell whether there is one value for both graphs: nothing rounds, whether or not tensors between nodes are stored."""
    ends = (mine.low, mine.high, other.low)
    return all(np.array_equal(end, other.high, equal_nan=True) for end in ends)


def check_extended(subject: Subject, bases: Sequence[Base]) -> Iterator[tuple[str, Broken | None]]:
    """Yield whether the network gives the same answer with nodes beside it, which touch nothing of it.

    Not asked of an engine of implicit INT8: its calibrator would have to know the new input.
    """
    if subject.prepared.implicit:
        return
    model = extend(subject.prepared.model)
    broken: Broken | None = None
    with subject.again(model, graph=Graph(model)) as other:
        for base in bases:
            feeds: dict[str, Array] = {**base.feeds, f"{_BESIDE}x": _SIDE}
            got = other.run(feeds)
            broken = broken or compare_engine(EXTENDED, {name: got[name] for name in base.got}, base)
    yield EXTENDED, broken


def extend(model: ModelProto) -> ModelProto:
    """Return a model with two more outputs: one of a small network of its own, one that only reads the first input.

    Raises
    ------
    ModelError
        The model has no input.
    """
    if not model.graph.input:
        raise ModelError("the model has no input for a node beside it to read")
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    given = graph.input[0]
    name = {key: f"{_BESIDE}{key}" for key in ("x", "w", "m", "y", "f", "z")}
    graph.initializer.append(numpy_helper.from_array(_SIDE.T.copy(), name["w"]))
    graph.node.extend(
        [
            helper.make_node("MatMul", [name["x"], name["w"]], [name["m"]], f"{_BESIDE}matmul"),
            helper.make_node("Relu", [name["m"]], [name["y"]], f"{_BESIDE}relu"),
            helper.make_node("Cast", [given.name], [name["f"]], f"{_BESIDE}cast", to=TensorProto.FLOAT),
            helper.make_node("Neg", [name["f"]], [name["z"]], f"{_BESIDE}neg"),
        ]
    )
    shape = [d.dim_param or d.dim_value or None for d in given.type.tensor_type.shape.dim]
    side = helper.make_tensor_value_info(name["x"], TensorProto.FLOAT, list(_SIDE.shape))
    graph.input.append(side)
    graph.output.append(helper.make_tensor_value_info(name["y"], TensorProto.FLOAT, [2, 2]))
    graph.output.append(helper.make_tensor_value_info(name["z"], TensorProto.FLOAT, shape))
    return made
