"""Whether memory grows with every context that is made, used and destroyed (NVIDIA/TensorRT issue 582)."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from pytest_trt.check.named import Checked
from pytest_trt.check.relations import Base
from pytest_trt.check.subject import Subject
from pytest_trt.runtime.session import Session

MEMORY = "memory"

BATCHES = 10
CYCLES = 8  # contexts a batch
WARM = (
    16  # contexts before the first reading: what is allocated once is no leak (NVIDIA/TensorRT-RTX issue 14)
)
LEAST_BYTES = 512  # a context
_SPARED = 2  # batches that need not grow

_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Return the memory of this process that lies in RAM, bytes."""
    return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


class _HeapInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc, malloc.h."""

    _fields_: ClassVar = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def heap_bytes() -> int | None:
    """Return the bytes that malloc has given out and not got back; None where the C library does not tell (glibc 2.33 does).

    What leaks into holes of the heap does not grow the process, and shows here.
    """
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):
        return None
    ask.restype = _HeapInfo
    told = ask()
    return int(told.uordblks) + int(told.hblkhd)


def why_no_reading() -> str:
    """Return why the memory of this process cannot be read, in words; empty where it can."""
    return "" if _STATM.exists() else f"this system has no {_STATM}"


def steady_growth(readings: Sequence[int]) -> int:
    """Return how much memory every context kept, bytes; 0 where it did not grow steadily.

    Parameters
    ----------
    readings : sequence of int
        Before the first batch, and after each.

    Notes
    -----
    What leaks `b` bytes a context adds `CYCLES * b` to every batch. An allocator that fetches memory for later use grows in
    some batches, and unrelated memory that is given back hides a growth in others. So eight of ten batches have to grow: were
    one in four to grow by accident, eight of ten would be among them 4 times in 10,000. Less than 512 bytes a context, one page
    a batch, is not told from noise. The smallest growth of those eight is what is reported.
    """
    growths = sorted(after - before for before, after in pairwise(readings))
    spared = min(_SPARED, max(0, len(growths) - 1))
    growth = growths[spared] // CYCLES if growths else 0
    return growth if growth >= LEAST_BYTES else 0


def check_memory(subject: Subject, base: Base) -> Iterator[Checked]:
    """Yield whether memory of the process, and of the device where it is another one, grows with every context.

    Parameters
    ----------
    subject : Subject
        Its engine lives on, and is not one of those that are counted.
    base : Base
        What each context runs.

    Raises
    ------
    ExecutionError
        A context was not made, or did not run.
    """
    memory = subject.rt.memory
    places: dict[str, Callable[[], int]] = {"the process": resident_bytes}
    if heap_bytes() is not None:
        places["the heap"] = lambda: heap_bytes() or 0
    if memory is not None and memory.used_bytes() is not None:
        places["the device"] = lambda: memory.used_bytes() or 0
    readings: dict[str, list[int]] = {place: [] for place in places}
    _cycle(subject, base, WARM)
    for batch in range(BATCHES + 1):
        _cycle(subject, base, CYCLES if batch else 0)
        gc.collect()
        for place, read in places.items():
            readings[place].append(read())
    for place, numbers in readings.items():
        growth = steady_growth(numbers)
        yield (
            MEMORY,
            f"{place} keeps at least {growth} bytes of every context that was made, run and destroyed "
            f"({numbers[-1] - numbers[0]} bytes of {BATCHES * CYCLES})"
            if growth
            else None,
        )


def _cycle(subject: Subject, base: Base, count: int) -> None:
    for _ in range(count):
        with Session(subject.rt, subject.engine) as session:
            session.run(base.feeds)
