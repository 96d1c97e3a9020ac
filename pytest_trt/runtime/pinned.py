"""Page-locked host memory that is used again and again: locking pages takes longer than most copies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Block = npt.NDArray[np.uint8]
SMALLEST = 4096
IDLE_BYTES = 1 << 28  # idle blocks beyond this are freed: pinned memory is taken from the whole machine


def block_bytes(nbytes: int) -> int:
    """Return the size of the block for so many bytes: at most a quarter more, so that similar sizes share blocks."""
    if nbytes <= SMALLEST:
        return SMALLEST
    step = 1 << ((nbytes - 1).bit_length() - 3)
    return -(-nbytes // step) * step


class PinnedPool:
    """Blocks by size class.

    Parameters
    ----------
    make : callable
        Takes bytes, returns a page-locked array of as many.
    free : callable
        Lets go of such an array.
    idle_bytes : int
        How much is kept at most while nobody uses it.

    Notes
    -----
    Who calls `give` and `close` has the device current: the driver frees such memory for a context.
    """

    def __init__(
        self, make: Callable[[int], Any], free: Callable[[Any], None], idle_bytes: int = IDLE_BYTES
    ) -> None:
        self._make, self._free, self._limit = make, free, idle_bytes
        self._idle: dict[int, list[Block]] = {}
        self._idle_bytes = 0
        self._lock = threading.Lock()
        self.nbytes = 0

    def take(self, nbytes: int) -> Block:
        """Return a block of at least so many bytes; what lies in it is left from others."""
        size = block_bytes(nbytes)
        with self._lock:
            blocks = self._idle.get(size)
            if blocks:
                self._idle_bytes -= size
                return blocks.pop()
        made: Block = self._make(size)
        with self._lock:
            self.nbytes += size
        return made

    def give(self, blocks: Iterable[Block]) -> None:
        """Take blocks back that no copy uses any more."""
        surplus = []
        with self._lock:
            for block in blocks:
                if self._idle_bytes + block.size > self._limit:
                    surplus.append(block)
                    self.nbytes -= block.size
                    continue
                self._idle_bytes += block.size
                self._idle.setdefault(block.size, []).append(block)
        for block in surplus:
            self._free(block)

    def close(self) -> None:
        """Free what is idle."""
        with self._lock:
            blocks = [block for held in self._idle.values() for block in held]
            self._idle.clear()
            self.nbytes -= self._idle_bytes
            self._idle_bytes = 0
        for block in blocks:
            self._free(block)
