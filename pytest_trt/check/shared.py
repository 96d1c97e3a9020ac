"""One context that two threads want at once: the second is refused, and the first is not disturbed.

A context is used by one thread at a time (TensorRT documentation, "Thread Safety"); what TensorRT would answer otherwise is
undefined, so nothing of it is ever asked: a session has to refuse first, and to say who has the context.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from pytest_trt.check.named import Checked
from pytest_trt.check.relations import Base, compare_rows
from pytest_trt.errors import UsageError
from pytest_trt.numerics.formats import Array
from pytest_trt.runtime.session import Session

REFUSED = "shared-context-refused"
NAMED = "refusal-names-both-threads"
UNDISTURBED = "owner-undisturbed"

LIMIT_SECONDS = 60.0


class _Slow:
    """An input that tells when a session reads it, and is not there before it may be."""

    def __init__(self, values: Array) -> None:
        self.values = values
        self.asked, self.given = threading.Event(), threading.Event()
        self.was_read = False

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        self.was_read = True
        self.asked.set()
        self.given.wait(LIMIT_SECONDS)
        return self.values if dtype is None else self.values.astype(dtype)


def check_shared(session: Session, base: Base) -> Iterator[Checked]:
    """Yield whether a session refuses a second thread while one runs, names both, and goes on as if nothing had been.

    Parameters
    ----------
    session : Session
        Used by nobody else.
    base : Base
        Inputs, and the answer to them.
    """
    session.run(base.feeds)
    name, values = next(iter(base.feeds.items()))
    slow = _Slow(values)
    ended: list[Any] = []

    def own() -> None:
        try:
            ended.append(session.run({**base.feeds, name: slow}))
        except Exception as error:  # whatever it is, it is told by the check that asks how the run ended
            ended.append(error)
        finally:
            slow.asked.set()  # a run that ends without its inputs is not waited for

    owner = threading.Thread(target=own)
    owner.start()
    try:
        slow.asked.wait(LIMIT_SECONDS)
        uses = {
            "run": lambda: session.run(base.feeds),
            "enqueue": lambda: session.enqueue(base.feeds),
            "launch": session.launch,
        }
        refusals = {what: _refusal(use) for what, use in uses.items() if slow.was_read}
    finally:
        slow.given.set()
        owner.join()
    if not slow.was_read:
        yield REFUSED, f"the first thread did not get to its inputs: {ended}"
        return
    taken = [what for what, words in refusals.items() if words is None]
    if taken:
        yield REFUSED, f"{', '.join(taken)} of a second thread was taken while the first one ran"
        return
    yield REFUSED, None
    ids = (threading.get_ident(), owner.ident)
    silent = [words for words in refusals.values() if words and not all(f"thread {i} " in words for i in ids)]
    yield NAMED, f"threads {ids[0]} and {ids[1]} are not both named: {silent[0]}" if silent else None
    yield UNDISTURBED, _disturbed(ended[0], base) or _disturbed(session.run(base.feeds), base)


def _refusal(use: Callable[[], Any]) -> str | None:
    try:
        use()
    except UsageError as error:
        return f"{error} "
    return None


def _disturbed(got: Any, base: Base) -> str | None:
    if isinstance(got, Exception):
        return f"the run was not finished: {got}"
    broken = compare_rows(UNDISTURBED, got, base)
    return None if broken is None else f"output {broken.tensor!r} has {broken.measure.bad} wrong elements"
