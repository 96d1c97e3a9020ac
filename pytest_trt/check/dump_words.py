"""A dump of layers as text and as plain data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pytest_trt.check.dump import DumpedTensor, LayerDump

HEAD = ("layer", "tensor", "type", "shape", "min", "max", "status", "worst error", "limit", "seen as")
_NUMBERS = frozenset({"min", "max", "worst error", "limit"})
_UNSEEN = 12


def dump_lines(dump: LayerDump) -> list[str]:
    """Return a dump for a terminal: what is wrong, then every tensor, the bad ones with an arrow, then what was not seen."""
    table = [HEAD, *(_cells(row) for row in dump.rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEAD))]
    marks = ["  ", *("> " if row.status == "violates" else "  " for row in dump.rows)]
    lines = [_title(dump), *(f"  {text}" for text in _text(dump))]
    for mark, row in zip(marks, table, strict=True):
        cells = (
            cell.rjust(width) if name in _NUMBERS else cell.ljust(width)
            for name, cell, width in zip(HEAD, row, widths, strict=True)
        )
        lines.append(mark + "  ".join(cells).rstrip())
    return lines


def dump_section(dump: LayerDump) -> dict[str, Any]:
    """Return a dump as plain data that can be written as JSON; rows in graph order."""
    return {
        "title": _title(dump),
        "text": _text(dump),
        "head": list(HEAD),
        "rows": [list(_cells(row)) for row in dump.rows],
    }


def _title(dump: LayerDump) -> str:
    return f"Layers in {dump.precision}: {len(dump.rows)} tensors, {len(dump.bad)} outside of their limits; {dump.title}"


def _text(dump: LayerDump) -> list[str]:
    lines = [f"seen as {dump.how}; each layer judged on the engine's own tensors before it"]
    first = dump.first_bad
    if first is not None:
        lines.append(
            f"first bad layer: {first.layer!r}, tensor {first.tensor!r}"
            + (f": {first.bad} of {first.values.size} values outside" if first.bad else "")
        )
    if dump.bisection is not None:
        lines.append("to see all tensors at once made the defect vanish, so it was searched for:")
        lines += [f"  {text}" for text in dump.bisection.describe()]
    elif dump.wrong:
        lines.append(f"without marks: {dump.wrong}")
    if dump.unseen:
        lines.append(f"not seen: {len(dump.unseen)}")
        lines += [f"  {name}: {why}" for name, why in dump.unseen[:_UNSEEN]]
        if len(dump.unseen) > _UNSEEN:
            lines.append(f"  and {len(dump.unseen) - _UNSEEN} more")
    return lines


def _cells(row: DumpedTensor) -> tuple[str, ...]:
    values = np.asarray(row.values, np.float64)
    finite = values[np.isfinite(values)]
    least, most = (f"{finite.min():.5g}", f"{finite.max():.5g}") if finite.size else ("-", "-")
    if finite.size < values.size:
        most += f" ({values.size - finite.size} not finite)"
    shape = "x".join(map(str, row.values.shape)) or "scalar"
    return (
        row.layer,
        row.tensor,
        row.kind,
        shape,
        least,
        most,
        row.status,
        _number(row.error),
        _number(row.limit),
        row.seen,
    )


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"
