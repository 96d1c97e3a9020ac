"""Whether memory grows with every context that is made, used and destroyed (NVIDIA/TensorRT issue 582)."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

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

_STATM = Path("/proc/self/statm")


def host_bytes() -> int:
    """Return the memory of this process that lies in RAM, bytes."""
    return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def why_no_reading() -> str:
    """Return why the memory of this process cannot be read, in words; empty where it can."""
    return "" if _STATM.exists() else f"this system has no {_STATM}"


def steady_growth(readings: Sequence[int]) -> int:
    """Return by how much the memory grew in each batch at least, bytes; 0 where one of them did not grow.

    Parameters
    ----------
    readings : sequence of int
        Before the first batch, and after each.

    Notes
    -----
    What leaks `b` bytes a context adds `CYCLES * b` to every batch: all of them grow as soon as that is a page, thus from 512
    bytes a context on. An allocator that fetches memory for later use grows in some batches; were it in every second one, all
    ten would be among them once in 2**10 times.
    """
    growths = [after - before for before, after in pairwise(readings)]
    least = min(growths, default=0)
    return max(0, least)


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
    places: dict[str, Callable[[], int]] = {"the process": host_bytes}
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
            f"{place} keeps at least {growth // CYCLES} bytes of every context that was made, run and destroyed "
            f"({numbers[-1] - numbers[0]} bytes of {BATCHES * CYCLES})"
            if growth
            else None,
        )


def _cycle(subject: Subject, base: Base, count: int) -> None:
    for _ in range(count):
        with Session(subject.rt, subject.engine) as session:
            session.run(base.feeds)
