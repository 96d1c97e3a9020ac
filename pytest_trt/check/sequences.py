"""Relations between runs that follow each other: on several streams, from several threads, enqueued side by side.

What TensorRT allows is asked for, and nothing else: one context is used by one thread at a time, and its runs on two streams
are kept apart by waiting (TensorRT documentation, "Thread Safety"). Each answer is held against what a fresh context gave for
the same inputs, so that no reference is needed.

Public bugs: NVIDIA/TensorRT issue 1311 (one context on several streams), 1121, 2040, 2353 and 1367 (Python threads),
microsoft/onnxruntime issues 19275 (concurrent runs) and 32673 (a copy of the input that nobody waited for), pytorch/TensorRT
issue 2991 (a stream of its own), ultralytics/ultralytics pull request 26223 (old outputs).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from pytest_trt.check.concurrent import RARE, TURNS, run_in_threads, trials_for
from pytest_trt.check.relations import REPEAT, Base, Broken, compare_bits, compare_rows, first_broken
from pytest_trt.check.subject import Subject
from pytest_trt.errors import UsageError
from pytest_trt.numerics.formats import Array
from pytest_trt.numerics.judge import Measure
from pytest_trt.runtime.memory import Stream
from pytest_trt.runtime.session import Session

STREAMS = "one context gives the same answers on every stream, one after another"
HANDED = "a context that goes from thread to thread gives the same answers"
SIDE_BY_SIDE = "runs that are enqueued before any is waited for do not touch each other"
FOLLOWS = "each run takes the inputs that were copied before it on its stream"
REFUSED = "a run that lacks an address is refused in words, and the next one is right"
INPUTS_KEPT = "a run leaves its inputs as they are"
SEQUENCES = (STREAMS, HANDED, SIDE_BY_SIDE, FOLLOWS)

PLACES = 3  # streams, threads: the first, another one, and one more that is not merely "the other"


def fresh_bases(subject: Subject, feeds: Sequence[Mapping[str, Array]]) -> list[Base]:
    """Return one run for each set of inputs, each of a context that has never run before.

    Nothing judges the numbers; where a run follows another one, its answer must be that of the first run of a context.
    """
    bases = []
    for feed in feeds:
        with Session(subject.rt, subject.engine) as session:
            bases.append(Base(feed, session.run(feed), {}))
    return bases


def check_sequences(
    subject: Subject,
    bases: Sequence[Base],
    only: Collection[str] = (*SEQUENCES, INPUTS_KEPT),
    trials: int = trials_for(RARE),
) -> Iterator[tuple[str, Broken | None]]:
    """Yield each relation between runs that follow each other, with what breaks it.

    Parameters
    ----------
    subject : Subject
    bases : sequence of Base
        Two or more runs of contexts of its engine, no two with the same inputs.
    only : collection of str
        Names of relations to ask for.
    trials : int
        How many runs take turns in their inputs.

    Raises
    ------
    ExecutionError
        A run was not enqueued, or failed.
    UsageError
        There are fewer than two bases.
    """
    if len(bases) < 2:
        raise UsageError("runs are told apart by their inputs", why=f"{len(bases)} bases were given")
    for relation, check in (
        (STREAMS, _on_streams),
        (HANDED, _handed),
        (SIDE_BY_SIDE, _side_by_side),
        (FOLLOWS, partial(_follows, trials=trials)),
        (INPUTS_KEPT, _keeps_inputs),
    ):
        if relation in only:
            yield relation, check(subject, bases)


def check_profiles_in_turn(subject: Subject, bases: Sequence[Base]) -> Iterator[tuple[str, Broken | None]]:
    """Yield whether contexts, each made for the next profile when it is first used, give what a lone one gave.

    The order is that of NVIDIA/TensorRT issue 2648: the first, the second, the first again; then the second, and all over with
    the inputs exchanged.

    Raises
    ------
    UsageError
        The engine has one profile, or there are fewer than two bases.
    """
    profiles = int(subject.engine.num_optimization_profiles)
    if profiles < 2 or len(bases) < 2:
        raise UsageError(
            "contexts for two profiles take turns", why=f"{profiles} profile(s) and {len(bases)} base(s)"
        )
    contexts: dict[int, Session] = {}
    found: Broken | None = None
    try:
        for turn, place in enumerate((0, 1, 0, 1, 1, 0, 1, 0)):
            if place not in contexts:
                contexts[place] = Session(subject.rt, subject.engine, profile_index=place)
            base = bases[(place + turn // 4) % len(bases)]
            found = found or compare_rows(TURNS, contexts[place].run(base.feeds), base)
    finally:
        for session in contexts.values():
            session.close()
    yield TURNS, found


def check_repeats(
    subject: Subject, bases: Sequence[Base], trials: int = trials_for(RARE)
) -> Iterator[tuple[str, Broken | None]]:
    """Yield whether run after run on a stream of its own gives the bits of the first.

    Notes
    -----
    An event of one run in eight is missed once in a thousand times: 52 runs, see `check.concurrent.trials_for`.
    """
    found = (
        compare_bits(REPEAT, subject.session.run(base.feeds), base.got)
        for base in bases
        for _ in range(trials)
    )
    yield REPEAT, first_broken(found)


def _on_streams(subject: Subject, bases: Sequence[Base]) -> Broken | None:
    """Each stream, and the first one again; a run is waited for before the next goes to another stream."""
    with Session(subject.rt, subject.engine) as session:
        streams = [session.memory.create_stream() for _ in range(PLACES)]
        try:
            for turn, stream in enumerate((*streams, *streams)):
                base = bases[turn % len(bases)]
                broken = compare_rows(STREAMS, session.run(base.feeds, stream=stream), base)
                if broken is not None:
                    return broken
        finally:
            _end(session, streams)
    return None


def _end(session: Session, streams: list[Stream]) -> None:
    with session.memory.active():
        while streams:
            session.memory.destroy_stream(streams.pop())


def _handed(subject: Subject, bases: Sequence[Base]) -> Broken | None:
    """Each thread runs the context alone, while the others wait; then this thread again."""
    with Session(subject.rt, subject.engine) as session:

        def work(base: Base) -> Broken | None:
            return compare_rows(HANDED, session.run(base.feeds), base)

        for turn in range(2 * PLACES):
            base = bases[turn % len(bases)]
            broken: Broken | None = run_in_threads([partial(work, base)])[0] if turn % 2 else work(base)
            if broken is not None:
                return broken
    return None


def _side_by_side(subject: Subject, bases: Sequence[Base]) -> Broken | None:
    """Enqueue a run of every context, then take the answers in the order, and in the reverse order, of the enqueues."""
    sessions = [Session(subject.rt, subject.engine) for _ in bases]
    try:
        for backwards in (False, True):
            waiting = [session.enqueue(base.feeds) for session, base in zip(sessions, bases, strict=True)]
            places = range(len(bases))
            found: Broken | None = None
            for place in reversed(places) if backwards else places:
                found = compare_rows(SIDE_BY_SIDE, waiting[place](), bases[place]) or found
            if found is not None:
                return found
    finally:
        for session in sessions:
            session.close()
    return None


def _follows(subject: Subject, bases: Sequence[Base], trials: int) -> Broken | None:
    """Run after run on other inputs, those of another run copied before and behind it on the same stream."""
    with Session(subject.rt, subject.engine) as session:
        session.run(bases[-1].feeds)
        for turn in range(trials):
            base, other = bases[turn % len(bases)], bases[(turn + 1) % len(bases)]
            session.overwrite_inputs(other.feeds)
            take = session.enqueue(base.feeds)
            session.overwrite_inputs(other.feeds)
            broken = compare_rows(FOLLOWS, take(), base)
            if broken is not None:
                return broken
    return None


def _keeps_inputs(subject: Subject, bases: Sequence[Base]) -> Broken | None:
    with Session(subject.rt, subject.engine) as session:
        for base in bases:
            session.run(base.feeds)
            after = session.read_inputs()
            session.overwrite_inputs(base.feeds)
            for name, want in session.read_inputs().items():
                changed = np.flatnonzero(after[name] != want)
                if changed.size:
                    size = int(changed.size)
                    place = (int(changed[0]),)
                    found = Measure(want.size, want.size, want.size, bad=size, cause="bytes", index=place)
                    return Broken(INPUTS_KEPT, name, found)
    return None
