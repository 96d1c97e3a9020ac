"""The admissible outputs of a typed graph for given inputs, and how an output lies among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_trt.check.graph import Graph
from pytest_trt.check.interpret import Bounds, interpret
from pytest_trt.numerics.bounds import Bound, Contract
from pytest_trt.numerics.formats import Array
from pytest_trt.numerics.judge import Measure, measure, measure_statistics
from pytest_trt.records import CONFORMS, RUNGS, SUSPICIOUS, VIOLATES


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
        The limits that `measure` was taken on.
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
        self._exact = {
            name: Bound.exact(values.astype(np.float64), graph.inputs[name][0])
            for name, values in feeds.items()
        }
        self._known: dict[str, Bounds] = {}

    def on(self, rung: str) -> Bounds:
        """Return the bounds of all outputs on one rung."""
        if rung not in self._known:
            self._known[rung] = interpret(self.graph, self._exact, self.contract.rung(rung))
        return self._known[rung]

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
        """
        direct = self.on("direct").tensors[name]
        first = measure(got, direct)
        if not first.bad:
            doubt = measure_statistics(got, direct) if statistics else None
            if doubt is not None and doubt.bad:
                return Judged(SUSPICIOUS, "direct", doubt, direct)
            return Judged(CONFORMS, "direct", first, direct)
        limits = direct
        for rung in self.rungs:
            if rung == "direct":
                continue
            wider = self.on(rung).tensors[name]
            found = measure(got, wider)
            if not found.bad:
                return Judged(CONFORMS, rung, found, wider)
            if rung == "unfused":
                first, limits = found, wider
        return Judged(VIOLATES, "direct", first, limits)
