"""What a device has given out and not got back."""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pytest_trt.errors import LeakWarning


@dataclass(frozen=True)
class Live:
    """What of one memory is alive: given out, not freed, and held by somebody.

    Attributes
    ----------
    buffers, bytes : int
        Pieces of memory of the device and their size together.
    streams, events : int
    pinned_bytes : int
        Page-locked memory of the host that is held for copies; it is kept for the next copy, so it is no leak.
    """

    buffers: int = 0
    bytes: int = 0
    streams: int = 0
    events: int = 0
    pinned_bytes: int = 0

    @property
    def words(self) -> tuple[str, ...]:
        """What somebody forgot to give back, in words; empty where all is back."""
        told = []
        if self.buffers:
            told.append(f"{self.buffers} buffer(s) of {self.bytes} bytes together")
        if self.streams:
            told.append(f"{self.streams} stream(s)")
        if self.events:
            told.append(f"{self.events} event(s)")
        return tuple(told)


class Ledger:
    """A list of what was given out.

    Things that are dropped instead of given back disappear from it too: they are no longer alive.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, weakref.WeakSet[Any]] = {
            kind: weakref.WeakSet() for kind in ("buffers", "streams", "events")
        }
        self._numbers: dict[str, set[int]] = {
            kind: set() for kind in self._held
        }  # of what takes no weak reference
        self._at_close: list[Callable[[], None]] = []

    def add(self, kind: str, thing: Any) -> None:
        """Note one of the `buffers`, `streams` or `events`."""
        with self._lock:
            try:
                self._held[kind].add(thing)
            except TypeError:
                self._numbers[kind].add(id(thing))

    def remove(self, kind: str, thing: Any) -> None:
        """Note that it was given back."""
        with self._lock:
            try:
                self._held[kind].discard(thing)
            except TypeError:
                self._numbers[kind].discard(id(thing))

    def live(self, pinned_bytes: int = 0) -> Live:
        """Return what is alive."""
        with self._lock:
            buffers = tuple(self._held["buffers"])
            streams, events = (
                len(self._held[kind]) + len(self._numbers[kind]) for kind in ("streams", "events")
            )
        return Live(len(buffers), sum(one.nbytes for one in buffers), streams, events, pinned_bytes)

    def before_close(self, act: Callable[[], None]) -> None:
        """Have something done before the device is given back, the last one first."""
        self._at_close.append(act)

    def begin_close(self) -> None:
        """Do what was to be done before the device is given back."""
        while self._at_close:
            self._at_close.pop()()

    def end_close(self, title: str) -> None:
        """Warn of what is alive now that the device was given back; the last step, since a warning may be an error."""
        words = self.live().words
        if words:
            warnings.warn(
                f"{title} is given back while {' and '.join(words)} of it are alive: close sessions, destroy streams and"
                " free buffers before",
                LeakWarning,
                stacklevel=3,
            )
