"""Walk a typed graph and give every tensor its admissible values under a contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pytest_trt.check.graph import FLOAT_KINDS, Graph, Node
from pytest_trt.numerics.bounds import Bound, Contract, either, sharpen, store, widen
from pytest_trt.numerics.formats import FORMATS, Float64

HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# Pointwise operators that a builder may fuse behind the operator that feeds them.
EPILOGUE = frozenset(
    "Add Sub Mul Div Relu LeakyRelu PRelu Clip BatchNormalization Sigmoid Tanh HardSigmoid HardSwish Elu Max Min "
    "Neg Abs Exp Sqrt Erf Gelu Mish Softplus Softsign Selu Celu ThresholdedRelu Pow Log Reciprocal Floor Ceil Round Sign Sum "
    "Mean Sin Cos Where".split()
)

Handler = Callable[["Step"], "list[Bound]"]
# By node and purpose: the arrays that a result was made of, and the result.
Memo = dict[tuple[int, str], tuple[Any, Any, Any]]
# The purpose of a large sum that was taken in FP32.
SINGLE_SUMS = "sums in FP32"
HANDLERS: dict[str, Handler] = {}


def handles(*ops: str) -> Callable[[Handler], Handler]:
    """Register the function that bounds these operators."""

    def register(function: Handler) -> Handler:
        for op in ops:
            HANDLERS[op] = function
        return function

    return register


@dataclass(frozen=True)
class Step:
    """One node with what is known of its inputs: what a handler sees.

    `memo` keeps sums of products from one interpretation of a graph to the next on the same inputs; `fast` lets large sums
    be taken in FP32, their error counted; `stored` is the format that the output is rounded to for certain, or None;
    `folded` is |mean * scale| of a batch normalisation that a rewrite folded, where the engine reads the original.
    """

    node: Node
    args: tuple[Bound | None, ...]
    contract: Contract
    kind: str
    opset: int
    memo: Memo = field(default_factory=dict)
    fast: bool = False
    stored: str | None = None
    folded: Float64 | None = None

    def arg(self, position: int) -> Bound:
        """Return an input that must be there, a dequantised one rounded to its stored type."""
        found = self.args[position]
        assert found is not None
        return settle(found)

    def optional(self, position: int) -> Bound | None:
        """Return an input that may be absent."""
        if position >= len(self.args):
            return None
        found = self.args[position]
        return None if found is None else settle(found)


def settle(bound: Bound) -> Bound:
    """Return a dequantised tensor as its consumer in floating point reads it.

    Nobody stores it: the consumer works it out from the integers, and rounds it to the type of the graph or keeps it in FP32.
    """
    if bound.scale is None:
        return bound
    return replace(store(bound, bound.kind, may_skip=bound.kind != "fp32"), scale=None)


@dataclass
class Bounds:
    """The bounds of a graph's tensors, and the operators that have none.

    Attributes
    ----------
    tensors : dict of str to Bound
        What is known. A tensor that depends on an operator without a limit is absent.
    unknown : Counter of str
        The operators without a limit that were met.
    fast : bool
        A large sum was taken in FP32: float64 would give narrower intervals.
    """

    tensors: dict[str, Bound] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    fast: bool = False


def interpret(
    graph: Graph,
    feeds: Mapping[str, Bound],
    contract: Contract,
    *,
    wanted: Iterable[str] | None = None,
    keep: frozenset[str] = frozenset(),
    memo: Memo | None = None,
    fast: bool = False,
) -> Bounds:
    """Return the admissible values of a graph's tensors for given inputs.

    Parameters
    ----------
    graph : Graph
        Typed: the storage type of each tensor is that of the graph.
    feeds : mapping of tensor name to Bound
        Graph inputs; any other tensor given here cuts the graph there (its value is taken as it is).
    contract : Contract
    wanted : iterable of str, optional
        The tensors to work out; default: the graph's outputs.
    keep : frozenset of str
        Tensors that were marked as outputs: they are stored for certain.
    memo : dict, optional
        Shared by interpretations of one graph: what does not depend on the contract is not worked out again.
    fast : bool
        Large sums may be taken in FP32, their own error counted; `Bounds.fast` says whether one was.

    Returns
    -------
    Bounds
    """
    result = Bounds(dict(feeds))
    memo = {} if memo is None else memo
    targets = tuple(graph.outputs) if wanted is None else tuple(wanted)
    for node in _needed(graph, targets, feeds):
        handler = HANDLERS.get(node.op)
        if handler is None:
            result.unknown[node.op] += 1
            continue
        args: list[Bound | None] = []
        for name in node.inputs:
            args.append(None if not name else result.tensors.get(name) or _constant(graph, name, contract))
        if any(name and arg is None for name, arg in zip(node.inputs, args, strict=True)):
            continue
        kind = graph.kinds.get(node.outputs[0], args[0].kind if args and args[0] is not None else "fp32")
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            known = _without_overflow(node, args)
            stored = _certain(graph, node, kind, contract, keep)
            folded = None
            if contract.weak:
                folded = next((graph.folded[n] for n in node.inputs if n in graph.folded), None)
            # Another term may join a sum in its accumulator: that needs more than a large sum keeps.
            quick = fast and all(reader.op != "Add" for reader in graph.readers.get(node.outputs[0], ()))
            step = Step(node, known, contract, kind, graph.opset, memo, quick, stored, folded)
            made = handler(step)
            if not made:
                # This form of the operator has no limit.
                result.unknown[node.op] += 1
            for name, bound in zip(node.outputs, made, strict=False):
                if name:
                    # One admissible value, by a certificate or by rounding: what reads it may be certified in its turn.
                    result.tensors[name] = sharpen(_stored(graph, node, name, bound, kind, contract, keep))
    result.fast = fast and any(purpose == SINGLE_SUMS for _, purpose in memo)
    return result


# Operators that let a partial sum which overflowed through as it is: infinite or NaN, beside the interval.
_KEEPS_OVERFLOW = frozenset({"Relu", "Add"})


def _without_overflow(node: Node, args: list[Bound | None]) -> tuple[Bound | None, ...]:
    """Return the arguments of a node; behind a sum that may have overflowed most operators promise nothing."""
    if node.op in _KEEPS_OVERFLOW or all(arg is None or arg.overflow is None for arg in args):
        return tuple(args)
    return tuple(
        arg
        if arg is None or arg.overflow is None
        else replace(arg, overflow=None, loose=either(arg.loose, arg.overflow))
        for arg in args
    )


def _constant(graph: Graph, name: str, contract: Contract) -> Bound | None:
    """Return a constant; under weak typing a layer may read a 16-bit one before or after it was rounded."""
    found = graph.constant(name)
    if found is None or not contract.weak or found.kind not in ("fp16", "bf16"):
        return found
    form = FORMATS[found.kind]
    return widen(found, form.roundoff * np.abs(found.mid) + form.quantum / 2)


def _needed(graph: Graph, targets: tuple[str, ...], feeds: Mapping[str, Bound]) -> list[Node]:
    todo = [name for name in targets if name not in feeds]
    seen: set[int] = set()
    while todo:
        node = graph.producer.get(todo.pop())
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        todo += [name for name in node.inputs if name and name not in feeds]
    return [node for node in graph.nodes if id(node) in seen]


def is_fusable(graph: Graph, node: Node, name: str) -> bool:
    """Tell whether a builder may keep this tensor in registers: one pointwise reader, and no output of the graph."""
    if name in graph.outputs or node.op not in EPILOGUE | HEAVY:
        return False
    readers = graph.readers.get(name, ())
    return len(readers) == 1 and readers[0].op in EPILOGUE


def _stored(
    graph: Graph, node: Node, name: str, bound: Bound, kind: str, contract: Contract, keep: frozenset[str]
) -> Bound:
    if bound.scale is not None and name in keep | graph.outputs.keys():
        bound = settle(bound)
    if bound.kind not in FLOAT_KINDS or bound.scale is not None or kind not in FORMATS:
        return bound
    bound = _clean(bound)
    fusable = name not in keep and is_fusable(graph, node, name)
    if kind != "fp32" and not contract.may_stay_wide and fusable and contract.fused:
        # Kept in FP32 on the way to its reader: one rounding to FP32.
        return _clean(_in_fp32(bound, kind))
    may_skip = (
        fusable
        or (contract.may_stay_wide and kind != "fp32")
        or _may_merge(graph, node, name, contract, keep)
    )
    may_skip = may_skip or (kind != "fp32" and name not in keep and _is_requantised(graph, name))
    return store(bound, kind, may_skip=may_skip, ties=contract.ties, flush=contract.flush)


def _is_requantised(graph: Graph, name: str) -> bool:
    """Tell whether QuantizeLinear alone reads a tensor: it belongs to the kernel before it, which works in FP32."""
    readers = graph.readers.get(name, ())
    return (
        bool(readers)
        and name not in graph.outputs
        and all(reader.op == "QuantizeLinear" for reader in readers)
    )


def _may_merge(graph: Graph, node: Node, name: str, contract: Contract, keep: frozenset[str]) -> bool:
    """Tell whether a compiler of whole blocks may keep a tensor with several pointwise readers in registers."""
    if contract.fused or name in keep or name in graph.outputs or node.op not in EPILOGUE | HEAVY:
        return False
    return all(reader.op in EPILOGUE for reader in graph.readers.get(name, ()))


def _certain(graph: Graph, node: Node, kind: str, contract: Contract, keep: frozenset[str]) -> str | None:
    """Return the format that a node's only output is stored in, whatever a builder fuses; None where that is open."""
    name = node.outputs[0]
    if len(node.outputs) != 1 or kind not in FORMATS or (contract.may_stay_wide and kind != "fp32"):
        return None
    open_ = is_fusable(graph, node, name) or _may_merge(graph, node, name, contract, keep)
    open_ = open_ or (kind != "fp32" and _is_requantised(graph, name))
    return kind if name in keep or not open_ else None


def _in_fp32(bound: Bound, kind: str) -> Bound:
    rounded = store(bound, "fp32")
    return replace(rounded, kind=kind)


def _clean(bound: Bound) -> Bound:
    """Return the bound with NaN ends resolved: where the value is no NaN, nothing is promised; else NaN is required."""
    if bound.is_exact or not bound.mid.size or bound.is_on_grid(bound.kind):
        return bound
    if not (np.isnan(bound.low.min()) or np.isnan(bound.high.min())):
        return bound
    bad = np.isnan(bound.low) | np.isnan(bound.high)
    if not bad.any():
        return bound
    open_ = bad & ~np.isnan(bound.mid)
    if not open_.any():
        return bound
    return replace(bound, loose=either(bound.loose, open_))


def lowest_for_infinity(bound: Bound, *, below: bool, above: bool) -> Bound:
    """Return the bound with -inf (`below`) and inf (`above`) allowed to come out as the largest finite number.

    Maxima start from the lowest finite number, and so does a Clip without a minimum (ONNX Clip-13); libraries do either.
    """
    down = np.isneginf(bound.mid) if below else np.zeros(bound.mid.shape, bool)
    up = np.isposinf(bound.mid) if above else np.zeros(bound.mid.shape, bool)
    if bound.kind not in FORMATS or not (down.any() or up.any()):
        return bound
    largest = FORMATS[bound.kind].largest
    return replace(
        bound, high=np.where(down, -largest, bound.high), low=np.where(up, largest, bound.low), _lsb=[]
    )


def map_parts(bound: Bound, move: Callable[[np.ndarray], np.ndarray]) -> Bound:
    """Return the bound of a tensor whose elements are only moved: `move` is applied to every part."""
    mid = move(bound.mid)
    if bound.is_exact:
        return Bound(mid, mid, mid, bound.kind)
    return Bound(
        mid,
        move(bound.low),
        move(bound.high),
        bound.kind,
        loose=None if bound.loose is None else move(bound.loose),
    )
