"""Every tensor of a network as an engine gave it, each layer judged on the engine's own inputs, and the first bad one found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_trt.check.bisect import Bisection, Search
from pytest_trt.check.calibrated import Calibrated
from pytest_trt.check.dump_words import dump_lines, dump_section
from pytest_trt.check.feeds import Profile, check_feeds, check_profile, profile_for
from pytest_trt.check.final import FinalLimits
from pytest_trt.check.graph import Graph, load_model
from pytest_trt.check.layers import JudgedLayer, LayerReport, judge_layers
from pytest_trt.check.subject import Subject
from pytest_trt.check.tactics import rungs_of
from pytest_trt.check.views import DEBUG, MARKED, UNFUSED, Views, describe_unseen, tensors_to_see
from pytest_trt.errors import UsageError
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import Array
from pytest_trt.records import UNJUDGED, VIOLATES

if TYPE_CHECKING:
    from pytest_trt.check.workbench import Workbench

HOW = ("auto", "marked", "debug", "unfused")
CUT = "end of a network"


@dataclass(frozen=True, eq=False)
class DumpedTensor:
    """One tensor of a dump.

    Attributes
    ----------
    tensor, layer, op : str
        Its name, the layer that made it, and that layer's operator.
    kind : str
        Its element type in the network: `fp32`, `fp16`, `int8`, ...
    values : ndarray
        As the engine gave them; bf16 as float32, which holds it exactly.
    status : str
        `conforms`, `suspicious` or `violates`, given the engine's own tensors before it; `unjudged` where there is no limit.
    error, limit : float
        The worst error, from the middle of the admissible interval, and how large it may be there. NaN where there is no limit.
    bad : int
        How many values lie outside.
    seen : str
        How it was seen: `marked outputs`, `debug tensors`, `unfused debug tensors`, or as the `end of a network` cut off there.
    """

    tensor: str
    layer: str
    op: str
    kind: str
    values: Array = field(repr=False)
    status: str
    error: float
    limit: float
    bad: int
    seen: str


@dataclass(frozen=True, eq=False)
class LayerDump:
    """What the tensors of a network are in an engine.

    Attributes
    ----------
    rows : tuple of DumpedTensor
        Every tensor that could be had, outputs included, in graph order.
    outputs : mapping of str to ndarray
        What the engine without marks gave.
    how : str
        How the tensors were seen.
    wrong : str
        What is wrong with the outputs of the engine without marks, in words; empty if nothing is known to be.
    bisection : Bisection or None
        Where seeing all tensors at once made a defect vanish: what a search for it found.
    unseen : tuple of (str, str)
        What could not be seen, and why.
    precision, title : str
        And who executed.
    """

    rows: tuple[DumpedTensor, ...]
    outputs: Mapping[str, Array] = field(repr=False)
    how: str
    wrong: str
    bisection: Bisection | None
    unseen: tuple[tuple[str, str], ...]
    precision: str
    title: str

    @cached_property
    def tensors(self) -> dict[str, Array]:
        """Every tensor by name."""
        return {row.tensor: row.values for row in self.rows}

    @property
    def bad(self) -> tuple[DumpedTensor, ...]:
        """The tensors outside of their limits, in graph order."""
        return tuple(row for row in self.rows if row.status == VIOLATES)

    @property
    def first_bad(self) -> DumpedTensor | None:
        """The first of them: its layer is where to look. None where no layer is known to be wrong."""
        return next(iter(self.bad), None)

    @property
    def passed(self) -> bool:
        """True where neither a layer nor an output is known to be wrong."""
        return not self.bad and not self.wrong

    def row(self, tensor: str) -> DumpedTensor:
        """Return what is known of a tensor.

        Raises
        ------
        UsageError
            The dump has no such tensor.
        """
        for row in self.rows:
            if row.tensor == tensor:
                return row
        raise UsageError(f"the dump has no tensor {tensor!r}", why=f"it has {', '.join(self.tensors)}")

    def __str__(self) -> str:
        return "\n".join(dump_lines(self))

    def section(self) -> dict[str, Any]:
        """Return the dump as plain data: `title`, `text`, `head`, `rows`."""
        return dump_section(self)


def dump_layers(
    workbench: Workbench,
    model: Any,
    inputs: Mapping[str, Any],
    *,
    precision: str,
    profile: Profile | None = None,
    how: str = "auto",
) -> LayerDump:
    """Return every tensor of a model on some inputs, and the first layer that is wrong.

    Parameters
    ----------
    workbench : Workbench
    model : path, bytes or onnx.ModelProto
    inputs : mapping of name to array
    precision : str
        INT8 scales come from the inputs.
    profile : mapping of name to (min, opt, max), optional
        Default: around the inputs.
    how : str
        `marked`: every tensor is one more output, which TensorRT fuses nothing across. `debug`: debug tensors marked by name,
        which keep it from fusing as well (TensorRT 10 on). `unfused`: what lies between the layers of the engine as it is (10.12
        on). `auto`: marked, and unfused besides where that is offered.

    Raises
    ------
    UnsupportedError
        TensorRT refused a build, or does not offer what was asked for.
    UsageError
        `how` is something else.
    """
    if how not in HOW:
        raise UsageError(f"tensors cannot be seen by how={how!r}", why=f"good ones: {', '.join(HOW)}")
    source = Graph(load_model(model))
    feeds = check_feeds(source, inputs)
    sizes = {name: values.shape for name, values in feeds.items()}
    profile = profile_for(source, sizes, check_profile(source, profile))
    data = [feeds] if precision == "int8" else None
    with workbench.subject(source.model, precision, profile, calibration=data) as subject:
        settings = workbench.settings
        rungs = rungs_of(subject.plan.layers, settings.rungs, asked="rungs" in settings.given)
        return _Dumper(subject, feeds, rungs).dump(how)


class _Dumper:
    def __init__(self, subject: Subject, feeds: Mapping[str, Array], rungs: tuple[str, ...]) -> None:
        self.subject, self.rungs = subject, rungs
        self.views = Views(subject, feeds)
        self.graph = subject.graph
        self.feeds = feeds
        self.limits = self._limits(self.graph, feeds)
        self.offers_unfused = subject.rt.features.unfused_debug_tensors and not isinstance(
            subject, Calibrated
        )

    def _limits(self, graph: Graph, feeds: Mapping[str, Array]) -> FinalLimits:
        subject = self.subject
        return FinalLimits(graph, feeds, subject.contract, self.rungs, subject.prepared.precision)

    def _judge(self, got: Mapping[str, Array], same: Mapping[str, Array] | None = None) -> LayerReport:
        return judge_layers(
            self.graph,
            self.feeds,
            got,
            self.subject.contract,
            self.rungs,
            statistics=True,
            same=same,
        )

    def dump(self, how: str) -> LayerDump:
        plain = self.views.plain()
        wrong = self.limits.describe_wrong(plain)
        names = tensors_to_see(self.graph, self.views.there)
        seen = {"debug": DEBUG, "unfused": UNFUSED}.get(how, MARKED)
        if how == "debug":
            got = self.views.debug(names)
        elif how == "unfused":
            got = self.views.unfused()
        else:
            got = self.views.marked(names)
        report = self._judge(got)
        rows = self._rows(got, report, seen)
        found = _violations(report)
        if how == "auto" and self.offers_unfused and not found:
            fused = self.views.unfused()
            other = self._judge(fused, same=got)
            found = _violations(other)
            rows = _replaced(rows, self._rows(fused, other, UNFUSED), found)
        bisection = None
        hidden = bool(wrong) and not _violations(report)
        if hidden or (found and not _violations(report)):
            bisection, end = self._bisect(names, wrong, ends=not found)
            rows = _replaced(rows, end, {row.tensor for row in end})
        return LayerDump(
            rows=tuple(rows),
            outputs=plain,
            how=f"{MARKED} and {UNFUSED}" if how == "auto" and self.offers_unfused else seen,
            wrong=wrong,
            bisection=bisection,
            unseen=describe_unseen(self.graph, {row.tensor for row in rows}, seen, self.views.there),
            precision=self.subject.prepared.precision,
            title=self.subject.rt.title,
        )

    def _is_wrong(self, marks: tuple[str, ...]) -> str:
        """Return what is wrong with the engine that has these marks; where TensorRT shows its tensors, they count as well."""
        got = self.views.unfused(marks) if self.offers_unfused else self.views.marked(marks)
        bad = sorted(_violations(self._judge(got))) if self.offers_unfused else []
        return self.limits.describe_wrong(got) or (
            f"tensor {bad[0]!r} lies outside of its limits" if bad else ""
        )

    def _bisect(
        self, names: tuple[str, ...], wrong: str, *, ends: bool
    ) -> tuple[Bisection, list[DumpedTensor]]:
        subject = self.subject
        ends = ends and not isinstance(subject, Calibrated)  # its types come from the engine that was built
        search = Search(self.views, self._is_wrong, self._limits)
        mended = bool(names) and not self._is_wrong(names)
        found = search.run(names if mended else (), wrong, ends=ends)
        if not found.earliest:
            return found, []
        graph, feeds, got = self.views.cut(found.earliest)
        report = judge_layers(graph, feeds, got, subject.contract, self.rungs)
        rows = self._rows(got, report, CUT)
        # The limits of a deep network's layers in one are too wide to see it; those of its errors together are not.
        return found, [replace(row, status=VIOLATES) for row in rows if row.tensor == found.earliest]

    def _rows(self, got: Mapping[str, Array], report: LayerReport, seen: str) -> list[DumpedTensor]:
        judged = {entry.tensor: entry for entry in report.judged}
        rows = []
        for node in self.graph.nodes:
            for name in node.outputs:
                if name in got:
                    entry = judged.get(name)
                    error, limit = _worst(got[name], entry)
                    rows.append(
                        DumpedTensor(
                            tensor=name,
                            layer=node.name or f"{node.op} {name}",
                            op=node.op,
                            kind=self.graph.kinds.get(name, "?"),
                            values=got[name],
                            status=UNJUDGED if entry is None else entry.status,
                            error=error,
                            limit=limit,
                            bad=0 if entry is None else entry.measure.bad,
                            seen=seen,
                        )
                    )
        return rows


def _violations(report: LayerReport) -> set[str]:
    return {entry.tensor for entry in report.judged if entry.status == VIOLATES}


def _replaced(rows: list[DumpedTensor], others: list[DumpedTensor], names: set[str]) -> list[DumpedTensor]:
    """Return the rows with those of some tensors taken from elsewhere."""
    better = {row.tensor: row for row in others if row.tensor in names}
    return [better.get(row.tensor, row) for row in rows]


def _worst(got: Array, entry: JudgedLayer | None) -> tuple[float, float]:
    """Return the error that is largest by its limit, and that limit."""
    limits: Bound | None = None if entry is None else entry.limits
    if limits is None or got.shape != limits.mid.shape or not got.size:
        return float("nan"), float("nan")
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        value = np.asarray(got, np.float64)
        error = np.abs(value - limits.mid)
        error = np.where((value == limits.mid) | (np.isnan(value) & np.isnan(limits.mid)), 0.0, error)
        room = np.where(value >= limits.mid, limits.high - limits.mid, limits.mid - limits.low)
        share = np.where(error == 0, 0.0, np.where(room > 0, error / room, np.inf))
    share = np.where(np.isnan(share), np.inf, share)
    if limits.loose is not None:
        share = np.where(limits.loose, 0.0, share)
    # Where nothing is off, the widest limit says most.
    place = int(np.argmax(share if share.max() > 0 else np.broadcast_to(room, share.shape)))
    return float(error.reshape(-1)[place]), float(np.broadcast_to(room, error.shape).reshape(-1)[place])
