"""Run a subject on one kind of data and judge what it gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain

import numpy as np

from pytest_trt.check.admissible import Admissible, Widest
from pytest_trt.check.deep import DeepJudge
from pytest_trt.check.diagnose import explain
from pytest_trt.check.findings import Notes
from pytest_trt.check.graph import Graph
from pytest_trt.check.layers import breaks_fusion, is_deep
from pytest_trt.check.recall import Recall
from pytest_trt.check.reference import OnnxRuntime
from pytest_trt.check.relations import Base, Broken, check_relations, works_row_by_row
from pytest_trt.check.scaling import check_halving, scales
from pytest_trt.check.subject import Subject
from pytest_trt.errors import ModelError
from pytest_trt.numerics.battery import STRUCTURED
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import Array
from pytest_trt.numerics.judge import Measure, measure
from pytest_trt.records import CONFORMS, MISTRUSTED, SUSPICIOUS, VIOLATES, Tolerance

# A reference on which fewer elements than this were compared says nothing about being constant.
TRUST_SIZE = 32
# The share of a reference that has to differ from the rest.
TRUST_SHARE = 0.01


class Examiner:
    """Judges one subject; keeps what is the same for all data.

    Parameters
    ----------
    subject : Subject
    source : Graph
        The user's own graph.
    rungs : sequence of str
        Rungs of the ladder that pass.
    tolerance : Tolerance, optional
    recall : Recall, optional
        What is known from earlier checks.

    Raises
    ------
    PrecisionError
        The subject was made for a speed trial: its outputs mean nothing.
    """

    def __init__(
        self,
        subject: Subject,
        source: Graph,
        rungs: Sequence[str],
        tolerance: Tolerance | None = None,
        recall: Recall | None = None,
    ) -> None:
        subject.prepared.demand_accurate()
        self.subject = subject
        self.source = source
        self.rungs = tuple(rungs)
        self.tolerance = tolerance
        self.graph = subject.graph
        self.deep = is_deep(self.graph)
        self._notes = Notes(subject)
        self.result = self._notes.result
        self._recall = Recall(0) if recall is None else recall
        # Casts and Q/DQ of the rewrite have tensors of their own, which nobody would mark.
        self._inner = {name for node in source.nodes for name in node.outputs} - source.outputs.keys()
        self._deep_judge = DeepJudge(
            self._notes, self.rungs, lambda: self._reference, statistics=tolerance is None
        )

    @cached_property
    def _reference(self) -> OnnxRuntime:
        return OnnxRuntime(self.graph)

    def look(self, feeds: Mapping[str, Array], data: str, *, relations: bool) -> None:
        """Run the engine on one set of inputs and add what it shows to `result`."""
        got = self.subject.run(feeds)
        if not got:
            self._notes.fail("compared", "", data, note="the engine has no outputs: nothing was compared")
            return
        admissible, want = self._recall.look_up(
            self.graph, feeds, self.subject.contract, self.rungs, lambda given: self._reference.run(given)
        )
        limits: Mapping[str, Bound] = (
            self._deep_judge.judge(feeds, got, want, data)
            if self.deep
            else self._judge(admissible, got, want, data)
        )
        for name, values in want.items():
            if values.dtype.kind == "f":
                self.result.spread[name] = self.result.spread.get(name, False) or _says_something(values)
        if relations and not self.result.findings:
            self._relate(feeds, got, limits, data)

    def distrust(self) -> None:
        """Add a finding for each output whose reference was (nearly) constant on all data: a comparison that sees nothing."""
        for name, varied in self.result.spread.items():
            if not varied:
                note = "the reference is constant, or nearly, on all data"
                self._notes.fail("trust", name, "all", status=MISTRUSTED, note=note)

    def close(self) -> None:
        """Release what was built besides the subject itself."""
        self._deep_judge.close()

    def _judge(
        self, admissible: Admissible, got: Mapping[str, Array], want: Mapping[str, Array], data: str
    ) -> Mapping[str, Bound]:
        drawn = data not in STRUCTURED
        direct = admissible.on("direct", likely=drawn)
        guards = {name: _held(values, direct.tensors.get(name)) for name, values in want.items()}
        for rung in ("direct", "unfused"):
            # The reference stores inner tensors, and computes Q/DQ in float.
            if any(guard is not None and guard.bad for guard in guards.values()):
                loose = admissible.on(rung).tensors
                guards = {name: _held(values, loose.get(name)) for name, values in want.items()}
        judged: list[str] = []
        for name, values in want.items():
            guard = guards[name]
            if name not in got:
                self._notes.fail("compared", name, data, note="the engine does not give this output")
            elif self.tolerance is not None:
                found = measure(got[name], self._tolerated(values))
                self._notes.accept(name, data, found, "direct", self.tolerance.why)
            elif guard is None:
                self.result.unjudged.update(direct.unknown)
            elif direct.tensors[name].mid.shape != got[name].shape:
                want_shape = direct.tensors[name].mid.shape
                self._notes.fail("shape", name, data, note=f"shape {got[name].shape}, want {want_shape}")
            elif guard.bad:
                self._notes.add(
                    "reference", name, data, guard, MISTRUSTED, "ONNX Runtime and float64 disagree"
                )
            else:
                judged.append(name)
                self._climb(name, got[name], admissible, data)
        return Widest(admissible, judged)

    def _climb(self, name: str, got: Array, admissible: Admissible, data: str) -> None:
        """Judge one output on the rungs of the ladder."""
        judged = admissible.judge(name, got, statistics=data not in STRUCTURED)
        before = len(self.result.findings)
        if judged.status == SUSPICIOUS:
            self._notes.accept(
                name, data, measure(got, admissible.on(judged.rung).tensors[name]), judged.rung
            )
            why = "inside the hard limit: no proof, but no accident"
            self._notes.add(judged.measure.cause, name, data, judged.measure, SUSPICIOUS, why)
        else:
            note = "" if judged.status == CONFORMS else f"no rung admits it (tried: {', '.join(self.rungs)})"
            self._notes.accept(name, data, judged.measure, judged.rung, note)
        for place in range(before, len(self.result.findings)):
            self.result.findings[place] = explain(
                self.result.findings[place],
                self.graph,
                admissible.exact,
                got,
                judged.limits,
                self.subject.contract.rung("unfused" if "unfused" in self.rungs else "direct"),
            )

    def _tolerated(self, want: Array) -> Bound:
        assert self.tolerance is not None
        mid = want.astype(np.float64)
        with np.errstate(invalid="ignore"):
            room = self.tolerance.atol + self.tolerance.rtol * np.abs(mid)
            return Bound(mid, mid - room, mid + room)

    def _relate(
        self, feeds: Mapping[str, Array], got: Mapping[str, Array], limits: Mapping[str, Bound], data: str
    ) -> None:
        base = Base(feeds, got, limits)
        has_batch = self.source.batch_symbol is not None and self._rows_are_apart(feeds)
        inner = breaks_fusion(self.graph, self._inner)
        asked = check_relations(self.subject, base, has_batch=has_batch, inner=inner)
        if scales(self.source, self.subject.prepared.precision):
            asked = chain(asked, check_halving(self.subject, feeds))
        for relation, broken in asked:
            self.result.relations.add(relation)
            if isinstance(broken, Broken):
                self._notes.add(
                    relation, broken.tensor, data, broken.measure, VIOLATES, f"relation: {relation}"
                )

    def _rows_are_apart(self, feeds: Mapping[str, Array]) -> bool:
        """Tell whether the rows of a batch do not touch: a network may mix its batch on purpose.

        By construction where every operator works row by row; else the reference says so, run on the user's own graph: it
        has to give row 0 what it gives it alone, and what it gives it among copies of itself.
        """
        if works_row_by_row(self.source):
            return True
        reference = OnnxRuntime(self.source)
        want = reference.run(feeds)
        rows = int(next(iter(feeds.values())).shape[0])
        for place in ([0], [0] * rows, [*range(1, rows), 0]):
            try:
                other = reference.run({name: np.ascontiguousarray(v[place]) for name, v in feeds.items()})
            except ModelError:
                return False  # the network does not take another batch
            if not all(_near(other[name], values[place]) for name, values in want.items()):
                return False
        return True


def _says_something(values: Array) -> bool:
    """Tell whether a reference is varied enough for a comparison with it to mean anything; small ones always are."""
    if values.size < TRUST_SIZE:
        return True
    other = int(np.count_nonzero(values != values.reshape(-1)[0]))
    return other >= TRUST_SHARE * values.size


def _near(got: Array, want: Array) -> bool:
    """Tell whether two runs of a reference agree but for rounding: what another row brings in is far larger."""
    if got.shape != want.shape:
        return False
    if got.dtype.kind != "f":
        return bool(np.array_equal(got, want))
    with np.errstate(invalid="ignore"):
        gap = np.abs(got.astype(np.float64) - want)
    finite = np.isfinite(gap)
    top = np.abs(want[finite], dtype=np.float64).max(initial=0.0)
    return bool((gap[finite] <= 1e-4 * top).all())


def _held(values: Array, bound: Bound | None) -> Measure | None:
    """Return how the reference lies in the limits; None where there are none."""
    if bound is None:
        return None
    if values.shape != bound.mid.shape:
        return Measure(values.size, 0, 0, bad=values.size, cause="shape")
    return measure(values, bound)
