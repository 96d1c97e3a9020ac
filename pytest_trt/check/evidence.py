"""One failed tensor with all that is known of it: what the rules of `diagnose` look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from pytest_trt.check.graph import Graph, Node
from pytest_trt.check.interpret import Bounds, interpret
from pytest_trt.check.sources import last_products, with_node
from pytest_trt.numerics.bounds import Bound, Contract
from pytest_trt.numerics.formats import FORMATS, Array, Float64, spacing
from pytest_trt.numerics.patterns import Pattern, find_pattern

# How probable an accidental match may be, over all alternatives that a rule tries.
ACCIDENT = 1e-3
# From how many elements on a rule may speak of all.
ENOUGH = 4


@dataclass(frozen=True)
class Evidence:
    """A tensor outside its limits.

    Attributes
    ----------
    graph, known, contract, keep
        As `interpret` takes them.
    name : str
        The tensor.
    raw : ndarray
        What the engine gave, in its own type.
    limits : Bound
        What it was held against.
    """

    graph: Graph
    known: Mapping[str, Bound]
    name: str
    raw: Array
    limits: Bound
    contract: Contract
    keep: frozenset[str] = field(default=frozenset())

    @cached_property
    def got(self) -> Float64:
        """What the engine gave, as float64."""
        return np.asarray(self.raw, dtype=np.float64)

    @property
    def want(self) -> Float64:
        """The exact value."""
        return self.limits.mid

    @cached_property
    def bad(self) -> Array:
        """The elements outside; where none is (a statistical finding), those that are not equal."""
        inside = (self.got >= self.limits.low) & (self.got <= self.limits.high)
        inside = np.where(np.isnan(self.want), np.isnan(self.got), inside)
        if self.limits.loose is not None:
            inside |= self.limits.loose
        return np.asarray(self.got != self.want) if inside.all() else ~inside

    @cached_property
    def pattern(self) -> Pattern:
        """Where they lie."""
        return find_pattern(self.bad)

    @cached_property
    def stem(self) -> Node | None:
        """The node that made the values, before they were cast to the type of the output."""
        node = self.graph.producer.get(self.name)
        while node is not None and node.op in ("Cast", "Identity") and node.inputs[0] in self.graph.producer:
            node = self.graph.producer[node.inputs[0]]
        return node

    @cached_property
    def kind(self) -> str:
        """The type that the values were rounded to: that of the tensor, or a narrower one that was cast to it."""
        name = self.stem.outputs[0] if self.stem is not None else self.name
        made = self.graph.kinds.get(name, "")
        return made if made in ("fp16", "bf16") else self.limits.kind

    @cached_property
    def grid(self) -> Float64:
        """Distance between neighbours of the storage type at each element: an INT8 level, or a unit in the last place."""
        node = self.stem
        if self.kind in ("int8", "uint8"):
            return np.ones(self.want.shape)
        if node is not None and node.op == "DequantizeLinear":
            scale = self.graph.constant(node.inputs[1])
            if scale is not None:
                return self._per_channel(scale.mid, node)
        kind = self.kind if self.kind in FORMATS else "fp32"
        return spacing(np.where(np.isfinite(self.want), self.want, 1.0), kind)

    @property
    def is_integer(self) -> bool:
        """True for a tensor of INT8 levels, scaled or not."""
        return self.kind in ("int8", "uint8") or (
            self.stem is not None and self.stem.op == "DequantizeLinear"
        )

    def _per_channel(self, scale: Float64, node: Node) -> Float64:
        if scale.size > 1:
            shape = [1] * self.want.ndim
            shape[int(node.attributes.get("axis", 1))] = scale.size
            scale = scale.reshape(shape)
        return np.asarray(np.broadcast_to(np.abs(scale), self.want.shape))

    @cached_property
    def room(self) -> Float64:
        """How far from a right value a right kernel may be: the half-width of the interval and a step of the grid."""
        with np.errstate(invalid="ignore"):
            width = np.maximum(self.limits.high - self.want, self.want - self.limits.low)
        return np.where(np.isfinite(width), width, 0.0) + self.grid

    @cached_property
    def finite(self) -> Array:
        """The bad elements on which both sides are finite."""
        return np.asarray(self.bad & np.isfinite(self.got) & np.isfinite(self.want))

    @cached_property
    def all_finite(self) -> bool:
        """True when every bad element is finite on both sides."""
        return bool(np.array_equal(self.finite, self.bad))

    @cached_property
    def tensors(self) -> Mapping[str, Bound]:
        """The bounds of all tensors before this one."""
        return self._interpret(self.graph, self.known).tensors

    @cached_property
    def products(self) -> Node | None:
        """The sum of products that stands nearest before the tensor."""
        return last_products(self.graph, self.name, self.known)

    def argument(self, node: Node, position: int) -> Bound | None:
        """Return an input of a node, worked out or constant; None where it has none."""
        if position >= len(node.inputs) or not node.inputs[position]:
            return None
        found = self.tensors.get(node.inputs[position])
        return self.graph.constant(node.inputs[position]) if found is None else found

    def _interpret(self, graph: Graph, known: Mapping[str, Bound]) -> Bounds:
        return interpret(graph, known, self.contract, wanted=(self.name,), keep=self.keep)

    def is_explained(self, other: Bound | None) -> bool:
        """Tell whether every bad element lies among these values, and they are not those that were wanted anyway."""
        if other is None or other.mid.shape != self.got.shape:
            return False
        bad = self.bad
        with np.errstate(invalid="ignore"):
            # Another kernel may have rounded once more: half a step, but not between levels of integers.
            more = 0.0 if self.is_integer else 0.5 * self.grid
            held = (self.got >= other.low - more) & (self.got <= other.high + more)
        held = np.where(np.isnan(other.mid), np.isnan(self.got), held)
        if not bool(held[bad].all()):
            return False
        wide = (other.high - other.low)[bad & np.isfinite(other.mid)]
        spread = np.abs(self.got - self.want)[bad & np.isfinite(other.mid) & np.isfinite(self.want)]
        if self.pattern.count < ENOUGH and spread.size and spread.max() <= 8 * self.room[bad].max():
            return False  # a few small errors fit anything
        # An interval wider than the error proves nothing.
        return wide.size == 0 or spread.size == 0 or bool(np.median(wide) <= 2 * np.median(spread))

    def suppose(self, changed: Mapping[str, Bound]) -> bool:
        """Tell whether the bad elements are what other tensors (weights, say) would give."""
        for name in changed:
            if len(self.graph.readers.get(name, ())) > 1:
                return False  # others read it too
        found = self._interpret(self.graph, {**self.known, **changed})
        return self.is_explained(found.tensors.get(self.name))

    def suppose_node(self, old: Node, new: Node) -> bool:
        """Tell whether the bad elements are what another node would give in the place of one."""
        found = self._interpret(with_node(self.graph, old, new), self.known)
        return self.is_explained(found.tensors.get(self.name))

    def is_no_accident(self, values: Float64, alternatives: int = 1) -> bool:
        """Tell whether it would be improbable that the bad elements are among `values` by chance."""
        places = np.flatnonzero(self.finite)[:64]
        if places.size == 0:
            return False
        flat, room = self.got.reshape(-1)[places], self.room.reshape(-1)[places]
        pool = values[np.isfinite(values)]
        pool = pool[:: max(1, pool.size // 512)]
        hits = np.abs(flat[:, None] - pool[None, :]) <= room[:, None]
        share = np.maximum(hits.mean(axis=1), 1.0 / max(2, pool.size))
        return bool(np.log(share).sum() + np.log(alternatives) < np.log(ACCIDENT))

    def count_where(self, rule: Callable[[Float64, Float64], Array]) -> int:
        """Return on how many bad elements a rule of (got, want) holds."""
        with np.errstate(invalid="ignore"):
            return int(np.count_nonzero(rule(self.got, self.want) & self.bad))

    def holds(self, rule: Callable[[Float64, Float64], Array]) -> bool:
        """Tell whether a rule of (got, want) holds on every bad element."""
        return self.count_where(rule) == self.pattern.count
