"""The FP16 report as text and as plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_trt.check.half_metric import SHARE

if TYPE_CHECKING:
    from pytest_trt.check.half import HalfReport, HalfRow

HEAD = (
    "tensor", "layer", "operator", "deviating", "of", "ratio", "forecast", "SQNR dB", "ulp 99 %", "overflow", "vanish", "lost",
)  # fmt: skip
_SEEN = {
    "marked outputs": "every inner tensor was marked as an output, so each was stored and nothing was fused across it",
    "debug tensors": "debug tensors of the fused engine: what a fused layer keeps in registers is not seen",
}
_FINDINGS = 10
_BARS = 40


def report_lines(report: HalfReport, limit: int) -> list[str]:
    """Return a report for a terminal: what was compared, findings, the worst tensors, and totals."""
    lines = [_title(report), *(f"  {text}" for text in _context(report))]
    for found in report.findings[:_FINDINGS]:
        lines.append(f"  {found.status}: {found.check} of {found.tensor!r}: {found.note}")
    if len(report.findings) > _FINDINGS:
        lines.append(f"  and {len(report.findings) - _FINDINGS} findings more")
    lines += _aligned([HEAD, *(_cells(row) for row in report.worst[:limit])])
    if len(report.rows) > limit:
        lines.append(f"  and {len(report.rows) - limit} tensors with smaller ratios")
    return [*lines, *(f"  {text}" for text in _totals(report))]


def report_section(report: HalfReport) -> dict[str, Any]:
    """Return a report as plain data that can be written as JSON; rows and bars in graph order."""
    shown = report.rows
    if len(shown) > _BARS:
        worst = {row.tensor for row in report.worst[:_BARS]}
        shown = tuple(row for row in shown if row.tensor in worst)
    return {
        "title": f"{report.precision.upper()} report",
        "text": [
            *_context(report),
            *_totals(report),
            *(
                f"{found.status}: {found.check} of {found.tensor!r}: {found.note}"
                for found in report.findings
            ),
        ],
        "head": list(HEAD),
        "rows": [list(_cells(row)) for row in report.rows],
        "plot": {
            "kind": "bars",
            "title": f"elements more than {SHARE:.0%} away from fp32",
            "labels": [row.tensor for row in shown],
            "series": {"deviation ratio": [100 * row.ratio for row in shown]},
            "log": True,
            "unit": "%",
        },
    }


def _title(report: HalfReport) -> str:
    typing = (
        "strong typing" if report.strong else "every layer obeys" if report.strict else "TensorRT chooses"
    )
    return f"{report.precision} against fp32 (TF32 off): {len(report.rows)} tensors; {typing}; {report.title}"


def _context(report: HalfReport) -> list[str]:
    lines = [_SEEN[report.seen]]
    if report.unseen:
        few = ", ".join(report.unseen[:5]) + (", ..." if len(report.unseen) > 5 else "")
        lines.append(f"{len(report.unseen)} tensors were not seen: {few}")
    return lines


def _totals(report: HalfReport) -> list[str]:
    bad = sum(row.deviation.deviating for row in report.rows)
    total = sum(row.deviation.total for row in report.rows)
    lines = (
        [f"{bad} of {total} elements deviate ({bad / total:.4%})"] if total else ["no element was compared"]
    )
    by_operator = sorted(report.ratios().items(), key=lambda entry: -entry[1])
    if by_operator:
        lines.append("by operator: " + ", ".join(f"{op} {ratio:.4%}" for op, ratio in by_operator))
    return lines


def _cells(row: HalfRow) -> tuple[str, ...]:
    deviation, reach = row.deviation, row.reach
    return (
        row.tensor,
        row.layer,
        row.op,
        str(deviation.deviating),
        str(deviation.total),
        f"{row.ratio:.4%}",
        "-" if row.forecast_ratio is None else f"{row.forecast_ratio:.4%}",
        f"{deviation.sqnr_db:.1f}" if math.isfinite(deviation.sqnr_db) else str(deviation.sqnr_db),
        f"{deviation.ulp_99:.3g}",
        _share(reach.share(reach.overflow)),
        _share(reach.share(reach.vanish)),
        str(deviation.lost),
    )


def _share(share: float) -> str:
    return "0" if share == 0 else f"{share:.3%}"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in table) for column in range(len(HEAD))]
    return [
        "  " + "  ".join(
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]  # fmt: skip
