"""The two ways to run an engine: `execute_v2`, which waits, and `execute_async_v3`, which must not.

Public record: TensorRT's API documentation of `IExecutionContext`: `executeV2` is synchronous, with pointers in the order of the
engine's inputs and outputs; `enqueueV3` enqueues on a stream and needs an address for each tensor; `debugSync` is for
`executeV2`; the input-consumed event fires when the input buffers may be used again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_trt.check.concurrent import describe_refusal, describe_refused_runs
from pytest_trt.check.relations import Base, Broken, compare_bits, compare_rows
from pytest_trt.check.subject import Subject
from pytest_trt.numerics.formats import Array
from pytest_trt.runtime.events import event_on
from pytest_trt.runtime.session import Session

SAME_BITS = "execute_v2 gives the bits of execute_async_v3 on exact data"
SAME = "execute_v2 gives what execute_async_v3 gives"
MIXED = "execute_v2 and execute_async_v3 take turns on one context"

EARLY = "asynchronous-returns-early"
COMPLETE = "asynchronous-completes"
SYNC_LOGGED = "debug-sync-logs-layers"
ASYNC_SILENT = "debug-sync-is-synchronous"
ASYNC_REFUSED = "missing-address-refused"
SYNC_REFUSED = "null-binding-refused"
EVENT_TAKEN = "input-event-taken"
EVENT_LATE = "input-event-waits"
EVENT_FIRED = "input-event-fires"

# How often a GPU is asked whether it is still at work right after an enqueue; once is enough.
TRIES = 20

Row = tuple[str, str | None]


def check_modes(subject: Subject, bases: Sequence[Base]) -> Iterator[tuple[str, Broken | None]]:
    """Yield each relation between the two ways to run one context, with what breaks it.

    Parameters
    ----------
    subject : Subject
    bases : sequence of Base
        Runs by `execute_async_v3`: the first on data whose results are exact, the last on real ones.
    """
    exact, real = bases[0], bases[-1]
    session = subject.session
    yield SAME_BITS, compare_bits(SAME_BITS, session.run(exact.feeds, synchronous=True), exact.got)
    yield SAME, compare_rows(SAME, session.run(real.feeds, synchronous=True), real)
    broken = None
    for synchronous, base in ((False, exact), (True, real), (False, real), (True, exact)):
        broken = broken or compare_rows(MIXED, session.run(base.feeds, synchronous=synchronous), base)
    yield MIXED, broken


def check_early(session: Session, feeds: Mapping[str, Array]) -> Iterator[Row]:
    """Yield whether `execute_async_v3` comes back before the work is done, and whether the work is done in the end.

    No clock is read. On the emulator's CPU device a piece of work that takes note of being done is enqueued before the run: an
    enqueue that has waited finds it done. On a GPU the stream is asked right behind the enqueue whether it is idle: of some
    enqueues of a long network one has to find it at work.
    """
    want = session.run(feeds)
    submit = getattr(session.stream, "submit", None)
    if submit is None:
        found, got = _watch_gpu(session, feeds)
    else:
        done: list[str] = []
        submit(lambda: done.append("the work before the run"))
        take = session.enqueue(feeds)
        found = f"the enqueue came back when {done[0]} was done" if done else None
        got = take()
    yield EARLY, found
    broken = compare_bits(COMPLETE, got, want)
    yield COMPLETE, None if broken is None else f"output {broken.tensor!r} has other bits than a run before"


def _watch_gpu(session: Session, feeds: Mapping[str, Array]) -> tuple[str | None, dict[str, Array]]:
    stream: Any = session.stream  # PyCUDA's, which can be asked
    busy, got = False, {}
    for _ in range(TRIES):
        take = session.enqueue(feeds)
        with session.memory.active():
            busy = busy or not stream.is_done()
        got = take()
        if busy:
            break
    return None if busy else f"the stream was idle behind each of {TRIES} enqueues", got


def check_debug_sync(session: Session, feeds: Mapping[str, Array]) -> Iterator[Row]:
    """Yield whether `debug_sync` has `execute_v2` log each layer, and leaves `execute_async_v3` alone."""
    quiet = _count_lines(session, feeds, synchronous=False)
    session.context.debug_sync = True
    try:
        layers, told = int(session.engine.num_layers), _count_lines(session, feeds, synchronous=True)
        few = f"execute_v2 logged {told} lines with debug_sync, the engine has {layers} layers"
        yield SYNC_LOGGED, few if told < layers else None
        loud = _count_lines(session, feeds, synchronous=False)
        more = f"execute_async_v3 logged {loud} lines with debug_sync, {quiet} without"
        yield ASYNC_SILENT, more if loud != quiet else None
    finally:
        session.context.debug_sync = False


def _count_lines(session: Session, feeds: Mapping[str, Array], *, synchronous: bool) -> int:
    with session.rt.logger.collect() as lines:
        session.run(feeds, synchronous=synchronous)
    return sum(line.severity in ("INFO", "VERBOSE") for line in lines)


def check_addresses(session: Session, shapes: Mapping[str, Sequence[int]]) -> Iterator[Row]:
    """Yield how runs that lack one address each were taken: refused, and an error logged."""
    yield ASYNC_REFUSED, describe_refusal(session, shapes) or None
    yield SYNC_REFUSED, describe_null_bindings(session, shapes) or None


def describe_null_bindings(session: Session, shapes: Mapping[str, Sequence[int]]) -> str:
    """Return how `execute_v2` took bindings of which one was null, in words; empty when each was refused and told.

    Parameters
    ----------
    session : Session
        Lends its engine; each run has a context of its own.
    shapes : mapping of str to shape
        Of the inputs.
    """
    names = [str(session.engine.get_tensor_name(at)) for at in range(int(session.engine.num_io_tensors))]

    def execute(context: Any, addresses: Mapping[str, int]) -> Any:
        return context.execute_v2([addresses.get(name, 0) for name in names])

    lacks = "with a null binding for"
    return describe_refused_runs(session, shapes, execute, ("execute_v2", "execute_v2", lacks))


def check_input_event(session: Session, feeds: Mapping[str, Array]) -> Iterator[Row]:
    """Yield whether the event of consumed inputs is taken, does not fire before they are read, and fires then.

    That it does not fire early is seen where work can be held back: on the emulator's CPU device.
    """
    session.run(feeds)
    context = session.context
    with event_on(session.rt) as event:
        taken = context.set_input_consumed_event(event.handle)
        known = int(context.get_input_consumed_event() or 0)
        wrong = f"set_input_consumed_event answered {taken!r}, and the context tells {known:#x} for {event.handle:#x}"
        yield EVENT_TAKEN, None if taken and known == event.handle else wrong
        try:
            done: list[bool] = []
            submit = getattr(session.stream, "submit", None)
            if submit is not None:
                submit(lambda: done.append(True))
            take = session.enqueue(feeds)
            early = submit is not None and not done and event.has_fired()
            take()
            yield EVENT_LATE, "it fired before the inputs were read" if early else None
            yield EVENT_FIRED, None if event.has_fired() else "it has not fired though the run is done"
        finally:
            context.set_input_consumed_event(0)
