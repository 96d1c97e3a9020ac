"""What the numbers of an FP16 report mean: overflow, underflow, layers kept in FP32, each with a way out."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_trt.check.graph import Graph
from pytest_trt.check.half_range import Reach
from pytest_trt.numerics.formats import FORMATS
from pytest_trt.records import SUSPICIOUS, VIOLATES, Finding

if TYPE_CHECKING:
    from pytest_trt.check.half import HalfRow

# Shares from which on a report speaks of them; they decide nothing.
VANISHING, SUBNORMAL = 0.01, 0.1
# Beyond this multiple of the largest number no rounding decides whether a value is infinite.
_FAR = 2.0


def find_all(
    graph: Graph,
    rows: Sequence[HalfRow],
    weights: Sequence[Reach],
    inputs: Sequence[Reach],
    precision: str,
    *,
    strict: bool,
    kept: Collection[str],
    limits: Mapping[str, float],
) -> tuple[Finding, ...]:
    """Return the findings of a report, those that say that something is wrong first, each kind in graph order.

    Parameters
    ----------
    graph : Graph
    rows, weights, inputs
        Of the report.
    precision : str
    strict : bool
        Every layer had to be in the type.
    kept : collection of str
        Tensors that are in FP32 since ONNX has no such operator in the type.
    limits : mapping of str to float
        Operator to the largest deviation ratio allowed.

    Notes
    -----
    Wrong, or doubtful where TensorRT is free to choose: `not-finite` (values are lost that FP32 has), `clipped` (infinities were
    forecast and none came), `deviation` (a limit was passed). What the FP32 values alone say: `overflow`, `headroom`,
    `underflow`, `inputs`, `weights`. `kept-fp32`: a tensor has digits that the type lacks.
    """
    found: list[Finding] = []
    lost = {row.tensor for row in rows if row.deviation.lost}
    for row in rows:
        free = row.tensor in kept
        found += _lost(graph, row, lost, precision)
        found += [] if free else _clipped(row, precision, strict=strict)
        found += _deviating(row, limits)
        found += [] if free else _kept(row, precision, strict=strict)
        found += [] if row.tensor in lost else _range(row, precision)
    found += [entry for reach in inputs for entry in _given(reach, precision, "inputs")]
    found += [entry for reach in weights for entry in _given(reach, precision, "weights")]
    return tuple(sorted(found, key=lambda entry: entry.status != VIOLATES))


def mend_overflow(layer: str, amax: float, precision: str) -> str:
    """Return how a tensor that reaches `amax` gets into range, in words."""
    largest = FORMATS[precision].largest
    ways = [
        f"keep layer {layer!r} in fp32 (layer_types={{{layer!r}: 'fp32'}}, or a Cast to float in the model)"
    ]
    if precision == "fp16":
        ways.append("use bf16, which reaches 3.4e38 with 8 bits")
    if amax > largest / 2:
        ways.append(f"scale its input by 2**-{_power(amax, largest)} and its readers back")
    return "; or ".join(ways)


def _power(amax: float, largest: float) -> int:
    """Return by how many powers of two a value has to shrink to leave half of the range free."""
    return max(1, math.ceil(math.log2(2 * amax / largest)))


def _finding(check: str, status: str, row: HalfRow, bad: int, note: str) -> Finding:
    total = row.deviation.total
    return Finding(check, status, tensor=row.tensor, bad=bad, total=total, note=note, layer=row.layer)


def _lost(graph: Graph, row: HalfRow, lost: set[str], precision: str) -> list[Finding]:
    count = row.deviation.lost
    if not count:
        return []
    first = f"{count} of {row.deviation.total} values are infinite or NaN in {precision}, and finite in fp32"
    told = "as forecast" if row.forecast_lost else "which the range of the FP32 values does not explain"
    before = _sources(graph, row.tensor, lost)
    source = f"; they come from {', '.join(map(repr, before))}" if before else ""
    note = f"{first}, {told}{source}"
    if row.reach.overflow or not before:
        reached = f"|x| reaches {row.reach.amax:.4g}, {precision} ends at {FORMATS[precision].largest:.6g}"
        mend = mend_overflow(row.layer, row.reach.amax, precision)
        note += f"; {reached}; mend: {f'this layer too: {mend}' if before else mend}"
    return [_finding("not-finite", VIOLATES, row, count, note)]


def _sources(graph: Graph, tensor: str, lost: set[str]) -> tuple[str, ...]:
    """Return the tensors that the node of a tensor reads and that have lost values themselves, in order."""
    node = graph.producer[tensor]
    return tuple(dict.fromkeys(name for name in node.inputs if name in lost))


def _clipped(row: HalfRow, precision: str, *, strict: bool) -> list[Finding]:
    if row.deviation.lost or not row.forecast_lost:
        return []
    sure = strict and row.is_stored_low and row.reach.amax > _FAR * FORMATS[precision].largest
    why = (
        "out-of-range values were clipped" if row.is_stored_low else "the layer was computed and kept in fp32"
    )
    note = (
        f"{row.forecast_lost} of {row.deviation.total} values do not fit {precision} (|x| reaches {row.reach.amax:.4g}), and "
        f"all are finite: {why}"
    )
    return [_finding("clipped", VIOLATES if sure else SUSPICIOUS, row, row.forecast_lost, note)]


def _deviating(row: HalfRow, limits: Mapping[str, float]) -> list[Finding]:
    limit = limits.get(row.op)
    if limit is None or row.ratio <= limit:
        return []
    note = f"deviation ratio {row.ratio:.4%}, the limit for {row.op} is {limit:.4%}"
    return [_finding("deviation", VIOLATES, row, row.deviation.deviating, note)]


def _kept(row: HalfRow, precision: str, *, strict: bool) -> list[Finding]:
    """Return whether a tensor has digits that the type lacks; where a graph names no types, an output may be written in FP32."""
    if row.is_stored_low:
        return []
    note = f"holds values that are no {precision} numbers: the layer, or at least its last step, was in fp32"
    if not strict:
        note += "; mend: strict=True (every layer obeys), or strong typing"
    return [_finding("kept-fp32", SUSPICIOUS, row, 0, note)]


def _range(row: HalfRow, precision: str) -> list[Finding]:
    reach, form = row.reach, FORMATS[precision]
    if reach.overflow:
        note = f"|x| reaches {reach.amax:.6g} in fp32, {precision} ends at {form.largest:.6g}"
        note += f"; mend: {mend_overflow(row.layer, reach.amax, precision)}"
        return [_finding("overflow", SUSPICIOUS, row, reach.overflow, note)]
    if reach.amax > form.largest / 2:
        note = f"|x| reaches {reach.amax:.6g}: less than a factor of two below the end of {precision}, {form.largest:.6g}"
        return [_finding("headroom", SUSPICIOUS, row, 0, note)]
    lost, coarse = reach.share(reach.vanish), reach.share(reach.subnormal)
    if lost <= VANISHING and coarse <= SUBNORMAL:
        return []
    note = (
        f"{lost:.2%} of the values are below {form.quantum:.3g} and vanish in {precision}, {coarse:.2%} are subnormal and keep "
        f"fewer bits; mend: scale the tensor up by a power of two, or keep layer {row.layer!r} in fp32"
    )
    return [_finding("underflow", SUSPICIOUS, row, reach.vanish + reach.subnormal, note)]


_GIVEN = {
    "inputs": ("the input", "infinite", "scale the input, or keep the layers that read it in fp32"),
    "weights": (
        "the constant",
        "its largest number, or infinite",
        "keep the layer that reads it in fp32, or move a power of two into the next layer",
    ),
}


def _given(reach: Reach, precision: str, what: str) -> list[Finding]:
    """Return what the range of the type does to an input or a constant."""
    form, (word, becomes, mend) = FORMATS[precision], _GIVEN[what]
    bad = reach.overflow or (reach.vanish if reach.share(reach.vanish) > VANISHING else 0)
    if not bad:
        return []
    if reach.overflow:
        note = f"{word} reaches {reach.amax:.6g}, {precision} ends at {form.largest:.6g}: what is beyond becomes {becomes}"
        note += f"; mend: {mend}"
    else:
        note = f"{reach.share(bad):.2%} of {word} are below {form.quantum:.3g} and vanish in {precision}"
    return [Finding(what, SUSPICIOUS, tensor=reach.tensor, bad=bad, total=reach.total, note=note)]
