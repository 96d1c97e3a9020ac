"""The admissible outputs of a typed graph for given inputs, and how an output lies among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_trt.check import operators  # registers the limits of all operators
from pytest_trt.check.graph import Graph
from pytest_trt.check.interpret import HEAVY, Bounds, Memo, interpret
from pytest_trt.numerics.bounds import Bound, Contract
from pytest_trt.numerics.formats import Array
from pytest_trt.numerics.judge import Measure, measure, measure_slices
from pytest_trt.records import CONFORMS, RUNGS, SUSPICIOUS, VIOLATES

assert operators.MODULES


@dataclass(frozen=True)
class Judged:
    """How one output lies among its admissible values.

    Attributes
    ----------
    status : str
        `conforms`, `suspicious` (inside the hard limit, outside the statistical one) or `violates`.
    rung : str
        The rung of the ladder that admits it; `direct` where none does.
    measure : Measure
        The numbers: on the admitting rung, else on the widest that an honest builder needs.
    limits : Bound
        The limits that `measure` was taken on: where statistics count, those of 12 standard deviations.
    """

    status: str
    rung: str
    measure: Measure
    limits: Bound


class Admissible:
    """What a graph may give for one set of inputs under one contract; a rung is worked out when it is asked for.

    Parameters
    ----------
    graph : Graph
        Typed: the specification of what an engine may compute.
    feeds : mapping of input name to array
    contract : Contract
        Of the direct rung.
    rungs : sequence of str
        Rungs of the ladder that pass, `direct` among them or not.
    """

    def __init__(
        self,
        graph: Graph,
        feeds: Mapping[str, Array],
        contract: Contract,
        rungs: Sequence[str] = RUNGS,
    ) -> None:
        self.graph = graph
        self.contract = contract
        self.rungs = tuple(rungs)
        self.exact = {
            name: Bound.exact(values.astype(np.float64), graph.inputs[name][0])
            for name, values in feeds.items()
        }
        self._memo: Memo = {}
        self._fast = True
        self._known: dict[tuple[str, bool], Bounds] = {}
        # INT8 sums are exact: they have no deviation.
        self._has_likely = any(node.op in HEAVY for node in graph.nodes) and not _is_int8(graph)

    def on(self, rung: str, *, likely: bool = False) -> Bounds:
        """Return the bounds of all outputs on one rung; with `likely` those of 12 standard deviations."""
        key = (rung, likely and self._has_likely)
        if key not in self._known:
            contract = replace(self.contract.rung(rung), likely=key[1])
            self._known[key] = interpret(self.graph, self.exact, contract, memo=self._memo, fast=self._fast)
        return self._known[key]

    def judge(self, name: str, got: Array, *, statistics: bool) -> Judged:
        """Return how an output with limits lies: the first rung that admits it, in order.

        Parameters
        ----------
        name : str
            An output of the graph that has limits.
        got : ndarray
            Of the shape that the limits have.
        statistics : bool
            The inputs do not depend on the order of summation: the 12-sigma interval and the slices count as well.

        Notes
        -----
        Large sums are taken in FP32 with their error counted; only a result that these limits refuse is judged in float64.
        """
        found = self._climb(name, got, statistics)
        if found.status != CONFORMS or found.rung != "direct":
            if self._fast and any(bounds.fast for bounds in self._known.values()):
                self._fast = False
                self._known.clear()
                found = self._climb(name, got, statistics)
        return found

    def _climb(self, name: str, got: Array, statistics: bool) -> Judged:
        doubt: Judged | None = None
        for rung in ("direct", *(r for r in self.rungs if r != "direct")):
            if statistics and rung in _LIKELY_RUNGS:
                likely = self.on(rung, likely=True).tensors[name]
                found = _measure_likely(got, likely)
                if not found.bad:
                    return Judged(CONFORMS, rung, found, likely)
                if doubt is None and not measure(got, self.on(rung).tensors[name]).bad:
                    doubt = Judged(SUSPICIOUS, rung, found, likely)
            elif not (doubt is not None and self._is_same(name, rung)):
                limits = self.on(rung).tensors[name]
                found = measure(got, limits)
                if not found.bad:
                    return Judged(CONFORMS, rung, found, limits)
        if doubt is not None:
            return doubt
        widest = "unfused" if "unfused" in self.rungs else "direct"
        limits = self.on(widest).tensors[name]
        return Judged(VIOLATES, "direct", measure(got, limits), limits)

    def widest(self, name: str) -> Bound:
        """Return the hull of what the rungs admit, by hard limits: what another run of the engine may give."""
        hull = self.on("direct").tensors[name]
        for rung in self.rungs:
            if rung != "direct":
                wider = self.on(rung).tensors[name]
                low, high = np.minimum(hull.low, wider.low), np.maximum(hull.high, wider.high)
                hull = replace(hull, low=low, high=high, _lsb=[])
        return hull

    def _is_same(self, name: str, rung: str) -> bool:
        """Tell whether an algorithm's rung adds nothing here: no node of the graph can use that algorithm."""
        plain, wider = (self.on(r).tensors[name] for r in ("unfused", rung))
        return np.array_equal(plain.low, wider.low, equal_nan=True) and np.array_equal(
            plain.high, wider.high, equal_nan=True
        )


def _measure_likely(got: Array, likely: Bound) -> Measure:
    found = measure(got, likely)
    if found.bad:
        return replace(found, cause="statistics")
    slices = measure_slices(got, likely)
    return slices if slices is not None and slices.bad else found


class Widest(Mapping[str, Bound]):
    """The widest limits of some outputs, worked out when one is asked for."""

    def __init__(self, admissible: Admissible, names: Iterable[str]) -> None:
        self._admissible = admissible
        self._names = tuple(names)

    def __getitem__(self, name: str) -> Bound:
        if name not in self._names:
            raise KeyError(name)
        return self._admissible.widest(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


# Rungs whose sums are added up directly, so that the deviation of their errors is known.
_LIKELY_RUNGS = ("direct", "unfused")


def _is_int8(graph: Graph) -> bool:
    return any(node.op == "QuantizeLinear" for node in graph.nodes)
