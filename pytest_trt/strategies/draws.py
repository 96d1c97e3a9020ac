"""Numbers that the families share: channels, extents, spans, within a cost of milliseconds a check."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hypothesis import strategies as st

# Around the vector and tile widths of GPU kernels: multiples of 8, 16, 32 and 64, one below and one above.
CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65)
# Batches at which public bugs begin: 8, 32 and 40, with their neighbours.
BATCHES = (1, 7, 8, 9, 31, 32, 33, 39, 40, 41, 64)
MAX_OUTPUTS = 6000
MAX_SUM = 1024


def at_most(values: Iterable[int], limit: int) -> st.SearchStrategy[int]:
    """Return a strategy for those values that do not exceed a limit; 1 where none is that small."""
    return st.sampled_from([value for value in values if value <= limit] or [1])


@st.composite
def spans(draw: st.DrawFn, batch: int) -> tuple[int, ...]:
    """Return (min, opt, max) around a batch, or nothing; shrinks to nothing."""
    if not draw(st.booleans()):
        return ()
    low = draw(st.integers(1, batch))
    high = batch + draw(st.integers(0, 8))
    return (low, draw(st.integers(low, high)), high)


def tuples(draw: st.DrawFn, length: int, values: st.SearchStrategy[int]) -> tuple[int, ...]:
    """Return `length` independent values."""
    return tuple(draw(values) for _ in range(length))


def volume(extents: Iterable[int]) -> int:
    """Return the product of extents."""
    return math.prod(extents)


def output_extents(draw: st.DrawFn, dims: int, *, small: bool) -> tuple[int, ...]:
    """Return spatial extents of an output: up to 40 wide in 1-D, 9 x 9 in 2-D, 4 x 4 x 4 in 3-D."""
    largest = {1: 40, 2: 9, 3: 4}[dims]
    return tuples(draw, dims, st.integers(1, 3 if small else largest))
