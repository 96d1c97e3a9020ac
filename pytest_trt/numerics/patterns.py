"""Where the bad elements of a tensor lie: the shapes that faults of kernels leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pytest_trt.numerics.formats import Array

# Blocks that kernels pad channels to, the largest first.
BLOCKS = (32, 16, 8)
# Largest side of a block of outputs that is worth naming.
TILE = 16
# From how many elements on a regular grid of bad elements is no accident.
REGULAR = 6


@dataclass(frozen=True)
class Pattern:
    """Where the bad elements lie.

    Attributes
    ----------
    names : tuple of str
        `every`, `one`, `channel-tail`, `tile`, `period`, `border`, `checkerboard`; an axis (`item`, `channel`, `row`,
        `column`), alone or with `-first`, `-last` or `-end`; `scattered` where none fits.
    words : str
        The same in words, with places.
    count, total : int
        Bad elements, and all.
    """

    names: tuple[str, ...]
    words: str
    count: int
    total: int


def axis_names(rank: int) -> tuple[str, ...]:
    """Return what the axes of an (N, C, *S) array are called in words."""
    known = {2: (), 3: ("position",), 4: ("row", "column"), 5: ("slice", "row", "column")}
    spatial = known.get(rank, tuple(f"axis {axis}" for axis in range(2, rank)))
    return ("item", "channel", *spatial)[:rank]


def find_pattern(bad: Array) -> Pattern:
    """Return where the bad elements of an (N, C, *S) array of booleans lie."""
    count, total = int(np.count_nonzero(bad)), bad.size
    if count == total:
        return Pattern(("every",), "every element", count, total)
    if count == 1:
        return Pattern(("one",), "one element", count, total)
    found: list[tuple[str, str]] = []
    board = _checkerboard(bad)
    rim = None if board else _border(bad)
    tile = None if board or rim else _tile(bad)
    spatial = range(bad.ndim - 2, bad.ndim) if board or rim or tile else range(0)
    for axis, name in enumerate(axis_names(bad.ndim)):
        if axis not in spatial:
            found += _along(bad, axis, name)
    found += [part for part in (board, rim, tile) if part is not None]
    if not found:
        found += _stepping(bad)
    share = f"{100.0 * count / total:.1f} % of the elements"
    if not found:
        return Pattern(("scattered",), f"scattered, {share}", count, total)
    names = tuple(dict.fromkeys(name for name, _ in found))
    return Pattern(names, "; ".join([*(words for _, words in found), share]), count, total)


def describe_pattern(bad: Array) -> str:
    """Return in words where the bad elements of an (N, C, *S) array lie."""
    return find_pattern(bad).words


def _touched(bad: Array, axis: int) -> Array:
    """Return the positions on an axis that hold a bad element."""
    return np.flatnonzero(bad.any(axis=tuple(a for a in range(bad.ndim) if a != axis)))


def _along(bad: Array, axis: int, name: str) -> list[tuple[str, str]]:
    length = bad.shape[axis]
    touched = _touched(bad, axis)
    if length < 2 or touched.size == length:
        return []
    start, stop = int(touched[0]), int(touched[-1])
    if touched.size == 1:
        if start in (0, length - 1):
            place = "last" if start else "first"
            return [(f"{name}-{place}", f"{place} {name} only"), *_tail(name, start, length)]
        return [(name, f"{_ordinal(start)} {name} only")]
    if touched.size == stop - start + 1:
        if stop == length - 1:
            return [(f"{name}-end", f"{name}s {start} to the end (of {length})"), *_tail(name, start, length)]
        return [(name, f"{name}s {start} to {stop} (of {length})")]
    steps = np.unique(np.diff(touched))
    # From end to end, and with enough bad elements that it is no accident.
    if (
        steps.size == 1
        and start < steps[0]
        and stop + steps[0] >= length
        and np.count_nonzero(bad) >= REGULAR
    ):
        return [("period", f"every {_ordinal(int(steps[0]))} {name}")]
    return []


def _tail(name: str, start: int, length: int) -> list[tuple[str, str]]:
    if name != "channel" or start == 0:
        return []
    block = next((b for b in BLOCKS if length % b and start == length // b * b), 0)
    return [("channel-tail", f"the tail behind the last multiple of {block}")] if block else []


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"


def _border(bad: Array) -> tuple[str, str] | None:
    """Return the ring of a plane that holds all bad elements, where they touch two sides of it or more."""
    if bad.ndim < 4:
        return None
    plane = np.asarray(bad.any(axis=tuple(range(bad.ndim - 2))))
    height, width = plane.shape
    # Thin, or it is no border: at most half of the plane.
    for ring in range(1, max(2, min(height, width) // 4 + 1)):
        if min(height, width) <= 2 * ring:
            return None
        if plane[ring:-ring, ring:-ring].any():
            continue
        edges = (plane[:ring], plane[-ring:], plane[:, :ring].T, plane[:, -ring:].T)
        # A corner belongs to two sides: each has to hold more than its corners.
        if sum(bool(edge[:, ring:-ring].any()) for edge in edges) < 2:
            return None
        deep = f"{ring} elements" if ring > 1 else "one element"
        return "border", f"the border of each plane, {deep} deep"
    return None


def _checkerboard(bad: Array) -> tuple[str, str] | None:
    """Return which of the two colours of each plane holds the bad elements."""
    if bad.ndim < 4 or np.count_nonzero(bad) < REGULAR or min(bad.shape[-2:]) < 2:
        return None
    colour = np.indices(bad.shape[-2:]).sum(axis=0) % 2
    for parity in (0, 1):
        cells = bad[..., colour == parity]
        if not bad[..., colour != parity].any() and 2 * np.count_nonzero(cells.any(axis=0)) > cells.shape[-1]:
            rows = cells.reshape(-1, cells.shape[-1]).any(axis=1)
            if cells.reshape(-1, cells.shape[-1])[rows].mean() > 0.5:
                return "checkerboard", f"a checkerboard: {'odd' if parity else 'even'} places of each plane"
    return None


def _tile(bad: Array) -> tuple[str, str] | None:
    """Return a small rectangle of the last two axes that holds all bad elements and is mostly bad."""
    if bad.ndim < 2 or (bad.ndim == 3 and bad.shape[1] < 2):
        return None
    plane = np.asarray(bad.any(axis=tuple(range(bad.ndim - 2))))
    spans, names = [], ("row", "column") if bad.ndim != 2 else ("item", "channel")
    for axis in (0, 1):
        touched = _touched(plane, axis)
        first, last = int(touched[0]), int(touched[-1])
        if not 2 <= last - first + 1 <= TILE or last - first + 1 >= plane.shape[axis]:
            return None
        spans.append((first, last))
    (top, bottom), (left, right) = spans
    if plane[top : bottom + 1, left : right + 1].mean() < 0.5:
        return None
    size = f"{bottom - top + 1} x {right - left + 1} tile"
    return "tile", f"a {size}: {names[0]}s {top} to {bottom}, {names[1]}s {left} to {right}"


def _stepping(bad: Array) -> list[tuple[str, str]]:
    """Return the constant step between bad elements in the order of memory, where there is one."""
    places = np.flatnonzero(bad)
    steps = np.unique(np.diff(places))
    if places.size >= REGULAR and steps.size == 1 and steps[0] > 1:
        return [("period", f"every {_ordinal(int(steps[0]))} element in memory")]
    return []
