"""Run a subject on one kind of data and judge what it gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from pytest_trt.check.admissible import Admissible, Widest
from pytest_trt.check.diagnose import explain
from pytest_trt.check.graph import FLOAT_KINDS, Graph
from pytest_trt.check.layers import LayerReport, breaks_fusion, choose_marks, is_deep, judge_layers
from pytest_trt.check.operators import with_limit
from pytest_trt.check.recall import Recall
from pytest_trt.check.reference import OnnxRuntime
from pytest_trt.check.relations import Base, Broken, check_relations, works_row_by_row
from pytest_trt.check.sources import count_terms
from pytest_trt.check.subject import Subject
from pytest_trt.check.variance import end_to_end
from pytest_trt.errors import ModelError
from pytest_trt.numerics.battery import STRUCTURED
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import Array
from pytest_trt.numerics.judge import SIGMAS, Measure, measure
from pytest_trt.records import CONFORMS, MISTRUSTED, SUSPICIOUS, VIOLATES, Finding, Tolerance
from pytest_trt.runtime.debug import show_tensors

# A reference on which fewer elements than this were compared says nothing about being constant.
TRUST_SIZE = 32
# The share of a reference that has to differ from the rest.
TRUST_SHARE = 0.01
# Half-width, in measured standard deviations, inside which two runs of an unlimited graph must agree.
NOISE_SIGMAS = 12.0
# The same, in the largest measured change.
NOISE_TOPS = 4.0
# Relative error of a stored tensor, by precision: half a step of the type; sums in FP32 are off by a few units.
_STORE_UNITS = {"fp16": 2.0**-11, "bf16": 2.0**-8, "tf32": 2.0**-11}
_FP32_UNIT = 2.0**-21


@dataclass
class Examination:
    """What all data of one check showed so far."""

    findings: list[Finding] = field(default_factory=list)
    compared: int = 0
    certified: int = 0
    rungs: Counter[str] = field(default_factory=Counter)
    unjudged: Counter[str] = field(default_factory=Counter)
    relations: set[str] = field(default_factory=set)
    spread: dict[str, bool] = field(default_factory=dict)


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
    """

    def __init__(
        self,
        subject: Subject,
        source: Graph,
        rungs: Sequence[str],
        tolerance: Tolerance | None = None,
        recall: Recall | None = None,
    ) -> None:
        self.subject = subject
        self.source = source
        self.rungs = tuple(rungs)
        self.tolerance = tolerance
        self.graph = subject.graph
        self.deep = is_deep(self.graph)
        self.result = Examination()
        self._recall = Recall(0) if recall is None else recall
        prepared = subject.prepared
        self._there = (
            None if prepared.strong else {name for n in prepared.model.graph.node for name in n.output}
        )
        # Casts and Q/DQ of the rewrite have tensors of their own, which nobody would mark.
        self._inner = {name for node in source.nodes for name in node.outputs} - source.outputs.keys()
        self._marked: Subject | None = None

    @cached_property
    def _reference(self) -> OnnxRuntime:
        return OnnxRuntime(self.graph)

    @cached_property
    def _shaken_reference(self) -> OnnxRuntime:
        unit = _STORE_UNITS.get(self.subject.prepared.precision, _FP32_UNIT)
        try:
            return OnnxRuntime(self.graph, unit=unit)
        except ModelError:
            return self._reference  # shaken inputs have to do

    def look(self, feeds: Mapping[str, Array], data: str, *, relations: bool) -> None:
        """Run the engine on one set of inputs and add what it shows to `result`."""
        got = self.subject.run(feeds)
        if not got:
            self._fail("compared", "", data, note="the engine has no outputs: nothing was compared")
            return
        admissible, want = self._recall.look_up(
            self.graph, feeds, self.subject.contract, self.rungs, lambda given: self._reference.run(given)
        )
        limits: Mapping[str, Bound] = (
            self._judge_deep(feeds, got, want, data)
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
                self._fail("trust", name, "all", status=MISTRUSTED, note=note)

    def close(self) -> None:
        """Release what was built besides the subject itself."""
        for other in (self._marked, self.__dict__.get("_shown")):
            if other is not None:
                other.close()

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
                self._fail("compared", name, data, note="the engine does not give this output")
            elif self.tolerance is not None:
                found = measure(got[name], self._tolerated(values))
                self._accept(name, data, found, "direct", self.tolerance.why)
            elif guard is None:
                self.result.unjudged.update(direct.unknown)
            elif direct.tensors[name].mid.shape != got[name].shape:
                want_shape = direct.tensors[name].mid.shape
                self._fail("shape", name, data, note=f"shape {got[name].shape}, want {want_shape}")
            elif guard.bad:
                self._finding("reference", name, data, guard, MISTRUSTED, "ONNX Runtime and float64 disagree")
            else:
                judged.append(name)
                self._climb(name, got[name], admissible, data)
        return Widest(admissible, judged)

    def _climb(self, name: str, got: Array, admissible: Admissible, data: str) -> None:
        """Judge one output on the rungs of the ladder."""
        judged = admissible.judge(name, got, statistics=data not in STRUCTURED)
        before = len(self.result.findings)
        if judged.status == SUSPICIOUS:
            self._accept(name, data, measure(got, admissible.on(judged.rung).tensors[name]), judged.rung)
            why = "inside the hard limit: no proof, but no accident"
            self._finding(judged.measure.cause, name, data, judged.measure, SUSPICIOUS, why)
        else:
            note = "" if judged.status == CONFORMS else f"no rung admits it (tried: {', '.join(self.rungs)})"
            self._accept(name, data, judged.measure, judged.rung, note)
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

    def _judge_deep(
        self, feeds: Mapping[str, Array], got: Mapping[str, Array], want: Mapping[str, Array], data: str
    ) -> dict[str, Bound]:
        if self._marked is None:
            self._marked = self.subject.with_outputs(choose_marks(self.graph, self._there))
        inner = self._marked.run(feeds)
        contract, drawn = self.subject.contract, data not in STRUCTURED
        report = judge_layers(self.graph, feeds, inner, contract, self.rungs, statistics=drawn)
        self._add_layers(report, inner, data)
        if not report.bad:
            self._look_inside(feeds, inner, data)
        if not self.result.unjudged:
            limited = with_limit()
            self.result.unjudged.update(node.op for node in self.graph.nodes if node.op not in limited)
        limits = self._noise_limits(feeds, got, want, data)
        for name, values in want.items():
            if name not in got:
                self._fail("compared", name, data, note="the engine does not give this output")
            elif got[name].shape != values.shape:
                self._fail("shape", name, data, note=f"shape {got[name].shape}, want {values.shape}")
            elif values.dtype.kind == "f" and np.isfinite(values).all() and not np.isfinite(got[name]).all():
                bad = ~np.isfinite(got[name])
                at = tuple(int(i) for i in np.argwhere(bad)[0])
                self._fail(
                    "nan", name, data, note=f"{int(bad.sum())} values are not finite, the first at {at}"
                )
        return limits

    def _add_layers(self, report: LayerReport, inner: Mapping[str, Array], data: str) -> None:
        """Count the layers of one run, and add a finding for each that is wrong, in graph order."""
        bad = report.bad
        for entry in report.judged:
            self.result.compared += entry.measure.judged
            self.result.certified += entry.measure.certified
            if entry.status == CONFORMS:
                self.result.rungs[entry.rung] += 1
                continue
            place = f"wrong layer {bad.index(entry) + 1} of {len(bad)} in graph order"
            note = f"{place}; {len(report.judged)} were judged, each on the engine's own inputs"
            rule = self._rule(entry.tensor)
            found = to_finding(
                entry.measure,
                entry.measure.cause,
                entry.status,
                tensor=entry.tensor,
                data=data,
                rule=rule,
                note=note,
            )
            found = replace(found, layer=entry.layer)
            if entry.limits is not None:
                before, tried = report.before(entry.tensor), self.subject.contract.rung(entry.rung)
                found = explain(
                    found, self.graph, before, inner[entry.tensor], entry.limits, tried, frozenset(inner)
                )
            self.result.findings.append(found)

    def _look_inside(self, feeds: Mapping[str, Array], inner: Mapping[str, Array], data: str) -> None:
        """Judge the layers of the plain engine too, where TensorRT shows tensors without breaking fusion.

        Such tensors carry the engine's own names, and may have its own layout. Only those that are nearly what the marked engine
        gave under the same name are looked at: in another layout nothing would be near.
        """
        shown = self._shown
        if shown is None:
            return
        with show_tensors(shown.session) as seen:
            got = shown.run(feeds)
        near = {n: v for n, v in seen.items() if n in inner and n not in got and _is_alike(v, inner[n])}
        given = {**near, **{n: v for n, v in got.items() if n in inner}}
        report = judge_layers(
            self.graph,
            feeds,
            given,
            self.subject.contract,
            self.rungs,
            statistics=data not in STRUCTURED,
            same=inner,
        )
        self._add_layers(report, given, data)

    @cached_property
    def _shown(self) -> Subject | None:
        return self.subject.with_tensors_shown()

    def _noise_limits(
        self, feeds: Mapping[str, Array], got: Mapping[str, Array], want: Mapping[str, Array], data: str
    ) -> dict[str, Bound]:
        """Return how far two honest runs of a deep graph may lie apart, and judge the outputs by the same measure.

        The variance model says it where it covers the graph and the data are independent of rounding. Else it is measured: the
        reference's answer changes by some noise when every tensor in it changes in the last bit of the precision. Twelve times
        its root mean square is allowed, or four times the largest change, since few outputs of a softmax carry all the noise.
        That is too coarse to judge by.
        """
        limits: dict[str, Bound] = {}
        modelled = None
        if data not in STRUCTURED and self.tolerance is None:
            modelled = self._end_to_end(feeds, got, data)
        if modelled is not None:
            for name, likely in modelled.items():
                if name in got and got[name].shape == likely.mid.shape:
                    mid = got[name].astype(np.float64)
                    # Each of two runs has its own errors.
                    room = np.sqrt(2.0) * (likely.high - likely.mid)
                    limits[name] = Bound(mid, mid - room, mid + room, loose=likely.loose)
            return limits
        rng = np.random.default_rng(0)
        unit = {"fp32": 2.0**-23, "tf32": 2.0**-10, "fp16": 2.0**-10, "bf16": 2.0**-7}.get(
            self.subject.prepared.precision, 2.0**-7
        )
        shaken = {
            name: (values * (1 + unit * rng.uniform(-1, 1, values.shape))).astype(values.dtype)
            if self.graph.inputs[name][0] in FLOAT_KINDS
            else values
            for name, values in feeds.items()
        }
        other = self._shaken_reference.run(shaken)
        for name, values in want.items():
            if values.dtype.kind != "f" or name not in got or other[name].shape != got[name].shape:
                continue
            with np.errstate(invalid="ignore"):
                change = np.abs(other[name].astype(np.float64) - values.astype(np.float64))
            change = change[np.isfinite(change)]
            mid = got[name].astype(np.float64)
            room = 0.0
            if change.size:
                room = max(
                    NOISE_SIGMAS * float(np.sqrt(np.mean(change**2))), NOISE_TOPS * float(change.max())
                )
            limits[name] = Bound(mid, mid - room, mid + room)
        return limits

    def _end_to_end(
        self, feeds: Mapping[str, Array], got: Mapping[str, Array], data: str
    ) -> dict[str, Bound] | None:
        """Return the likely values of all outputs of a deep graph, and add a finding for each that lies outside of them.

        None where the variance model does not cover the graph.
        """
        likely: dict[str, Bound] | None = None
        found: dict[str, Bound] | None = None
        bad: dict[str, Measure] = {}
        for rung in ("direct", *(r for r in self.rungs if r not in ("direct", "unfused"))):
            found = end_to_end(self.graph, feeds, self.subject.contract, rung)
            if found is None:
                return None
            likely = likely or found
            fitting = [n for n in found if n in got and got[n].shape == found[n].mid.shape]
            bad = {name: m for name in fitting if (m := measure(got[name], found[name])).bad}
            if not bad:
                return found
        assert found is not None
        for name, outside in bad.items():
            held = found[name]
            room = float(held.high[outside.index] - held.mid[outside.index])
            made = to_finding(
                outside,
                "end-to-end",
                SUSPICIOUS,
                tensor=name,
                data=data,
                rule=f"all {len(self.graph.nodes)} operators: {self._rule(name).partition(': ')[2]}",
                note="the errors of all layers together, on any rung",
            )
            made = explain(made, self.graph, {name: held}, got[name], held, self.subject.contract)
            sources = ((f"{SIGMAS:g} standard deviations", room),)
            self.result.findings.append(replace(made, sources=sources))
        return likely

    def _relate(
        self, feeds: Mapping[str, Array], got: Mapping[str, Array], limits: Mapping[str, Bound], data: str
    ) -> None:
        base = Base(feeds, got, limits)
        has_batch = self.source.batch_symbol is not None and self._rows_are_apart(feeds)
        inner = breaks_fusion(self.graph, self._inner)
        for relation, broken in check_relations(self.subject, base, has_batch=has_batch, inner=inner):
            self.result.relations.add(relation)
            if isinstance(broken, Broken):
                self._finding(
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

    def _accept(self, name: str, data: str, found: Measure, rung: str, note: str = "") -> None:
        self.result.compared += found.judged
        self.result.certified += found.certified
        if found.bad:
            self._finding(found.cause, name, data, found, VIOLATES, note)
        else:
            self.result.rungs[rung] += 1

    def _fail(self, check: str, name: str, data: str, *, note: str, status: str = VIOLATES) -> None:
        self.result.findings.append(Finding(check, status, name, data, note=note))

    def _finding(self, check: str, name: str, data: str, found: Measure, status: str, note: str) -> None:
        self.result.findings.append(
            to_finding(found, check, status, tensor=name, data=data, rule=self._rule(name), note=note)
        )

    def _rule(self, name: str) -> str:
        known = {} if self._marked is None else dict.fromkeys(set(self._marked.outputs) - {name})
        chain: list[str] = []
        node = self.graph.producer.get(name)
        terms = None
        while node is not None and len(chain) < 6:
            chain.append(node.op)
            terms = terms or count_terms(self.graph, node)
            inputs = [n for n in node.inputs if n not in known]
            node = next((self.graph.producer[n] for n in inputs if n in self.graph.producer), None)
        kind = self.subject.prepared.precision
        arithmetic = {
            "fp32": "fp32 inputs, fp32 accumulation",
            "tf32": "TF32 inputs, fp32 accumulation",
            "fp16": "fp16 inputs, fp32 accumulation, rounded to fp16 where stored",
            "bf16": "bf16 inputs, fp32 accumulation, rounded to bf16 where stored",
            "int8": "INT8 inputs, INT32 accumulation, the engine's own scales",
        }[kind]
        return f"{' <- '.join(chain)}: {arithmetic}" + (f", K = {terms}" if terms else "")


def to_finding(
    found: Measure,
    check: str,
    status: str,
    *,
    tensor: str = "",
    data: str = "",
    rule: str = "",
    note: str = "",
) -> Finding:
    """Return a measure as a finding, with its words."""
    return Finding(
        check=check,
        status=status,
        bad=found.bad,
        total=found.total,
        index=found.index,
        got=found.got,
        low=found.low,
        high=found.high,
        want=found.want,
        pattern=found.pattern,
        tensor=tensor,
        data=data,
        rule=rule,
        note=note,
    )


def _says_something(values: Array) -> bool:
    """Tell whether a reference is varied enough for a comparison with it to mean anything; small ones always are."""
    if values.size < TRUST_SIZE:
        return True
    other = int(np.count_nonzero(values != values.reshape(-1)[0]))
    return other >= TRUST_SHARE * values.size


def _is_alike(got: Array, want: Array) -> bool:
    """Tell whether two engines' values of a tensor are the same but for small errors: a tenth of their size."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return False
    if got.dtype.kind != "f":
        return bool((got == want).mean() > 0.5)
    with np.errstate(invalid="ignore", over="ignore"):
        gap, size = got.astype(np.float64) - want, want.astype(np.float64)
    finite = np.isfinite(gap)
    return bool(np.sum(gap[finite] ** 2) <= 0.01 * np.sum(size[finite] ** 2))


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
