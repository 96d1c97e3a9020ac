"""Networks that scale with their inputs: half the inputs, half the outputs, to the bit.

A power of two changes exponents and no other bit, so every rounding falls on the same bits, whatever kernel was chosen. No
reference is needed, and no limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from pytest_trt.check.graph import Graph, Node
from pytest_trt.check.relations import Base, Broken, check_scaling
from pytest_trt.check.subject import Subject
from pytest_trt.numerics.formats import Array

# One operand is data, the other constant.
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
# All operands are data.
_SUMS = frozenset("Add Sub Sum Max Min Concat Mean".split())
# Their first operand is data; others, where there are some, are constants that say where or how far.
_SCALED = frozenset(
    "Relu Abs Neg Identity MaxPool GlobalMaxPool Transpose Reshape Flatten Squeeze Unsqueeze Slice Split Tile Expand Gather "
    "DepthToSpace SpaceToDepth ReduceSum ReduceMax ReduceMin".split()
)
# The same with a quotient in them, which fp16 may have to round to a subnormal number.
_DIVIDING = frozenset("AveragePool GlobalAveragePool ReduceMean LeakyRelu Mean".split())
_FACTORS = frozenset({"Mul", "Div"})
POWER = -1
_LARGEST = 4


def scales(graph: Graph, precision: str) -> bool:
    """Tell whether half the inputs have to give half the outputs, bit for bit, for integers as inputs.

    Every operator is known to pass a factor on. In fp16 constants are integers besides, and nothing divides: all values are
    then multiples of one half, and none of them is subnormal. INT8 clips at its scale, and is left out.
    """
    if precision == "int8" or any(kind not in ("fp32", "fp16", "bf16") for kind, _ in graph.inputs.values()):
        return False
    held = set(graph.inputs)
    for node in graph.nodes:
        if not _passes(graph, node, held) or (precision == "fp16" and not _whole(graph, node)):
            return False
        made = (
            node.outputs[:1] if node.op == "MaxPool" else node.outputs
        )  # where a maximum was does not scale
        held.update(name for name in made if name)
    return held >= graph.outputs.keys()


def _passes(graph: Graph, node: Node, held: set[str]) -> bool:
    """Tell whether an operator passes a factor of its data on; `held` are the tensors that carry it."""
    given = [name for name in node.inputs if name]
    data = [name for name in given if name in held]
    if not data or any(name not in held and name not in graph.initializers for name in given):
        return False
    if node.op in _PRODUCTS:
        return len(data) == 1 and len(given) == 2 and node.attributes.get("alpha", 1.0) == 1.0
    if node.op in _FACTORS:
        return len(data) == 1 and given[0] in held
    if node.op in _SUMS:
        return data == given
    return node.op in _SCALED | _DIVIDING and data == given[:1]


def _whole(graph: Graph, node: Node) -> bool:
    if node.op in _DIVIDING or node.op == "Div":
        return False
    if node.op not in _PRODUCTS | _FACTORS:
        return True
    constants = (graph.constant(name) for name in node.inputs if name in graph.initializers)
    return all(held is not None and np.array_equal(held.mid, np.rint(held.mid)) for held in constants)


def check_halving(subject: Subject, feeds: Mapping[str, Array]) -> Iterator[tuple[str, Broken | None]]:
    """Yield whether half of some integers give half of what they give; of the shapes and types of `feeds`."""
    rng = np.random.default_rng(len(feeds))
    whole = {
        name: rng.integers(-_LARGEST, _LARGEST + 1, values.shape).astype(values.dtype)
        for name, values in feeds.items()
    }
    got = subject.run(whole)
    if all(np.isfinite(values).all() for values in got.values()):
        yield from check_scaling(subject, Base(whole, got, {}), POWER)
