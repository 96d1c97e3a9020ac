"""What a trigger works with: a workbench at one precision, and the checks by which a bug shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import onnxruntime

from pytest_trt.check import named
from pytest_trt.check.admissible import Admissible
from pytest_trt.check.conclude import replay_line
from pytest_trt.check.feeds import Profile
from pytest_trt.check.findings import to_finding
from pytest_trt.check.graph import Graph, load_model
from pytest_trt.check.relations import Base, Broken, check_relations
from pytest_trt.check.subject import Subject
from pytest_trt.check.tell import failure
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import ConformanceError, ModelError
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import Array, round_to
from pytest_trt.records import VIOLATES, Verdict
from pytest_trt.runtime.load import Runtime

# Of a subject and its run: names of relations, with what breaks them.
Relation = Callable[[Subject, Base], Iterable[tuple[str, Broken | None]]]


class Inapplicable(Exception):
    """This TensorRT, GPU or machine cannot have the bug, for the reason in words."""


class Trial:
    """A workbench at one precision.

    Parameters
    ----------
    bench : Workbench
    precision : str
    record : callable, optional
        Called with every verdict, also of what fails.
    replay : str
        Start of the command that repeats the trial.
    """

    def __init__(
        self,
        bench: Workbench,
        precision: str,
        record: Callable[[object], None] | None = None,
        replay: str = "",
    ) -> None:
        self.bench = bench
        self.precision = precision
        self._record = record or (lambda verdict: None)
        self._replay = replay

    @property
    def rt(self) -> Runtime:
        """Who executes."""
        return self.bench.executor

    def skip(self, reason: str) -> NoReturn:
        """Say that this TensorRT, GPU or machine cannot have the bug.

        Raises
        ------
        Inapplicable
        """
        raise Inapplicable(reason)

    def check(self, model: Any, inputs: Mapping[str, Any] | None = None, **options: Any) -> Verdict:
        """Return the verdict on one model, numbers and relations; `options` as for `Workbench.check`.

        Without inputs the data battery is drawn, or the kinds of `data`. Raises as `Workbench.check`.
        """
        return self._keep(
            lambda: self.bench.check(
                model,
                inputs,
                precision=self.precision,
                drawn=inputs is None,
                replay=self._replay,
                **options,
            )
        )

    def relate(self, model: Any, relations: Any, data: Sequence[str], **options: Any) -> Verdict:
        """Return the verdict on relations between contexts or engines; as `Workbench.relate`."""
        return self._keep(
            lambda: self.bench.relate(
                model, relations, precision=self.precision, data=data, replay=self._replay, **options
            )
        )

    def relations(
        self,
        model: Any,
        inputs: Mapping[str, Array],
        *,
        profile: Profile | None = None,
        has_batch: bool = True,
        inner: str | None = None,
        more: Sequence[Relation] = (),
        rounds: bool = False,
        **build: Any,
    ) -> Verdict:
        """Return the verdict of rows, batches, profiles and one more output alone: no reference says what is right.

        Parameters
        ----------
        inputs : mapping of str to ndarray
            Data on which nothing rounds (small integers), so that every kernel has to give the same bits.
        inner : str, optional
            The inner tensor to mark as one more output.
        more : sequence of callable
            Further relations of a subject and its run, such as `sweeps.check_profiles`.
        rounds : bool
            The network rounds on any data. Two answers may then be as far apart as two correct ones can be.

        Raises
        ------
        ConformanceError
            A relation is broken.
        ModelError
            A rounding happens on these data: other kernels may differ, and a comparison of bits would alarm for nothing.
        """
        with self.subject(model, profile, **build) as subject:
            base = self.ground(subject, inputs, rounds=rounds)
            rows = list(check_relations(subject, base, has_batch=has_batch, inner=inner))
            rows += [row for relation in more for row in relation(subject, base)]
        return self.report(rows)

    def ground(self, subject: Subject, inputs: Mapping[str, Array], *, rounds: bool = False) -> Base:
        """Return a run that relations start from, with room for two correct answers where the network `rounds`.

        Raises
        ------
        ModelError
            It rounds, and that was not said; or it has an output without limits, and was said to round.
        """
        if not rounds and (name := _rounding(subject, inputs)):
            raise ModelError(f"tensor {name!r} rounds on these data", mend="give smaller integers")
        got = subject.run(inputs)
        if not rounds:
            return Base(inputs, got, {})
        admissible = Admissible(subject.graph, inputs, subject.contract)
        lacking = sorted(got.keys() - admissible.on("direct").tensors.keys())
        if lacking:
            raise ModelError(f"output {lacking[0]!r} has no limits: how far apart may two answers be?")
        return Base(inputs, got, {name: _room(got[name], admissible.widest(name)) for name in got})

    def report(self, rows: Iterable[tuple[str, Broken | None]]) -> Verdict:
        """Return the verdict on relations that hold; raises `ConformanceError` where one does not."""
        rows = list(rows)
        broken = [found for _, found in rows if found is not None]
        place = {"precision": self.precision, "gpu": self.rt.gpu.name, "runtime": self.rt.title}
        place |= {"device": self.rt.device, "replay": self._replay}
        if not broken:
            return self._keep(lambda: self._demand((name, None) for name, _ in rows))
        findings = tuple(
            to_finding(b.measure, b.relation, VIOLATES, tensor=b.tensor, rule=b.relation, note=b.note)
            for b in broken
        )
        verdict = Verdict(VIOLATES, findings, provenance=place)
        error = failure(verdict, replay_line(verdict, self.bench.settings))
        self._record(verdict)
        raise error

    def demand(self, checked: Iterable[named.Checked]) -> Verdict:
        """Return the verdict on checks by name; raises `ConformanceError` where one does not hold."""
        return self._keep(lambda: self._demand(checked))

    def _demand(self, checked: Iterable[named.Checked]) -> Verdict:
        return named.demand(
            checked, self.rt, self.bench.settings, precision=self.precision, replay=self._replay
        )

    def subject(self, model: Any, profile: Profile | None = None, **build: Any) -> Subject:
        """Return a model ready to be built and run; `build` as for `Workbench.subject`."""
        return self.bench.subject(model, self.precision, profile, **build)

    def graph(self, model: Any) -> Graph:
        """Return the graph of a model."""
        return Graph(load_model(model))

    def _keep(self, run: Callable[[], Verdict]) -> Verdict:
        try:
            verdict = run()
        except ConformanceError as error:
            if is_in_doubt(error.verdict):
                words = f"ONNX Runtime {onnxruntime.__version__} itself does not compute this as float64 does"
                raise Inapplicable(words) from error
            self._record(error.verdict)
            raise
        self._record(verdict)
        return verdict


def _rounding(subject: Subject, inputs: Mapping[str, Array]) -> str | None:
    """Return a tensor on which a correct engine may round, None where every kernel has to give the same bits.

    Under weak typing any layer may run in FP32 or in 16 bits: the FP32 graph has to be exact, and all of its numbers have to
    be of the narrow type.
    """
    weak, precision = subject.contract.weak, subject.prepared.precision
    graph = Graph(subject.prepared.model) if weak else subject.graph
    contract = replace(subject.contract, weak=False)
    tensors = Admissible(graph, inputs, contract).on("direct").tensors
    for name, bound in tensors.items():
        if (weak or name in graph.outputs) and not np.array_equal(bound.low, bound.high, equal_nan=True):
            return name
    if weak and precision in ("fp16", "bf16"):
        constants = {name: graph.constant(name) for name in graph.initializers}
        values: dict[str, Bound | None] = {**tensors, **constants}
        for name, held in values.items():
            if held is None or held.kind != "fp32":
                continue
            if not np.array_equal(round_to(held.mid, precision), held.mid, equal_nan=True):
                return name
    return None


def _room(got: Array, bound: Bound) -> Bound:
    """Return what another correct answer may be, given one: both lie in an interval as wide as the limits."""
    values = got.astype(np.float64)
    if values.shape != bound.mid.shape:
        return Bound.exact(values, bound.kind)
    with np.errstate(invalid="ignore"):
        width = bound.high - bound.low
        return Bound(values, values - width, values + width)


def is_in_doubt(verdict: object) -> bool:
    """Tell whether a verdict says no more than that the two references disagree: an old ONNX Runtime has bugs of its own."""
    return isinstance(verdict, Verdict) and {found.check for found in verdict.findings} == {"reference"}


def checks_of(error: BaseException) -> frozenset[str]:
    """Return the names of the checks behind a failure: of findings and relations, else the name of the error's class."""
    verdict = getattr(error, "verdict", None)
    if isinstance(verdict, Verdict):
        return frozenset(found.check for found in verdict.findings)
    return frozenset({type(error).__name__})
