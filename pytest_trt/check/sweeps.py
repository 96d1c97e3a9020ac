"""Relations between many batch sizes, and between profiles, of one network: no reference says what is right.

Public bugs begin at a batch of 8 (NVIDIA/TensorRT issue 1697) or 40 (3855), or come and go with the width of a profile (4813,
2457, 3821): right at the sizes that somebody tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from pytest_trt.check.relations import Base, Broken, compare_rows
from pytest_trt.check.subject import Subject
from pytest_trt.numerics.formats import Array

BATCH_SIZES = "every batch size gives the rows of batch 1"
PROFILE_ENDS = "where a profile begins, ends and is best changes nothing"

# Around the powers of two at which tiles end, and around 40, where issue 3855 began.
SIZES = (2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 39, 40, 41, 63, 64, 65)


def check_batch_sizes(
    subject: Subject, base: Base, sizes: Sequence[int] = SIZES
) -> Iterator[tuple[str, Broken | None]]:
    """Yield whether each row of a batch is what it is alone, from the smallest batch to the largest.

    One engine takes them all. Rows are those of the base run, over and over; a network without a dynamic batch is not asked.

    Parameters
    ----------
    subject : Subject
        Rows of its batch do not touch.
    base : Base
        A run of it; rows may differ as far as its limits let them.
    sizes : sequence of int
    """
    profile = subject.profile
    if profile is None or any(least[0] == most[0] for least, _, most in profile.values()):
        return
    top = max(*sizes, base.rows)
    wide = {
        name: ((1, *least[1:]), tuple(best), (max(top, most[0]), *most[1:]))
        for name, (least, best, most) in profile.items()
    }
    with subject.with_profile(wide) as engine:
        alone = [engine.run(_rows(base, [row])) for row in range(base.rows)]
        rows = {name: np.concatenate([got[name] for got in alone]) for name in base.got}
        want = Base(base.feeds, rows, base.limits)
        broken: Broken | None = None
        for size in sorted(sizes):
            place = np.arange(size) % base.rows
            broken = compare_rows(BATCH_SIZES, engine.run(_rows(base, place)), want, place)
            if broken is not None:
                broken = replace(broken, note=f"at a batch of {size}")
                break
    yield BATCH_SIZES, broken


def check_profiles(subject: Subject, base: Base) -> Iterator[tuple[str, Broken | None]]:
    """Yield whether engines for other profiles give what the engine of this one gives, shapes included.

    The other profiles hold nothing but the shapes of the base run; have their optimum at either end; and reach twice as far
    along each dynamic dimension.
    """
    if subject.profile is None:
        return
    shapes = {name: tuple(base.feeds[name].shape) for name in subject.profile}
    broken: Broken | None = None
    for words, make in _OTHERS.items():
        other = {name: make(span, shapes[name]) for name, span in subject.profile.items()}
        if other == dict(subject.profile):
            continue
        with subject.with_profile(other) as engine:
            broken = compare_rows(PROFILE_ENDS, engine.run(base.feeds), base)
        if broken is not None:
            broken = replace(broken, note=f"{words}: {other}")
            break
    yield PROFILE_ENDS, broken


_Shape = tuple[int, ...]
_Span = tuple[_Shape, _Shape, _Shape]


def _wide(span: _Span, shape: _Shape) -> _Span:
    least, _, most = span
    far = tuple(high if low == high else 2 * high for low, high in zip(least, most, strict=True))
    return least, shape, far


_OTHERS: dict[str, Callable[[_Span, _Shape], _Span]] = {
    "these shapes alone": lambda span, shape: (shape, shape, shape),
    "best at its smallest": lambda span, shape: (span[0], span[0], span[2]),
    "best at its largest": lambda span, shape: (span[0], span[2], span[2]),
    "twice as wide": _wide,
}


def _rows(base: Base, place: Sequence[int] | np.ndarray) -> dict[str, Array]:
    return {name: np.ascontiguousarray(values[np.asarray(place)]) for name, values in base.feeds.items()}
