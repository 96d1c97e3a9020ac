"""The FP16 report: each tensor of a network in FP32 and in 16 bits, side by side, and what the range of the type does to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_trt.check.feeds import Profile
from pytest_trt.check.half_findings import find_all
from pytest_trt.check.half_metric import SHARE, Deviation, measure_deviation
from pytest_trt.check.half_pair import Pair, run_pair
from pytest_trt.check.half_range import Reach, count_lost, measure_reach, weight_reaches
from pytest_trt.check.half_words import report_lines, report_section
from pytest_trt.errors import UsageError
from pytest_trt.numerics.formats import is_representable
from pytest_trt.records import VIOLATES, Finding

if TYPE_CHECKING:
    from pytest_trt.check.workbench import Workbench


@dataclass(frozen=True)
class HalfRow:
    """One tensor of the report.

    Attributes
    ----------
    tensor, layer, op : str
        Its name, the node that makes it, and that node's operator.
    deviation : Deviation
        16 bits against FP32.
    reach : Reach
        The FP32 values in the range of the type.
    forecast_ratio : float or None
        The deviation ratio that ONNX Runtime gives, every tensor rounded where it is stored; None where it has no such tensor.
    forecast_lost : int
        Elements that become infinite or NaN there, and are finite in FP32.
    is_stored_low : bool
        All values are numbers of the 16-bit type: nothing says that the layer was kept in FP32.
    """

    tensor: str
    layer: str
    op: str
    deviation: Deviation
    reach: Reach
    forecast_ratio: float | None
    forecast_lost: int
    is_stored_low: bool

    @property
    def ratio(self) -> float:
        """The deviation ratio."""
        return self.deviation.ratio


@dataclass(frozen=True)
class HalfReport:
    """Every tensor of a network in 16 bits held against FP32.

    Attributes
    ----------
    precision : str
        `fp16` or `bf16`.
    rows : tuple of HalfRow
        In graph order.
    weights, inputs : tuple of Reach
        The FP32 constants and inputs in the range of the type.
    findings : tuple of Finding
        What is wrong or looks so, worst first; each with its mend in `note`.
    seen, strong, strict, unseen, title
        As in `Pair`.
    """

    precision: str
    rows: tuple[HalfRow, ...]
    weights: tuple[Reach, ...]
    inputs: tuple[Reach, ...]
    findings: tuple[Finding, ...]
    seen: str
    strong: bool
    strict: bool
    unseen: tuple[str, ...]
    title: str

    @property
    def passed(self) -> bool:
        """True unless a finding says that something is wrong, and not only that it may be."""
        return all(found.status != VIOLATES for found in self.findings)

    @property
    def worst(self) -> tuple[HalfRow, ...]:
        """The rows, the largest deviation ratio first."""
        return tuple(sorted(self.rows, key=lambda row: -row.ratio))

    def row(self, tensor: str) -> HalfRow:
        """Return the row of a tensor.

        Raises
        ------
        UsageError
            The report has no such row.
        """
        for row in self.rows:
            if row.tensor == tensor:
                return row
        raise UsageError(
            f"the report has no tensor {tensor!r}",
            why=f"it has {', '.join(row.tensor for row in self.rows)}",
        )

    def ratios(self) -> dict[str, float]:
        """Return operator to the deviation ratio of all its tensors together."""
        counts: dict[str, list[int]] = {}
        for row in self.rows:
            found = counts.setdefault(row.op, [0, 0])
            found[0] += row.deviation.deviating
            found[1] += row.deviation.total
        return {op: bad / total for op, (bad, total) in counts.items()}

    def lines(self, limit: int = 20) -> list[str]:
        """Return the report for a terminal: findings, at most `limit` tensors, the largest ratio first, and totals."""
        return report_lines(self, limit)

    def section(self) -> dict[str, Any]:
        """Return the report as plain data: `title`, `text`, `head`, `rows` and `plot`."""
        return report_section(self)


def half_report(
    pair: Pair,
    *,
    share: float = SHARE,
    atol: float | None = None,
    limits: Mapping[str, float] | None = None,
) -> HalfReport:
    """Return the report on two runs.

    Parameters
    ----------
    pair : Pair
    share, atol
        As `measure_deviation` takes them.
    limits : mapping of str to float, optional
        Operator to the largest deviation ratio that its tensors may have.
    """
    rows = []
    for name, want in pair.want.items():
        if not want.size:
            continue
        node, got = pair.graph.producer[name], pair.got[name]
        stored = pair.forecast.stored.get(name)
        known = stored is not None and stored.shape == want.shape
        rows.append(
            HalfRow(
                tensor=name,
                layer=node.name or f"{node.op} {name}",
                op=node.op,
                deviation=measure_deviation(got, want, pair.precision, share=share, atol=atol),
                reach=measure_reach(name, want, pair.precision),
                forecast_ratio=measure_deviation(stored, want, pair.precision, share=share, atol=atol).ratio
                if stored is not None and known
                else None,
                forecast_lost=count_lost(stored, want) if stored is not None else 0,
                is_stored_low=is_representable(np.asarray(got), pair.precision),
            )
        )
    weights = weight_reaches(pair.graph, pair.precision)
    inputs = tuple(
        measure_reach(name, values, pair.precision)
        for name, values in pair.feeds.items()
        if pair.graph.inputs[name][0] == "fp32"
    )
    return HalfReport(
        precision=pair.precision,
        rows=tuple(rows),
        weights=weights,
        inputs=inputs,
        findings=find_all(
            pair.graph,
            rows,
            weights,
            inputs,
            pair.precision,
            strict=pair.strict,
            kept=pair.kept,
            limits=limits or {},
        ),
        seen=pair.seen,
        strong=pair.strong,
        strict=pair.strict,
        unseen=pair.unseen,
        title=pair.title,
    )


def make_half_report(
    workbench: Workbench,
    model: Any,
    inputs: Mapping[str, Any],
    *,
    precision: str = "fp16",
    profile: Profile | None = None,
    strict: bool = False,
    fused: bool = False,
    limits: Mapping[str, float] | None = None,
) -> HalfReport:
    """Return the FP16 (or bf16) report of a model on some inputs.

    The parameters are those of `run_pair`, and `limits` of `half_report`.

    Raises
    ------
    PrecisionError, UnsupportedError
        As `run_pair`.
    """
    pair = run_pair(
        workbench, model, inputs, precision=precision, profile=profile, strict=strict, fused=fused
    )
    return half_report(pair, limits=limits)
