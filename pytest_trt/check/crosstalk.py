"""Threads that each run a context of one engine: every output of every run is held against the answer of a lone context.

No two rows that anybody is to get are equal, so an answer that went astray tells whose it is. One engine may be used by many
contexts at once, one context by one thread at a time (TensorRT documentation, "Thread Safety").
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from pytest_trt.check.concurrent import MISSED, RARE, open_session, run_in_threads, trials_for
from pytest_trt.check.relations import Base, Broken, compare_rows, first_broken
from pytest_trt.check.subject import Subject
from pytest_trt.errors import UsageError
from pytest_trt.numerics.formats import Array
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.session import POISON, Session

OWN_ANSWERS = "every run of every thread gets the answer to its own inputs"
IN_FLIGHT = "contexts with runs in flight beside each other get their own answers, whatever they ran before"
HANDED_ON = "contexts that go on in other threads and with other inputs get the answers to those"
SHORT_LIVED = "threads that make and destroy contexts all at once get their own answers"

THREADS = 8
LIVES = 3  # contexts that a thread makes and destroys
START_SECONDS = 60.0  # after which a thread that waits for the others gives up

Cases = Sequence[Sequence[Base]]


@dataclass(frozen=True)
class Wrong:
    """The first wrong answer of a thread.

    Attributes
    ----------
    thread, run : int
        Which thread, counted from 0, and which of its runs, counted from 0.
    broken : Broken
        On which tensor, how far off, and in its note whose answer it was.
    """

    thread: int
    run: int
    broken: Broken

    def __str__(self) -> str:
        """Return it in words."""
        return self.broken.note


@dataclass(frozen=True)
class Hammered:
    """What threads got that ran at once.

    Attributes
    ----------
    runs : int
        Runs of which every output was compared, all threads together.
    wrong : int
        Those with an output that is not the answer to their inputs.
    first : Wrong or None
        The first one of the first thread that had any.
    by_thread : tuple of (int, int)
        Runs and wrong ones of each thread.
    """

    runs: int
    wrong: int
    first: Wrong | None
    by_thread: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        """Return counts, and the first wrong one, in words."""
        told = f"{self.wrong} of {self.runs} runs wrong"
        return told if self.first is None else f"{told}; {self.first}"


def describe_power(runs: int, missed: float = MISSED) -> str:
    """Return in words what a number of checked runs says about rare events.

    Notes
    -----
    The rate that n independent runs miss with probability `missed`: p = 1 - missed**(1/n), see `trials_for`.
    """
    rate = -math.expm1(math.log(missed) / runs)
    return f"{runs:,} checked runs: a cross-talk of one run in {1 / rate:,.0f} would be seen but for 1 time in {1 / missed:,.0f}"


def answer_alone(rt: Runtime, engine: Any, feeds: Sequence[Mapping[str, Array]]) -> list[Base]:
    """Return one run for each set of inputs, all of one context while no other one of the engine runs."""
    with Session(rt, engine) as lone:
        return [Base(feed, lone.run(feed), {}) for feed in feeds]


def deal(bases: Sequence[Base], threads: int) -> list[list[Base]]:
    """Return the runs that each thread cycles through, dealt out one after another.

    Raises
    ------
    UsageError
        There are fewer runs than threads, or two of them have an output, or a row of one, in common: an answer that went
        astray between them would not show.
    """
    if not 0 < threads <= len(bases):
        raise UsageError(f"{len(bases)} runs cannot be dealt to {threads} threads")
    _Owners([[base] for base in bases]).demand_different()
    return [list(bases[place::threads]) for place in range(threads)]


def hammer(sessions: Sequence[Session], cases: Cases, runs: int) -> Hammered:
    """Return what contexts gave that ran at once, each in a thread and on a stream of its own.

    Parameters
    ----------
    sessions : sequence of Session
        One a thread, of one engine or of several; nobody else uses them meanwhile.
    cases : sequence of sequence of Base
        What each thread cycles through, with the answers that a lone context gave; see `answer_alone` and `deal`.
    runs : int
        At least so many, all threads together.

    Raises
    ------
    ExecutionError
        A run was refused or failed: such a run is no run. The other threads go on to their end first.
    UsageError
        There are not as many cases as sessions.
    """
    if len(sessions) != len(cases) or not sessions or not all(cases):
        raise UsageError(f"{len(sessions)} sessions cannot run {len(cases)} lists of cases, one each")
    start = threading.Barrier(len(sessions), timeout=START_SECONDS)
    each = math.ceil(runs / len(sessions))

    def work(place: int) -> tuple[int, tuple[int, Base, dict[str, Array], Broken] | None]:
        session, wrong = sessions[place], 0
        first = None
        packed = [{name: values.tobytes() for name, values in base.got.items()} for base in cases[place]]
        start.wait()
        for run in range(each):
            turn = run % len(packed)
            base = cases[place][turn]
            got = session.run(base.feeds)
            if all(values.tobytes() == packed[turn][name] for name, values in got.items()):
                continue
            broken = compare_rows(OWN_ANSWERS, got, base)  # equal within the limits, or NaN with other bits
            if broken is not None:
                wrong += 1
                first = first or (run, base, got, broken)
        return wrong, first

    found = run_in_threads([partial(work, place) for place in range(len(sessions))])
    first = None
    for place, (_, told) in enumerate(found):
        if told is not None:
            run, base, got, broken = told
            note = _Owners(cases).explain(place, run, base, got[broken.tensor], broken.tensor)
            first = Wrong(place, run, replace(broken, note=note))
            break
    counts = tuple((each, wrong) for wrong, _ in found)
    return Hammered(each * len(sessions), sum(wrong for wrong, _ in found), first, counts)


def check_threads(
    subject: Subject,
    bases: Sequence[Base],
    *,
    threads: int = THREADS,
    runs: int = trials_for(RARE),
    tell: Callable[[Hammered], None] = lambda hammered: None,
) -> Iterator[tuple[str, Broken | None]]:
    """Yield each relation between contexts in threads, with what breaks it.

    Parameters
    ----------
    subject : Subject
        Its own context is the lone one, and does not run meanwhile.
    bases : sequence of Base
        Runs of the lone context: one or more for each thread.
    threads : int
        How many threads, contexts and streams.
    runs : int
        How many in threads, all of them together; see `trials_for`.
    tell : callable
        Is given the runs in threads.

    Raises
    ------
    ExecutionError
        A run was not enqueued, or failed.
    UsageError
        There are fewer bases than threads, or two of them have a row of their answers in common.
    """
    cases = deal(bases, threads)
    with ExitStack() as held:
        yield IN_FLIGHT, _in_flight(_sessions(subject, threads, held), bases)
    with ExitStack() as held:
        sessions = _sessions(subject, threads, held)
        hammered = hammer(sessions, cases, runs)
        tell(hammered)
        yield OWN_ANSWERS, None if hammered.first is None else hammered.first.broken
        # Each thread gets the context, and so the buffers and the state, of its neighbour.
        moved = hammer([*sessions[1:], sessions[0]], cases, 2 * len(bases))
        yield HANDED_ON, None if moved.first is None else replace(moved.first.broken, relation=HANDED_ON)
    yield SHORT_LIVED, _short_lived(subject, cases)


def _sessions(subject: Subject, count: int, held: ExitStack) -> list[Session]:
    return [held.enter_context(open_session(subject, place)) for place in range(count)]


def _in_flight(sessions: Sequence[Session], bases: Sequence[Base]) -> Broken | None:
    """Enqueue a run of every context before any is waited for; in each round a context has the inputs of another one."""
    owners = _Owners([[base] for base in bases])
    count = len(sessions)
    for round_ in range(count):
        places = [(place, (place + round_) % len(bases)) for place in range(count)]
        waiting = [sessions[place].enqueue(bases[turn].feeds) for place, turn in places]
        found: Broken | None = None
        order = places if round_ % 2 else places[::-1]
        for place, turn in order:  # all are taken, so that no session is left with a run
            got = waiting[place]()
            broken = compare_rows(IN_FLIGHT, got, bases[turn])
            if broken is not None and found is None:
                told = owners.whose(got[broken.tensor], broken.tensor, bases[turn])
                found = replace(broken, note=f"context {place}, round {round_}: {told}")
        if found is not None:
            return found
    return None


def _short_lived(subject: Subject, cases: Cases) -> Broken | None:
    """Make, use and destroy contexts in every thread at once."""
    start = threading.Barrier(len(cases), timeout=START_SECONDS)

    def live(place: int) -> Broken | None:
        start.wait()
        for life in range(LIVES):
            with open_session(subject, place) as session:
                for base in cases[place]:
                    got = session.run(base.feeds)
                    broken = compare_rows(SHORT_LIVED, got, base)
                    if broken is not None:
                        told = _Owners(cases).whose(got[broken.tensor], broken.tensor, base)
                        return replace(broken, note=f"thread {place}, context {life}: {told}")
        return None

    return first_broken(run_in_threads([partial(live, place) for place in range(len(cases))]))


def explain_wrong(cases: Cases, thread: int, base: Base, got: Mapping[str, Array]) -> str:
    """Return in words whose answer a thread got in place of its own, for the first output that is another one."""
    name = next((n for n, values in got.items() if not _same(values, base.got[n])), "")
    told = _Owners(cases).whose(got[name], name, base) if name else "its own answer"
    return f"thread {thread}: {told}"


class _Owners:
    """Who was to get which answer."""

    def __init__(self, cases: Cases) -> None:
        self.cases = cases

    def _all(self) -> Iterator[tuple[int, int, Base]]:
        for place, bases in enumerate(self.cases):
            for turn, base in enumerate(bases):
                yield place, turn, base

    def demand_different(self) -> None:
        """Raise `UsageError` where answers to different inputs have a row in common."""
        seen: dict[tuple[str, bytes], tuple[int, int]] = {}
        for place, _, base in self._all():
            for name, values in base.got.items():
                for row, part in enumerate(_rows(values)):
                    before = seen.setdefault((name, part.tobytes()), (place, row))
                    if before[0] != place:
                        raise UsageError(
                            f"row {row} of output {name!r} of run {place} is also row {before[1]} of run {before[0]}",
                            why="an answer that went astray between them would not show",
                            mend="if the inputs are too much alike, take others, or a network with more outputs; if they are"
                            " not, the lone context gave an old answer",
                        )

    def explain(self, place: int, run: int, base: Base, values: Array, name: str) -> str:
        """Return in words what a thread got in place of its answer."""
        return f"thread {place}, run {run}: {self.whose(values, name, base)}"

    def whose(self, values: Array, name: str, base: Base) -> str:
        """Return in words whose answer an output is, or a row of it."""
        want = base.got[name]
        if values.shape != want.shape:
            return f"output {name!r} has shape {values.shape}, not {want.shape}"
        if not values.any():
            return f"output {name!r} is all zeros"
        for owner, turn, other in self._all():
            if other is not base and _same(values, other.got[name]):
                return f"output {name!r} is the answer of {self._called(owner, turn, base)}"
        rows = [
            row for row, (a, b) in enumerate(zip(_rows(values), _rows(want), strict=True)) if not _same(a, b)
        ]
        for row in rows:
            for owner, turn, other in self._all():
                for source, part in enumerate(_rows(other.got[name])):
                    if (other is not base or source != row) and _same(_rows(values)[row], part):
                        return f"row {row} of output {name!r} is row {source} of {self._called(owner, turn, base)}"
        astray = values != want
        for owner, turn, other in self._all():
            if other is base or other.got[name].shape != want.shape:
                continue
            if np.array_equal(values[astray], other.got[name][astray]):
                count = int(np.count_nonzero(astray))
                return f"{count} elements of output {name!r} are those of {self._called(owner, turn, base)}"
        octets = np.ascontiguousarray(values[astray]).view(np.uint8).reshape(-1, values.itemsize)
        left = int(np.count_nonzero((octets == POISON).all(axis=1)))
        if left:
            return f"{left} of {values.size} elements of output {name!r} were never written"
        return f"{len(rows)} of {len(_rows(want))} rows of output {name!r} are nobody's"

    def _called(self, owner: int, turn: int, base: Base) -> str:
        if self.cases[owner][turn] is base:
            return "the same answer"
        own = any(other is base for other in self.cases[owner])
        if len(self.cases[owner]) == 1:
            return f"run {owner}"
        return f"the same thread to its inputs {turn}" if own else f"thread {owner} to its inputs {turn}"


def _rows(values: Array) -> Array:
    return values.reshape(1, -1) if values.ndim < 2 else values


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()
