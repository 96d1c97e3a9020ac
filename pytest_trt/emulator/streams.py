"""Streams and events of the emulated device on the CPU: queues whose work is done when somebody waits for it.

Nothing that was enqueued has happened before `synchronize` of that stream is called: a caller that forgets to wait, or
waits for another stream, finds the old bytes in its buffers, every time and not once in a thousand runs. The waiting
thread does the work itself, so two threads that wait for two streams run at the same time (ONNX Runtime releases the
interpreter lock), there is no worker thread to be left behind, and Ctrl-C ends the wait.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pytest_trt.emulator.clock import Clock
from pytest_trt.errors import ExecutionError, UsageError

Work = Callable[[], None]
_UNITS_PER_SECOND = 10**15  # of modelled time
_numbers = itertools.count(1)  # of all devices: a stream of one is none of another


class _Stream:
    def __init__(self) -> None:
        self.queue: deque[Work] = deque()
        self.lock = threading.RLock()
        self.captured: list[Work] | None = None  # what a capture has recorded; None while there is none
        self.modelled = (
            0  # time of the work that is done, in whole units: equal work takes exactly equal time
        )


@dataclass(frozen=True)
class _Stamp:
    """When an event fired: in seconds on the host's clock, or in units of the modelled time of its stream."""

    time: float
    is_modelled: bool

    def since(self, earlier: _Stamp) -> float:
        """Return the seconds from another stamp of the same kind to this one."""
        return (self.time - earlier.time) / (_UNITS_PER_SECOND if self.is_modelled else 1)


class Streams:
    """The streams of one emulated device; handle 0 is the default stream, which always exists.

    Parameters
    ----------
    clock : Clock, optional
        Inside of its `modelled` events are stamped with the modelled time of their stream.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = Clock() if clock is None else clock
        self._streams: dict[int, _Stream] = {0: _Stream()}
        self._events: dict[int, bool] = {}
        self._stamps: dict[int, _Stamp] = {}
        self._recorded: dict[int, tuple[int, int]] = {}  # event to the stream and number of its last record
        self._fired: dict[int, int] = {}  # event to the number of the last record that has fired
        self._lock = threading.Lock()
        self._changed = threading.Condition()  # an event has fired, or a stream is not worked on any more

    def create_stream(self) -> int:
        """Return the handle of a new stream, a positive integer that is never used again."""
        with self._lock:
            handle = 0x5000 + 16 * next(_numbers)
            self._streams[handle] = _Stream()
        return handle

    def _find(self, handle: int) -> _Stream:
        found = self._streams.get(handle)
        if found is None:
            raise UsageError(
                f"{handle!r} is not a stream of the emulated device",
                why="it was never created, or is destroyed",
                mend="create streams with create_stream() and destroy each once, after its last use",
            )
        return found

    def is_known(self, handle: int) -> bool:
        """Return whether the handle is a live stream."""
        return handle in self._streams

    def submit(self, handle: int, work: Work) -> None:
        """Enqueue work; it is done, in order, when the stream is synchronised.

        Parameters
        ----------
        handle : int
            From `create_stream`, or 0.
        work : callable
            Takes and returns nothing. What it raises comes out of `synchronize`.
        """
        stream = self._find(handle)
        (stream.queue if stream.captured is None else stream.captured).append(work)

    def spend(self, handle: int, seconds: float) -> None:
        """Move the modelled time of a stream on; called by work of the stream."""
        self._find(handle).modelled += round(seconds * _UNITS_PER_SECOND)

    def begin_capture(self, handle: int) -> None:
        """Record what is enqueued from now on, and do not do it: the capture of a CUDA graph.

        Raises
        ------
        UsageError
            There is no such stream, it is the default one, or it is recorded already.
        """
        stream = self._find(handle)
        if handle == 0 or stream.captured is not None:
            raise UsageError(
                f"stream {handle:#x} cannot be captured", why="it is the default one, or is captured already"
            )
        stream.captured = []

    def is_capturing(self, handle: int) -> bool:
        """Return whether what is enqueued is recorded and not done."""
        return self._find(handle).captured is not None

    def end_capture(self, handle: int) -> list[Work]:
        """Return what was recorded; `submit` starts it again as often as wanted.

        Raises
        ------
        UsageError
            There is no such stream, or it is not recorded.
        """
        stream = self._find(handle)
        if stream.captured is None:
            raise UsageError(f"stream {handle:#x} is not captured")
        recorded, stream.captured = stream.captured, None
        return recorded

    def synchronize(self, handle: int) -> None:
        """Do all that was enqueued, in this thread, and return when it is done.

        Raises
        ------
        ExecutionError
            Work of the stream failed; what came after it is dropped, and the stream can be used again. Or it is captured.
        UsageError
            There is no such stream; or work of it was used wrongly, for instance by a fault.
        """
        stream = self._find(handle)
        self._refuse_captured(handle, stream)
        try:
            with stream.lock:
                self._work(handle, stream)
        finally:
            self._tell()

    @staticmethod
    def _refuse_captured(handle: int, stream: _Stream) -> None:
        if stream.captured is not None:
            raise ExecutionError(
                f"stream {handle:#x} cannot be waited for: operation not permitted when stream is capturing"
            )

    def _work(self, handle: int, stream: _Stream, until: Callable[[], bool] = lambda: False) -> None:
        """Do what is enqueued on a stream whose lock this thread has, one after the other."""
        while stream.queue and not until():
            work = stream.queue.popleft()
            try:
                work()
            except UsageError:
                stream.queue.clear()
                raise
            except Exception as error:
                stream.queue.clear()
                raise ExecutionError(
                    f"work on stream {handle:#x} failed: {error}", why=f"{type(error).__name__}"
                ) from error

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def is_idle(self, handle: int) -> bool:
        """Return whether nothing is waiting to be done."""
        return not self._find(handle).queue

    def create_event(self) -> int:
        """Return the handle of a new event that nothing has been recorded on."""
        with self._lock:
            handle = 0xE000 + 16 * next(_numbers)
            self._events[handle] = False
        return handle

    def is_event(self, handle: int) -> bool:
        """Return whether the handle is a live event."""
        return handle in self._events

    def reset_event(self, handle: int) -> None:
        """Make an event wait for what has just been enqueued."""
        self._events[handle] = False

    def fire(self, handle: int) -> None:
        """Tell that what an event waits for is done."""
        self._events[handle] = True

    def record_event(self, handle: int, stream: int) -> None:
        """Let an event fire, and note the time, once all that is enqueued on a stream is done.

        Inside of `Clock.modelled` the time is that of the stream, else that of the host.

        Raises
        ------
        UsageError
            There is no such event or stream.
        """
        if handle not in self._events:
            raise UsageError(f"{handle!r} is not an event of the emulated device")
        self._events[handle] = False
        number = next(_numbers)
        self._recorded[handle] = (stream, number)
        is_modelled = self._clock.is_modelled
        queue = self._find(stream)

        def stamp() -> None:
            if handle in self._events:
                now = queue.modelled if is_modelled else time.perf_counter()
                self._stamps[handle] = _Stamp(now, is_modelled)
                self._fired[handle] = max(number, self._fired.get(handle, 0))
                self._events[handle] = (
                    number == self._recorded[handle][1]
                )  # not if it was recorded again since
                self._tell()

        self.submit(stream, stamp)

    def hold(self, stream: int, event: int) -> None:
        """Let what is enqueued on a stream from now on wait for an event as it is recorded now; nobody waits on the host.

        In modelled time the stream goes on when the event has fired at the earliest.
        """
        recorded = self._recorded.get(event)
        if recorded is None:
            return  # as with CUDA: one that was never recorded holds nobody
        queue = self._find(stream)

        def follow() -> None:
            self._wait(event, *recorded)
            stamp = self._stamps.get(event)
            if stamp is not None and stamp.is_modelled:
                queue.modelled = max(queue.modelled, int(stamp.time))

        self.submit(stream, follow)

    def wait_for(self, handle: int) -> None:
        """Do the work of the stream that an event was recorded on; nothing to do where it never was.

        Raises
        ------
        ExecutionError, UsageError
            As `synchronize`.
        """
        recorded = self._recorded.get(handle)
        if recorded is not None:
            self._wait(handle, *recorded)

    def _wait(self, event: int, number: int, record: int) -> None:
        """Do the work of a stream until one record of an event has fired; while another thread does it, wait for that one.

        Threads whose streams wait for events of each other so never wait for each other's locks.
        """

        def is_over() -> bool:
            return event not in self._events or self._fired.get(event, 0) >= record

        stream = self._streams.get(number)
        has_lock = False
        with self._changed:
            while stream is not None and not is_over():
                has_lock = stream.lock.acquire(blocking=False)
                if has_lock:
                    break
                self._changed.wait()
        if stream is None or not has_lock:
            return
        try:
            self._refuse_captured(number, stream)
            self._work(number, stream, is_over)  # work that was dropped fires nothing
        finally:
            stream.lock.release()
            self._tell()

    def seconds_between(self, earlier: int, later: int) -> float:
        """Return the time between two recorded events.

        Raises
        ------
        ExecutionError
            One was never recorded, or has not fired; or one tells modelled time and the other that of the host.
        """
        first, last = self._stamp_of(earlier), self._stamp_of(later)
        if first.is_modelled != last.is_modelled:
            raise ExecutionError(
                f"there is no time between event {earlier:#x} and event {later:#x}",
                why="one was recorded in modelled time, the other on the clock of the host",
                mend="record both inside of one `emulated_clock.modelled()` block, or both outside",
            )
        return last.since(first)

    def _stamp_of(self, handle: int) -> _Stamp:
        found = self._stamps.get(handle)
        if not self._events.get(handle) or found is None:
            raise ExecutionError(f"event {handle:#x} has no time: it was not recorded, or has not fired")
        return found

    def has_fired(self, handle: int) -> bool:
        """Return whether what an event waits for is done.

        Raises
        ------
        UsageError
            There is no such event.
        """
        if handle not in self._events:
            raise UsageError(f"{handle!r} is not an event of the emulated device")
        return self._events[handle]

    def destroy_event(self, handle: int) -> None:
        """Destroy an event."""
        self._events.pop(handle, None)
        self._stamps.pop(handle, None)
        self._recorded.pop(handle, None)
        self._fired.pop(handle, None)

    def destroy(self, handle: int) -> None:
        """Destroy a stream; work that nobody waited for is dropped.

        Raises
        ------
        UsageError
            There is no such stream, or it is the default one.
        """
        self._find(handle)
        if handle == 0:
            raise UsageError("the default stream cannot be destroyed")
        with self._lock:
            self._streams.pop(handle).queue.clear()
