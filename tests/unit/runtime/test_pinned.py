"""Blocks of pinned memory go round by size."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.runtime.pinned import SMALLEST, PinnedPool, block_bytes


class Pages:
    """Makes and frees arrays."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.freed: list[int] = []

    def pool(self, idle_bytes: int = 1 << 20) -> PinnedPool:
        return PinnedPool(self._make, lambda block: self.freed.append(block.size), idle_bytes)

    def _make(self, nbytes: int) -> np.ndarray:  # type: ignore[type-arg]
        self.made.append(nbytes)
        return np.empty(nbytes, np.uint8)


@pytest.mark.parametrize("nbytes", [0, 1, 4096, 4097, 5000, 5120, 65536, 65537, 10**6, 3 * 2**20, 10**9 + 7])
def test_a_block_is_large_enough_and_at_most_a_quarter_larger(nbytes: int) -> None:
    assert nbytes <= block_bytes(nbytes) <= max(SMALLEST, 1.25 * nbytes)
    assert block_bytes(block_bytes(nbytes)) == block_bytes(nbytes)


def test_blocks_of_a_size_are_used_again() -> None:
    pages = Pages()
    pool = pages.pool()
    first = pool.take(5000)
    second = pool.take(5000)
    assert first is not second
    pool.give([first])
    assert pool.take(4900) is first
    assert pages.made == [5120, 5120] and pool.nbytes == 10240
    assert pool.take(100).size == SMALLEST


def test_what_nobody_uses_is_bounded_and_freed_at_the_end() -> None:
    pages = Pages()
    pool = pages.pool(idle_bytes=10000)
    blocks = [pool.take(4096) for _ in range(4)]
    pool.give(blocks)
    assert pages.freed == [4096, 4096] and pool.nbytes == 8192
    held = pool.take(4096)
    pool.close()
    assert pages.freed == [4096] * 3 and pool.nbytes == 4096
    pool.give([held])
    assert pool.nbytes == 4096
