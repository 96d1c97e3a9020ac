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
        self._numbers = itertools.count(1)
        self._streams: dict[int, _Stream] = {0: _Stream()}
        self._events: dict[int, bool] = {}
        self._stamps: dict[int, _Stamp] = {}
        self._recorded: dict[int, int] = {}  # event to the stream that it was recorded on last
        self._lock = threading.Lock()

    def create_stream(self) -> int:
        """Return the handle of a new stream, a positive integer that is never used again."""
        with self._lock:
            handle = 0x5000 + 16 * next(self._numbers)
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
        if stream.captured is not None:
            raise ExecutionError(
                f"stream {handle:#x} cannot be waited for: operation not permitted when stream is capturing"
            )
        with stream.lock:
            while stream.queue:
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

    def is_idle(self, handle: int) -> bool:
        """Return whether nothing is waiting to be done."""
        return not self._find(handle).queue

    def create_event(self) -> int:
        """Return the handle of a new event that nothing has been recorded on."""
        with self._lock:
            handle = 0xE000 + 16 * next(self._numbers)
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
        self._recorded[handle] = stream
        is_modelled = self._clock.is_modelled
        queue = self._find(stream)

        def stamp() -> None:
            self._stamps[handle] = _Stamp(queue.modelled if is_modelled else time.perf_counter(), is_modelled)
            self._events[handle] = True

        self.submit(stream, stamp)

    def wait_for(self, handle: int) -> None:
        """Do the work of the stream that an event was recorded on; nothing to do where it never was.

        Raises
        ------
        ExecutionError, UsageError
            As `synchronize`.
        """
        stream = self._recorded.get(handle)
        if stream is not None:
            self.synchronize(stream)

    def seconds_at(self, handle: int) -> float:
        """Return when a recorded event fired, on a clock that starts anywhere.

        Raises
        ------
        ExecutionError
            It was never recorded, or has not fired.
        """
        stamp = self._stamp_of(handle)
        return stamp.since(_Stamp(0, stamp.is_modelled))

    def seconds_between(self, earlier: int, later: int) -> float:
        """Return the time between two recorded events.

        Raises
        ------
        ExecutionError
            As `seconds_at`; or one tells modelled time and the other that of the host.
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
