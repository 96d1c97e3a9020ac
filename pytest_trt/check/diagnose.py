"""Name the families of faults that would look like a failure: one table of rules, each with its words.

A rule sees the evidence of one tensor and returns words, or an empty string where it does not fit. Rules that work out what a
wrong kernel would have given come first; those that only look at values and places follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from pytest_trt.check.evidence import ENOUGH, Evidence
from pytest_trt.check.graph import Graph
from pytest_trt.check.sources import axes_of, list_sources
from pytest_trt.check.suppose import suppose_kernels
from pytest_trt.numerics.bounds import Bound, Contract
from pytest_trt.numerics.formats import FORMATS, Array, Float64, round_to
from pytest_trt.numerics.patterns import axis_names
from pytest_trt.records import Finding

Rule = Callable[[Evidence], str]
RULES: list[Rule] = []

# More families than these are no help.
NAMED = 3
# Slices of an axis that are held against each other.
SLICES = 64


def explain(
    finding: Finding,
    graph: Graph,
    known: Mapping[str, Bound],
    got: Array,
    limits: Bound,
    contract: Contract,
    keep: frozenset[str] = frozenset(),
) -> Finding:
    """Return the finding with named axes, the sources of its interval and the fault families that fit.

    Parameters
    ----------
    finding : Finding
        On one tensor of the graph.
    graph, known, contract, keep
        As `interpret` takes them; `contract` is that of the rung that was tried last.
    got : ndarray
        What the engine gave for the tensor.
    limits : Bound
        What it was held against.
    """
    if not finding.total or got.shape != limits.mid.shape:
        return finding
    seen = Evidence(graph, known, finding.tensor, got, limits, contract, keep)
    return replace(
        finding,
        axes=axes_of(graph, finding.tensor, got.ndim),
        sources=list_sources(graph, known, finding.tensor, finding.index, contract, keep),
        fits=find_families(seen),
    )


def find_families(seen: Evidence) -> tuple[str, ...]:
    """Return the words of the rules that fit, in the order of the table; `NAMED` at most."""
    found: list[str] = []
    if not seen.bad.any():
        return ()
    with np.errstate(all="ignore"):
        for rule in RULES:
            words = rule(seen)
            if words and words not in found:
                found.append(words)
            if len(found) == NAMED:
                break
    return tuple(found)


def family(rule: Rule) -> Rule:
    """Put a rule into the table, behind those that are there."""
    RULES.append(rule)
    return rule


@family
def not_written(seen: Evidence) -> str:
    """All bits set is what buffers are filled with before a run."""
    raw = np.ascontiguousarray(seen.raw)
    if raw.dtype.kind != "f" or raw.itemsize not in (2, 4):
        return ""
    bits = raw.view(np.uint16 if raw.itemsize == 2 else np.uint32)
    poison = bits == 0xFFFF if raw.itemsize == 2 else bits >> 16 == 0xFFFF
    return "not written: the poison of the buffer is still there" if bool(poison[seen.bad].all()) else ""


@family
def nan_lost(seen: Evidence) -> str:
    """A NaN or an infinity of the inputs that does not come out as one."""
    if seen.holds(lambda got, want: np.isnan(want)):
        return "NaN swallowed"
    if seen.holds(lambda got, want: np.isinf(want) & np.isnan(got)):
        return "an infinity became NaN"
    return ""


@family
def overflow(seen: Evidence) -> str:
    """Values past the end of a type."""
    form = FORMATS.get(seen.kind)
    if form is not None and seen.holds(
        lambda got, want: np.isinf(want) & (got == np.copysign(form.largest, want))
    ):
        return f"overflow clipped to the largest {form.name} number"
    if seen.holds(lambda got, want: np.isfinite(want) & np.isinf(got)):
        return "overflow where there is none: a narrower accumulator"
    return ""


@family
def nan_made(seen: Evidence) -> str:
    """A NaN from nowhere."""
    if not_written(seen) or not seen.holds(lambda got, want: np.isnan(got) & np.isfinite(want)):
        return ""
    return "NaN from nowhere: memory that nobody wrote was read"


RULES.append(suppose_kernels)


@family
def clip_dropped(seen: Evidence) -> str:
    """A ReLU or Clip that let through, or took away, what it should not."""
    if seen.holds(lambda got, want: (want < 0) & (got == 0)) and seen.pattern.count >= ENOUGH:
        # Elements above zero are all right: else nothing was computed at all.
        if np.count_nonzero(~seen.bad & (seen.want > 0)) >= ENOUGH:
            return "a ReLU that is not in the network"
    return ""


@family
def flushed(seen: Evidence) -> str:
    """Numbers below the smallest normal one."""
    form = FORMATS.get(seen.kind)
    if form is None:
        return ""
    least = 2.0**form.emin
    if seen.holds(lambda got, want: (got == 0) & (want != 0) & (np.abs(want) < least)):
        return "subnormal numbers flushed to zero"
    return ""


@family
def left_zero(seen: Evidence) -> str:
    """Zeros where other values belong."""
    if flushed(seen) or clip_dropped(seen) or not seen.holds(lambda got, want: (got == 0) & (want != 0)):
        return ""
    return "left at zero: not computed, or masked off"


@family
def rounded_otherwise(seen: Evidence) -> str:
    """One step of the grid, towards zero or either way."""
    if not seen.all_finite or seen.kind not in ("fp16", "bf16", "fp32", "int8", "uint8"):
        return ""
    want = seen.want
    if not seen.is_integer:
        want = round_to(want, seen.kind)
    step = (np.abs(want) - np.abs(seen.got))[seen.bad] / seen.grid[seen.bad]
    unit = "INT8 level" if seen.is_integer else "unit in the last place"
    if not bool(((np.abs(step) > 0.25) & (np.abs(step) < 1.25)).all()):
        return ""
    if step.size >= ENOUGH and bool((step > 0).all()):
        return f"rounded towards zero: one {unit} too small everywhere"
    if step.size >= ENOUGH and bool((step < 0).all()):
        return f"rounded away from zero: one {unit} too large everywhere"
    return f"one {unit} off: another rounding"


@family
def scaled(seen: Evidence) -> str:
    """One factor, of the whole tensor or of each channel."""
    if not seen.all_finite or left_zero(seen) or clip_dropped(seen) or rounded_otherwise(seen):
        return ""
    strong = seen.finite & (np.abs(seen.want) > 16 * seen.room)
    factor = _factor(seen, strong)
    if factor is not None and _is_scaled(seen, seen.bad, factor):
        return f"scaled: got = {factor:.6g} x want"
    if seen.want.ndim < 2 or seen.want.shape[1] < 2:
        return ""
    for channel in np.flatnonzero(seen.bad.any(axis=(0, *range(2, seen.bad.ndim)))):
        here = np.zeros(seen.bad.shape, bool)
        here[:, channel] = True
        factor = _factor(seen, strong & here)
        if factor is None or not _is_scaled(seen, seen.bad & here, factor):
            return ""
    return "scaled: another factor in each channel"


def _factor(seen: Evidence, strong: Array) -> float | None:
    want = seen.want[strong]
    if want.size < ENOUGH or np.ptp(want) <= 8 * float(np.max(seen.room[strong])):
        return None
    return float(np.dot(seen.got[strong], want) / np.dot(want, want))


def _is_scaled(seen: Evidence, where: Array, factor: float) -> bool:
    room = (1 + abs(factor)) * seen.room[where]
    gap = np.abs(seen.got[where] - factor * seen.want[where])
    moved = np.abs(seen.got[where] - seen.want[where])
    # The factor has to explain the error and not only its size.
    return bool((gap <= room).all()) and float(np.median(gap)) <= 0.25 * float(np.median(moved))


@family
def shifted(seen: Evidence) -> str:
    """One constant, of the whole tensor or of each channel."""
    if not seen.all_finite or seen.want.ndim < 2 or left_zero(seen) or scaled(seen):
        return ""
    offsets = []
    for channel in np.flatnonzero(seen.bad.any(axis=(0, *range(2, seen.bad.ndim)))):
        where = seen.bad[:, channel]
        got, want, room = (a[:, channel][where] for a in (seen.got, seen.want, seen.room))
        offset = got - want
        if offset.size < ENOUGH or np.ptp(want) <= 8 * room.max() or np.abs(offset).min() <= 4 * room.max():
            return ""
        if np.ptp(offset) > 2 * room.max():
            return ""
        offsets.append((float(np.median(offset)), float(room.max())))
    values, rooms = zip(*offsets, strict=True)
    if max(values) - min(values) <= 2 * max(rooms):
        return f"shifted: got = want {values[0]:+.6g}"
    return "shifted: a constant in each channel, as of a wrong bias"


@family
def elsewhere(seen: Evidence) -> str:
    """Values that belong to another place."""
    if left_zero(seen) or not seen.all_finite or not np.ptp(seen.want[np.isfinite(seen.want)]):
        return ""
    if seen.want.ndim == 4:
        turned, room = (np.moveaxis(a, 1, -1).reshape(a.shape) for a in (seen.want, seen.room))
        if bool(_same(seen, turned, room)[seen.bad].all()) and seen.is_no_accident(seen.want):
            return "NHWC written where NCHW is read"
    names = axis_names(seen.want.ndim)
    for axis in range(seen.want.ndim):
        size = seen.want.shape[axis]
        if not 2 <= size <= SLICES or names[axis].startswith("axis"):
            continue
        if axis < 2:
            if _from_other_slices(seen, axis) and seen.is_no_accident(seen.want, size):
                which = "stale or mixed rows of the batch" if axis == 0 else "channels exchanged"
                return f"another {names[axis]}'s values: {which}"
        elif any(
            bool(_same(seen, np.roll(seen.want, s, axis), np.roll(seen.room, s, axis))[seen.bad].all())
            for s in (1, -1)
        ):
            if seen.is_no_accident(seen.want, 2):
                return f"the neighbouring {names[axis]}'s values"
    return ""


def _same(seen: Evidence, want: Float64, room: Float64) -> Array:
    return np.asarray(np.abs(seen.got - want) <= room)


def _from_other_slices(seen: Evidence, axis: int) -> bool:
    got, want, bad, room = (np.moveaxis(a, axis, 0) for a in (seen.got, seen.want, seen.bad, seen.room))
    for place in range(len(got)):
        if not bad[place].any():
            continue
        match = (np.abs(got[place] - want) <= room) | ~bad[place]
        whole = match.reshape(len(want), -1).all(axis=1)
        whole[place] = False
        if not whole.any():
            return False
    return True


@family
def wraps(seen: Evidence) -> str:
    """INT8 levels past the end that come back at the other one."""
    if not seen.is_integer:
        return ""
    levels = seen.want / seen.grid
    if bool((np.abs(levels[seen.bad]) >= 126.5).all()) and seen.holds(lambda got, want: got * want < 0):
        return "INT8 saturation wraps around"
    return ""


@family
def tail(seen: Evidence) -> str:
    """Channels behind the last whole block."""
    return (
        "channel tail: the last, incomplete block of channels" if "channel-tail" in seen.pattern.names else ""
    )


@family
def rim(seen: Evidence) -> str:
    """The border of a plane is where pads count."""
    if "border" not in seen.pattern.names:
        return ""
    return "pads: a wrong value, side or extent of the padding"


@family
def edge(seen: Evidence) -> str:
    """The last row, column or item is where loops end."""
    for name in ("item", "row", "column"):
        if f"{name}-last" in seen.pattern.names:
            return f"the last {name}: a loop or copy that ends too early"
    return ""


@family
def block(seen: Evidence) -> str:
    """A rectangle, or every k-th element."""
    if "tile" in seen.pattern.names:
        return "a tile: one block of the kernel's output"
    if {"period", "checkerboard"} & set(seen.pattern.names) and not elsewhere(seen):
        return "a period: a stride, vector width or interleaving"
    return ""
