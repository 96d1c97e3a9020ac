"""Runs independent tasks on the cores there are, and shows how far they are when someone watches."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TextIO, TypeVar

T = TypeVar("T")
R = TypeVar("R")

# One thread a process: several processes share the cores.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Progress:
    """A bar on a terminal; nothing where the stream is none.

    Parameters
    ----------
    label : str
    total : int
    stream : text stream, optional
        Standard error by default.
    """

    def __init__(self, label: str, total: int, stream: TextIO | None = None) -> None:
        self._label, self._total, self._done = label, total, 0
        self._stream = stream if stream is not None else sys.stderr
        self._started = time.monotonic()

    def step(self) -> None:
        """Count one task as done."""
        self._done += 1
        if not self._stream.isatty():
            return
        share = self._done / self._total
        left = (time.monotonic() - self._started) / share * (1 - share)
        bar = "#" * int(30 * share)
        end = "\n" if self._done == self._total else ""
        self._stream.write(
            f"\r{self._label} [{bar:<30}] {self._done}/{self._total}, {left:.0f} s left  {end}"
        )
        self._stream.flush()


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(
    work: Callable[[T], R], tasks: Sequence[T], jobs: int, label: str, *, threads: bool = False
) -> list[R]:
    """Return the results of all tasks, in order.

    Parameters
    ----------
    work : callable
        Of module level, since other processes import it.
    tasks : sequence
        Plain data.
    jobs : int
        How many at once; 1 stays in this process.
    label : str
        What the bar says.
    threads : bool
        The work itself starts processes: threads wait for them.
    """
    bar = Progress(label, len(tasks))
    if jobs <= 1 or len(tasks) <= 1:
        found = []
        for task in tasks:
            found.append(work(task))
            bar.step()
        return found
    with _executor(min(jobs, len(tasks)), threads) as pool:
        waiting = {pool.submit(work, task): place for place, task in enumerate(tasks)}
        results: dict[int, R] = {}
        try:
            for future in as_completed(waiting):
                results[waiting[future]] = future.result()
                bar.step()
        except BaseException:
            for future in waiting:
                future.cancel()
            raise
    return [results[place] for place in range(len(tasks))]


def _executor(jobs: int, threads: bool) -> Executor:
    if threads:
        return ThreadPoolExecutor(jobs)
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
