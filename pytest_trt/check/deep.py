"""Judge a deep network: layer by layer, and its outputs by the noise that all layers make together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from pytest_trt.check.diagnose import explain
from pytest_trt.check.findings import Notes, to_finding
from pytest_trt.check.graph import FLOAT_KINDS
from pytest_trt.check.layers import LayerReport, choose_marks, judge_layers
from pytest_trt.check.operators import with_limit
from pytest_trt.check.reference import OnnxRuntime
from pytest_trt.check.subject import Subject
from pytest_trt.check.variance import end_to_end
from pytest_trt.errors import ModelError
from pytest_trt.numerics.battery import STRUCTURED
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import Array
from pytest_trt.numerics.judge import SIGMAS, Measure, measure
from pytest_trt.records import CONFORMS, SUSPICIOUS
from pytest_trt.runtime.debug import show_tensors

# Half-width, in measured standard deviations, inside which two runs of an unlimited graph must agree.
NOISE_SIGMAS = 12.0
# The same, in the largest measured change.
NOISE_TOPS = 4.0
# Relative error of a stored tensor, by precision: half a step of the type; sums in FP32 are off by a few units.
_STORE_UNITS = {"fp16": 2.0**-11, "bf16": 2.0**-8, "tf32": 2.0**-11}
_FP32_UNIT = 2.0**-21


class DeepJudge:
    """Judges the runs of one deep subject; keeps the engines that show its inner tensors.

    Parameters
    ----------
    notes : Notes
        Where findings go.
    rungs : sequence of str
        Rungs of the ladder that pass.
    reference : callable
        Gives the honest reference.
    statistics : bool
        Outputs are judged by variances on data that allow it.
    """

    def __init__(
        self,
        notes: Notes,
        rungs: Sequence[str],
        reference: Callable[[], OnnxRuntime],
        *,
        statistics: bool,
    ) -> None:
        self._notes = notes
        self._subject = notes.subject
        self._graph = notes.graph
        self._rungs = tuple(rungs)
        self._reference = reference
        self._statistics = statistics
        prepared = self._subject.prepared
        self._there: Collection[str] | None = (
            None if prepared.strong else {name for n in prepared.model.graph.node for name in n.output}
        )
        self._marked: Subject | None = None

    def close(self) -> None:
        """Release the engines."""
        for other in (self._marked, self.__dict__.get("_shown")):
            if other is not None:
                other.close()

    @cached_property
    def _shaken_reference(self) -> OnnxRuntime:
        unit = _STORE_UNITS.get(self._subject.prepared.precision, _FP32_UNIT)
        try:
            return OnnxRuntime(self._graph, unit=unit)
        except ModelError:
            return self._reference()  # shaken inputs have to do

    def judge(
        self, feeds: Mapping[str, Array], got: Mapping[str, Array], want: Mapping[str, Array], data: str
    ) -> dict[str, Bound]:
        """Judge the layers and outputs of one run; return how far another honest run may lie from it.

        Parameters
        ----------
        feeds, got, want : mapping of name to array
            Inputs, the plain engine's outputs, and the reference's.
        data : str
            The kind of the inputs.
        """
        if self._marked is None:
            self._marked = self._subject.with_outputs(choose_marks(self._graph, self._there))
            self._notes.marked = frozenset(self._marked.outputs)
        inner = self._marked.run(feeds)
        contract, drawn = self._subject.contract, data not in STRUCTURED
        report = judge_layers(self._graph, feeds, inner, contract, self._rungs, statistics=drawn)
        self._add(report, inner, data)
        if not report.bad:
            self._look_inside(feeds, inner, data)
        if not self._notes.result.unjudged:
            limited = with_limit()
            self._notes.result.unjudged.update(
                node.op for node in self._graph.nodes if node.op not in limited
            )
        limits = self._noise_limits(feeds, got, want, data)
        for name, values in want.items():
            if name not in got:
                self._notes.fail("compared", name, data, note="the engine does not give this output")
            elif got[name].shape != values.shape:
                self._notes.fail("shape", name, data, note=f"shape {got[name].shape}, want {values.shape}")
            elif values.dtype.kind == "f" and np.isfinite(values).all() and not np.isfinite(got[name]).all():
                bad = ~np.isfinite(got[name])
                at = tuple(int(i) for i in np.argwhere(bad)[0])
                self._notes.fail(
                    "nan", name, data, note=f"{int(bad.sum())} values are not finite, the first at {at}"
                )
        return limits

    def _add(self, report: LayerReport, inner: Mapping[str, Array], data: str) -> None:
        """Count the layers of one run, and add a finding for each that is wrong, in graph order."""
        bad = report.bad
        for entry in report.judged:
            self._notes.result.compared += entry.measure.judged
            self._notes.result.certified += entry.measure.certified
            if entry.status == CONFORMS:
                self._notes.result.rungs[entry.rung] += 1
                continue
            place = f"wrong layer {bad.index(entry) + 1} of {len(bad)} in graph order"
            note = f"{place}; {len(report.judged)} were judged, each on the engine's own inputs"
            rule = self._notes.rule(entry.tensor)
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
                before, tried = report.before(entry.tensor), self._subject.contract.rung(entry.rung)
                found = explain(
                    found, self._graph, before, inner[entry.tensor], entry.limits, tried, frozenset(inner)
                )
            self._notes.result.findings.append(found)

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
            self._graph,
            feeds,
            given,
            self._subject.contract,
            self._rungs,
            statistics=data not in STRUCTURED,
            same=inner,
        )
        self._add(report, given, data)

    @cached_property
    def _shown(self) -> Subject | None:
        return self._subject.with_tensors_shown()

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
        if data not in STRUCTURED and self._statistics:
            modelled = self._end_to_end(feeds, got, data)
        if modelled is not None:
            for name, likely in modelled.items():
                if name in got and got[name].shape == likely.mid.shape:
                    mid = got[name].astype(np.float64)
                    # Each of two runs has its own errors.
                    with np.errstate(invalid="ignore"):
                        room = np.sqrt(2.0) * (likely.high - likely.mid)
                    limits[name] = Bound(mid, mid - room, mid + room, loose=likely.loose)
            return limits
        rng = np.random.default_rng(0)
        unit = {"fp32": 2.0**-23, "tf32": 2.0**-10, "fp16": 2.0**-10, "bf16": 2.0**-7}.get(
            self._subject.prepared.precision, 2.0**-7
        )
        shaken = {
            name: np.asarray(values * (1 + unit * rng.uniform(-1, 1, values.shape)), values.dtype)
            if self._graph.inputs[name][0] in FLOAT_KINDS
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
        for rung in ("direct", *(r for r in self._rungs if r not in ("direct", "unfused"))):
            found = end_to_end(self._graph, feeds, self._subject.contract, rung)
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
                rule=f"all {len(self._graph.nodes)} operators: {self._notes.rule(name).partition(': ')[2]}",
                note="the errors of all layers together, on any rung",
            )
            made = explain(made, self._graph, {name: held}, got[name], held, self._subject.contract)
            sources = ((f"{SIGMAS:g} standard deviations", room),)
            self._notes.result.findings.append(replace(made, sources=sources))
        return likely


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
