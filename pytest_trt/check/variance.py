"""How far the outputs of a deep network may be from exact arithmetic: standard deviations instead of hard bounds.

Composed hard bounds grow by one to two orders of magnitude a convolution, and soon allow anything. Rounding errors of data that
do not depend on them are nearly independent of each other, so their variances add up instead: sigma**2 of a sum of products is
W**2 sigma_x**2 and its own accumulation, and each store adds a twelfth of a squared unit in the last place.

Theory: Higham & Mary, A new approach to probabilistic rounding error analysis, SISC 41(5), 2019.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pytest_trt.check.graph import FLOAT_KINDS, Graph, Node
from pytest_trt.check.interpret import HANDLERS, HEAVY, Memo, Step
from pytest_trt.numerics.bounds import Bound, Contract
from pytest_trt.numerics.formats import FORMATS, Array, Float64, round_to, spacing
from pytest_trt.numerics.judge import SIGMAS

# Operators that only move elements, those that choose among them, and those whose values lie between those of their inputs.
_MOVES = frozenset(
    "Identity Dropout Reshape Flatten Transpose Squeeze Unsqueeze Slice Gather Concat Split Pad Expand Tile DepthToSpace "
    "SpaceToDepth Cast".split()
)
_CHOOSES = frozenset("Relu Clip MaxPool GlobalMaxPool Max Min Neg Abs".split())
# Functions of one noisy tensor, elementwise or over windows.
_FUNCTIONS = frozenset(
    "Relu LeakyRelu PRelu Clip Sigmoid Tanh Exp Sqrt Log HardSigmoid HardSwish Elu Selu Erf Gelu Softplus Softsign Mish Neg Abs "
    "BatchNormalization MaxPool GlobalMaxPool Reciprocal".split()
)
# Errors of neighbours are correlated: a network is also run with errors drawn at random, this often.
DRAWS = 2


class _Uncovered(Exception):
    """A graph, or an operator in it, that the model does not cover."""


@dataclass(frozen=True)
class _Noisy:
    """A tensor in exact arithmetic, how far an engine's is from it, and the same computation with errors drawn at random.

    `sigma` is None where there are no errors; `draws` has one array a draw, or none then.
    """

    mid: Float64
    kind: str
    sigma: Float64 | None = None
    draws: tuple[Float64, ...] = ()

    @property
    def spread(self) -> Float64:
        return np.zeros(self.mid.shape) if self.sigma is None else self.sigma

    def draw(self, number: int) -> Float64:
        return self.draws[number] if self.draws else self.mid


def end_to_end(
    graph: Graph, feeds: Mapping[str, Array], contract: Contract, rung: str = "direct"
) -> dict[str, Bound] | None:
    """Return the likely values of a graph's outputs: exact arithmetic, and 12 standard deviations to both sides.

    Parameters
    ----------
    graph : Graph
        Typed.
    feeds : mapping of input name to array
    contract : Contract
        Of the direct rung.
    rung : str
        Rung of the ladder whose algorithm counts as well.

    Returns
    -------
    dict of str to Bound, or None
        With `sigma`. None where an operator is not covered, where tensors are quantised (a flip of a level is no small error)
        and under weak typing.
    """
    if contract.weak or any(node.op == "QuantizeLinear" for node in graph.nodes):
        return None
    try:
        with np.errstate(all="ignore"):
            return _Walk(graph, replace(contract, statistics=True, likely=True), rung).outputs(feeds)
    except _Uncovered:
        return None


class _Walk:
    def __init__(self, graph: Graph, contract: Contract, rung: str) -> None:
        self.graph = graph
        self.contract = contract
        self.rung = replace(contract.rung(rung), fused=contract.fused, integer=contract.integer)
        # Where only the exact value is asked for.
        self.plain = replace(contract, statistics=False, likely=False)
        self.rng = np.random.default_rng(0)
        self.memo: Memo = {}

    def outputs(self, feeds: Mapping[str, Array]) -> dict[str, Bound]:
        known = {
            name: _Noisy(np.asarray(values, np.float64), self.graph.inputs[name][0])
            for name, values in feeds.items()
        }
        for node in self.graph.nodes:
            for name, made in self._results(node, known):
                known[name] = made
        return {name: _likely(known[name]) for name in self.graph.outputs if name in known}

    def _results(self, node: Node, known: Mapping[str, _Noisy]) -> Iterator[tuple[str, _Noisy]]:
        if node.op not in HANDLERS:
            raise _Uncovered(node.op)
        args = [self._argument(name, known) if name else None for name in node.inputs]
        # A shape does not depend on values.
        noisy = [node.op != "Shape" and arg is not None and arg.sigma is not None for arg in args]
        kind = self.graph.kinds.get(node.outputs[0], "fp32")
        exact = [None if arg is None else Bound.exact(arg.mid, arg.kind) for arg in args]
        made = self._run(node, exact, kind)
        local = self._local(node, exact, kind, made[0])
        if any(noisy):
            passed = self._passed_on(node, args, kind, made)
            draws = [
                self._run(
                    node,
                    [None if a is None else Bound.exact(a.draw(k), a.kind) for a in args],
                    kind,
                    fresh=True,
                )
                for k in range(DRAWS)
            ]
        for position, (name, bound) in enumerate(zip(node.outputs, made, strict=False)):
            if not name:
                continue
            sigma = passed[position] if any(noisy) else None
            own = local if position == 0 else None
            values = tuple(d[position].mid for d in draws) if any(noisy) else (bound.mid,) * DRAWS
            yield (
                name,
                self._stored(node, self.graph.kinds.get(name, bound.kind), bound.mid, sigma, own, values),
            )

    def _argument(self, name: str, known: Mapping[str, _Noisy]) -> _Noisy:
        if name in known:
            return known[name]
        constant = self.graph.constant(name)
        if constant is None:
            raise _Uncovered(name)
        return _Noisy(constant.mid, constant.kind)

    def _run(
        self,
        node: Node,
        args: list[Bound | None],
        kind: str,
        *,
        contract: Contract | None = None,
        fresh: bool = False,
    ) -> list[Bound]:
        memo: Memo = {} if fresh else self.memo
        contract = contract or (self.plain if fresh else self.contract)
        step = Step(node, tuple(args), contract, kind, self.graph.opset, memo)
        return HANDLERS[node.op](step)

    def _local(self, node: Node, exact: list[Bound | None], kind: str, made: Bound) -> Float64 | None:
        """Return the standard deviation of what the operator itself adds to the error of its inputs."""
        reach = made.radius()
        if made.sigma is not None and made.bias is not None:
            own = np.sqrt(made.sigma**2 + made.bias**2)
        elif reach is None or not reach.any():
            return None
        else:
            own = reach / SIGMAS if node.op in HEAVY else reach / np.sqrt(3.0)
        if self.rung.algorithm != "direct" and node.op in HEAVY and reach is not None:
            wider = self._run(node, exact, kind, contract=self.rung)[0].radius()
            extra = 0.0 if wider is None else np.maximum(wider - reach, 0.0)
            own = np.sqrt(own**2 + extra**2 / 3)
        return np.asarray(own)

    def _stored(
        self,
        node: Node,
        kind: str,
        mid: Float64,
        sigma: Float64 | None,
        local: Float64 | None,
        draws: tuple[Float64, ...],
    ) -> _Noisy:
        if kind not in FLOAT_KINDS:
            if sigma is not None:
                raise _Uncovered(kind)
            return _Noisy(mid, kind)
        if local is not None:
            sigma = local if sigma is None else np.sqrt(sigma**2 + local**2)
            draws = tuple(d + local * self.rng.standard_normal(mid.shape) for d in draws)
        if kind not in FORMATS:
            return _Noisy(mid, kind, sigma, () if sigma is None else draws)
        if sigma is None:
            return _Noisy(round_to(mid, kind), kind)
        if node.op not in _MOVES | _CHOOSES or node.op == "Cast":
            sigma = np.sqrt(sigma**2 + _step(mid, kind) ** 2 / 12)
        if _may_overflow(mid, sigma, kind):
            raise _Uncovered(f"{node.op} may pass the largest number of {kind}")
        return _Noisy(mid, kind, sigma, tuple(round_to(d, kind) for d in draws))

    def _passed_on(
        self, node: Node, args: list[_Noisy | None], kind: str, made: list[Bound]
    ) -> list[Float64]:
        """Return the standard deviation that the inputs' errors give each output."""
        if node.op in HEAVY:
            return [self._products(node, args, kind)]
        if node.op in _MOVES:
            return self._moved(node, args, kind)
        if node.op in ("Add", "Sub", "Mul", "Div", "Max", "Min") and len(args) == 2:
            return [_paired(node.op, args[0], args[1], made[0].mid)]
        others = any(arg is not None and arg.sigma is not None for arg in args[1:])
        first = args[0]
        if others or first is None:
            raise _Uncovered(node.op)
        if node.op in _FUNCTIONS:
            return self._function(node, args, first, kind, made)
        if node.op == "GlobalAveragePool":
            count = float(np.prod(first.mid.shape[2:]))
            return [np.sqrt(self._swapped(node, args, first.spread**2, kind)[0] / count)]
        if node.op == "AveragePool":
            return [self._swapped(node, args, first.spread, kind)[0]]
        if node.op == "Softmax":
            # p changes by at most p (exp(2 e) - 1) when the largest change of an input is e.
            worst = SIGMAS * float(np.max(first.spread[np.isfinite(first.spread)], initial=0.0))
            return [made[0].mid * np.expm1(2 * worst) / SIGMAS]
        raise _Uncovered(node.op)

    def _swapped(self, node: Node, args: list[_Noisy | None], first: Float64, kind: str) -> list[Float64]:
        """Return the outputs with another first input."""
        given = [None if arg is None else Bound.exact(arg.mid, arg.kind) for arg in args]
        given[0] = Bound.exact(first, "fp64")
        return [bound.mid for bound in self._run(node, given, kind, fresh=True)]

    def _products(self, node: Node, args: list[_Noisy | None], kind: str) -> Float64:
        x, w = args[0], args[1]
        assert x is not None and w is not None
        total = np.zeros(())
        pairs = [(x.spread**2, w.mid**2)]
        if w.sigma is not None:
            pairs += [(x.mid**2, w.sigma**2), (x.spread**2, w.sigma**2)]
        for data, weight in pairs:
            given: list[Bound | None] = [Bound.exact(data, "fp64"), Bound.exact(weight, "fp64")]
            total = total + self._run(node, given, "fp64", fresh=True)[0].mid
        total = total * abs(float(node.attributes.get("alpha", 1.0)))
        if len(args) > 2 and args[2] is not None and args[2].sigma is not None:
            raise _Uncovered("a bias with errors")
        return np.asarray(np.sqrt(np.maximum(total, 0.0)))

    def _moved(self, node: Node, args: list[_Noisy | None], kind: str) -> list[Float64]:
        if node.op == "Cast":
            assert args[0] is not None
            return [args[0].spread]
        given: list[Bound | None] = []
        for position, arg in enumerate(args):
            moves = position == 0 or node.op == "Concat"
            if arg is not None and arg.sigma is not None and not moves:
                raise _Uncovered(node.op)
            value = None if arg is None else arg.spread if moves else arg.mid
            if node.op == "Pad" and position == 2 and value is not None:
                value = np.zeros(value.shape)
            given.append(None if value is None or arg is None else Bound.exact(value, arg.kind))
        return [bound.mid for bound in self._run(node, given, kind, fresh=True)]

    def _function(
        self, node: Node, args: list[_Noisy | None], first: _Noisy, kind: str, made: list[Bound]
    ) -> list[Float64]:
        """Return how far the function goes over 12 standard deviations to either side."""
        reach = SIGMAS * first.spread
        mid = made[0].mid
        sides = [self._swapped(node, args, first.mid + sign * reach, kind)[0] for sign in (1, -1)]
        return [np.maximum(np.abs(sides[0] - mid), np.abs(mid - sides[1])) / SIGMAS]


def _paired(op: str, a: _Noisy | None, b: _Noisy | None, mid: Float64) -> Float64:
    assert a is not None and b is not None
    var_a, var_b = a.spread**2, b.spread**2
    if op in ("Add", "Sub"):
        total = var_a + var_b
    elif op == "Mul":
        total = b.mid**2 * var_a + a.mid**2 * var_b + var_a * var_b
    elif op == "Div":
        total = (var_a + mid**2 * var_b) / b.mid**2
    else:
        total = np.maximum(var_a, var_b)
    return np.asarray(np.broadcast_to(np.sqrt(total), mid.shape))


def _may_overflow(mid: Float64, sigma: Float64, kind: str) -> bool:
    """Tell whether a finite value becomes infinite where it is stored, or may: what follows is no small error then."""
    reach = np.abs(mid) + SIGMAS * sigma
    return bool(np.isinf(round_to(reach[np.isfinite(mid)], kind)).any())


def _step(values: Float64, kind: str) -> Float64:
    return spacing(np.where(np.isfinite(values), values, 1.0), kind)


def _likely(tensor: _Noisy) -> Bound:
    """Return the interval of one output; where the drawn errors are larger than the model's, it is as much wider."""
    mid = tensor.mid
    if tensor.sigma is None or tensor.kind not in FORMATS:
        return Bound.exact(mid, tensor.kind)
    with np.errstate(all="ignore"):
        ratios = [((d - mid) / tensor.sigma)[np.isfinite(mid) & (tensor.sigma > 0)] for d in tensor.draws]
        square = max((float(np.nanmean(r**2)) for r in ratios if r.size), default=1.0)
        sigma = tensor.sigma * np.sqrt(max(1.0, square))
        room = SIGMAS * sigma + _step(mid, tensor.kind)
    open_ = ~np.isfinite(mid) | ~np.isfinite(room)
    room = np.where(open_, 0.0, room)
    return Bound(
        mid,
        mid - room,
        mid + room,
        tensor.kind,
        loose=open_ if open_.any() else None,
        sigma=np.where(open_, 0.0, sigma),
        bias=np.zeros(mid.shape),
    )
