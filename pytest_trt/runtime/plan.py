"""A built plan: its bytes, and what was seen while it was built."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property

from pytest_trt.records import LayerInfo, LogLine

Layers = tuple[LayerInfo, ...]


class Plan:
    """A serialised engine.

    Attributes
    ----------
    data : bytes
        What `deserialize_cuda_engine` takes.
    log : tuple of LogLine
        Lines of the build at the level that is kept, or worse.
    seconds : float
        How long the build took; 0 when it came from the cache.
    captured : str
        What compilers printed past the logger.
    flags : frozenset of str
        Builder flags that read back as set, among those asked for and `TF32`.
    accurate : bool
        Whether the outputs mean anything: not where INT8 has dummy ranges, for a speed trial.
    """

    def __init__(
        self,
        data: bytes,
        log: tuple[LogLine, ...] = (),
        seconds: float = 0.0,
        captured: str = "",
        flags: frozenset[str] = frozenset(),
        layers: Layers | Callable[[], Layers] = (),
    ) -> None:
        self.data = data
        self.log = log
        self.seconds = seconds
        self.captured = captured
        self.flags = flags
        self.accurate = True
        self._layers = layers

    @cached_property
    def layers(self) -> Layers:
        """Layers by the build log, else by the inspector, which loads the plan at the first question."""
        return self._layers() if callable(self._layers) else self._layers

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the bytes, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def __repr__(self) -> str:
        return f"Plan({len(self.data)} bytes, {self.digest[:12]})"
