"""Relations between the contexts of one engine: taking turns, in threads, on streams of their own, made and thrown away.

One engine may be used by many contexts at once, one context by one thread at a time (TensorRT documentation, "Thread
Safety"). Each answer is held against what a lone context gave for the same inputs, so that no reference is needed; the inputs
differ from context to context, so that an answer that went astray shows.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from pytest_trt.check.relations import Base, Broken, compare_bits, compare_rows, first_broken
from pytest_trt.check.subject import Subject
from pytest_trt.errors import UsageError
from pytest_trt.runtime.log import errors_in
from pytest_trt.runtime.session import POISON, Session

WRITTEN = "every element of every output is written"
SYNCHRONOUS = "execute_v2 gives what execute_async_v3 gives"
TURNS = "contexts that take turns do not touch each other"
THREADS = "threads with a context and a stream each get their own answers"
CHURN = "contexts made and destroyed under load change nothing"

# A cross-talk of one run in eight is to be seen but for one time in a thousand.
RARE = 1 / 8
MISSED = 1e-3
OTHER_POISON = 0x3C
# More contexts than any of the reported limits on how many one engine had had.
CHURNED = 12


def trials_for(probability: float, missed: float = MISSED) -> int:
    """Return how many runs see an event of this probability at least once, but for a share `missed`.

    Raises
    ------
    UsageError
        A number does not lie between 0 and 1.

    Notes
    -----
    n independent runs miss it with (1 - p)**n, so n >= ln(missed) / ln(1 - p): 52 for p = 1/8, 66 for 1/10, 688 for 1/100.
    """
    if not (0 < probability < 1 and 0 < missed < 1):
        raise UsageError(
            f"no number of trials sees an event of probability {probability!r} but for {missed!r}",
            why="both lie between 0 and 1",
        )
    return math.ceil(math.log(missed) / math.log1p(-probability))


def check_contexts(
    subject: Subject, bases: Sequence[Base], trials: int = trials_for(RARE)
) -> Iterator[tuple[str, Broken | None]]:
    """Yield each relation between contexts of one engine, with what breaks it.

    Parameters
    ----------
    subject : Subject
        Its own context is the lone one; it is not used while others run.
    bases : sequence of Base
        Two or more runs of the lone context, no two with the same inputs. There are as many further contexts; an engine with
        several profiles gives each one of its own, from the second on.
    trials : int
        Runs in threads, all threads together, while another context has answers to lose.

    Raises
    ------
    ExecutionError
        A run was not enqueued, or failed.
    UsageError
        There are fewer than two bases.
    """
    if len(bases) < 2:
        raise UsageError("contexts are told apart by their inputs", why=f"{len(bases)} bases were given")
    yield WRITTEN, _written(subject, bases)
    yield (
        SYNCHRONOUS,
        first_broken(
            compare_bits(SYNCHRONOUS, subject.session.run(b.feeds, synchronous=True), b.got) for b in bases
        ),
    )
    sessions: list[Session] = []
    try:
        for place in range(len(bases)):
            sessions.append(open_session(subject, place))
        yield TURNS, _take_turns(sessions, bases)
        yield THREADS, _in_threads(sessions, bases, math.ceil(trials / len(sessions)))
        sessions.pop().close()
        yield CHURN, _churn(subject, sessions, bases)
    finally:
        for session in sessions:
            session.close()


def open_session(subject: Subject, place: int) -> Session:
    """Return a session on a context of its own, on an optimization profile of its own where the engine has enough of them.

    TensorRT up to 8.6 wants one profile for each context with dynamic shapes (TensorRT documentation, "Optimization Profiles").
    """
    profiles = int(subject.engine.num_optimization_profiles)
    return Session(subject.rt, subject.engine, profile_index=(place + 1) % profiles if profiles > 1 else 0)


def _written(subject: Subject, bases: Sequence[Base]) -> Broken | None:
    """Run on two poisons: what the engine does not write differs, also where NaN is a right answer."""
    runs = [subject.session.run(bases[0].feeds, poison=poison) for poison in (POISON, OTHER_POISON)]
    return compare_bits(WRITTEN, runs[1], runs[0]) or compare_bits(WRITTEN, runs[0], bases[0].got)


def _take_turns(sessions: Sequence[Session], bases: Sequence[Base]) -> Broken | None:
    """First context, second, first again and so on; in the second round each context gets the inputs of its neighbour."""
    for shift in (0, 0, 1):
        for place, session in enumerate(sessions):
            for owner, base in ((sessions[0], bases[0]), (session, bases[(place + shift) % len(bases)])):
                broken = compare_rows(TURNS, owner.run(base.feeds), base)
                if broken is not None:
                    return broken
    return None


def _in_threads(sessions: Sequence[Session], bases: Sequence[Base], runs: int) -> Broken | None:
    start = threading.Barrier(len(sessions), timeout=60)

    def work(place: int) -> Broken | None:
        start.wait()
        for _ in range(runs):
            broken = compare_rows(THREADS, sessions[place].run(bases[place].feeds), bases[place])
            if broken is not None:
                return broken
        return None

    return first_broken(run_in_threads([partial(work, place) for place in range(len(sessions))]))


def _churn(subject: Subject, sessions: Sequence[Session], bases: Sequence[Base]) -> Broken | None:
    """Make, use and destroy contexts while the others run."""
    done = threading.Event()

    def load(place: int) -> Broken | None:
        while True:
            broken = compare_rows(CHURN, sessions[place].run(bases[place].feeds), bases[place])
            if broken is not None or done.is_set():
                return broken

    def churn() -> Broken | None:
        try:
            for _ in range(CHURNED):
                with open_session(subject, len(sessions)) as session:
                    broken = compare_rows(CHURN, session.run(bases[-1].feeds), bases[-1])
                if broken is not None:
                    return broken
            return None
        finally:
            done.set()

    steady = [partial(load, place) for place in range(len(sessions))]
    return first_broken(run_in_threads([churn, *steady]))


def describe_refusal(session: Session, shapes: Mapping[str, Sequence[int]]) -> str:
    """Return how an engine took runs that lacked one address each, in words; empty when each was refused and told.

    Parameters
    ----------
    session : Session
        Lends its engine and stream; each run has a context of its own.
    shapes : mapping of str to shape
        Of the inputs.
    """

    def enqueue(context: Any, addresses: Mapping[str, int]) -> Any:
        for name, address in addresses.items():
            context.set_tensor_address(name, address)
        answer = context.execute_async_v3(session.stream.handle)
        session.stream.synchronize()
        return answer

    lacks = "without an address for"
    return describe_refused_runs(session, shapes, enqueue, ("execute_async_v3", "the enqueue", lacks))


def describe_refused_runs(
    session: Session,
    shapes: Mapping[str, Sequence[int]],
    run: Callable[[Any, Mapping[str, int]], Any],
    words: tuple[str, str, str],
) -> str:
    """Return how runs were taken that lacked the address of one tensor each, in words; empty when each was refused and told.

    Parameters
    ----------
    session : Session
        Lends its engine; each run has a context of its own.
    shapes : mapping of str to shape
        Of the inputs.
    run : callable
        Runs a context with the addresses of all other tensors, and returns what TensorRT answered.
    words : tuple of str
        Who answers, what is refused, and how it lacks the tensor.
    """
    who, refused, lacks = words
    infos = session.inputs | session.outputs
    complaints = []
    for lacking in infos:
        with session.rt.logger.collect() as lines, session.memory.active():
            context = session.engine.create_execution_context()
            for name, shape in shapes.items():
                context.set_input_shape(name, tuple(shape))
            buffers = {
                name: session.memory.alloc(info.nbytes(tuple(int(n) for n in context.get_tensor_shape(name))))
                for name, info in infos.items()
                if name != lacking
            }
            answer = run(context, {name: buffer.address for name, buffer in buffers.items()})
            del context
            for buffer in buffers.values():
                session.memory.free(buffer)
        if answer:
            complaints.append(f"{who} answered {answer!r} {lacks} {lacking!r}")
        elif not errors_in(lines):
            complaints.append(f"{refused} {lacks} {lacking!r} was refused, and no error logged")
    return "; ".join(complaints)


def run_in_threads(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """Return what each work gave, in order, all run at once in threads of their own; raises what the first one raised."""
    results: list[Any] = [None] * len(works)
    errors: list[BaseException | None] = [None] * len(works)

    def run(place: int) -> None:
        try:
            results[place] = works[place]()
        except BaseException as error:
            errors[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        if error is not None:
            raise error
    return results
