"""What a builder configuration is given: optimization profiles and timing caches."""

from __future__ import annotations

from typing import Any

from pytest_trt.emulator.bound import Bound
from pytest_trt.emulator.reporting import Reporter


class Profile(Bound):
    """An optimization profile: (min, opt, max) shapes by input name."""

    _reporter: Reporter

    def _setup(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._shapes: dict[str, tuple[tuple[int, ...], ...]] = {}
        self._values: dict[str, tuple[tuple[int, ...], ...]] = {}
        self._extra = 1.0
        self._stream = 0

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        """Set the shapes of an input; they are checked when the profile is added."""
        self._shapes[input] = tuple(tuple(int(v) for v in shape) for shape in (min, opt, max))

    def get_shape(self, input: str) -> list[Any]:
        """Return [min, opt, max], or an empty list with a logged error."""
        if input not in self._shapes:
            self._reporter.error(
                "INVALID_CONFIG",
                "IOptimizationProfile::getDimensions",
                f"Cannot get dimensions for input: {input}. Input is not present in this OptimizationProfile",
            )
            return []
        return [self._host.dims(shape) for shape in self._shapes[input]]

    def set_shape_input(self, input: str, min: Any, opt: Any, max: Any) -> None:
        """Set the values of a shape input."""
        self._values[input] = tuple(tuple(int(v) for v in value) for value in (min, opt, max))

    def get_shape_input(self, input: str) -> list[list[int]]:
        """Return [min, opt, max] of a shape input, or an empty list."""
        return [list(value) for value in self._values.get(input, ())]

    @property
    def extra_memory_target(self) -> float:
        """Share of extra memory that the builder may use."""
        return self._extra

    @extra_memory_target.setter
    def extra_memory_target(self, value: float) -> None:
        self._extra = float(value)

    @property
    def profile_stream(self) -> int:
        """The stream on which this profile is timed."""
        return self._stream

    @profile_stream.setter
    def profile_stream(self, value: int) -> None:
        self._stream = value

    def _bad_inputs(self) -> list[str]:
        bad = []
        for name, (low, mid, high) in (*self._shapes.items(), *self._values.items()):
            same = len(low) == len(mid) == len(high)
            if not same or not all(a <= b <= c for a, b, c in zip(low, mid, high, strict=True)):
                bad.append(name)
        return bad

    def __bool__(self) -> bool:
        bad = self._bad_inputs()
        if bad:
            self._reporter.error(
                "INVALID_CONFIG",
                "IOptimizationProfile::isValid",
                f"Invalid optimization profiles for input tensors {', '.join(bad)}, please ensure that the"
                " optimization profiles satisfy MIN<=OPT<=MAX.",
            )
        return not bad


class TimingCache(Bound):
    """A timing cache: times of implementations by layer, under a header of version and compute capability."""

    _header: str
    _entries: dict[str, str]

    def _setup(self, header: str, entries: dict[str, str]) -> None:
        self._header = header
        self._entries = entries

    def _warn(self) -> None:
        if self._host.is_rtx:
            self._host.warn_deprecated("Timing caches are deprecated in TensorRT-RTX; the call does nothing.")

    def serialize(self) -> Any:
        """Return the cache as host memory."""
        self._warn()
        lines = (f"{key} {times}" for key, times in sorted(self._entries.items()))
        return self._host.memory("\n".join([self._header, *lines]).encode())

    def combine(self, input_cache: Any, ignore_mismatch: bool) -> bool:
        """Take the entries of another cache in; those that are here stay."""
        self._warn()
        if input_cache._header != self._header and not ignore_mismatch:
            return False
        self._entries = {**input_cache._entries, **self._entries}
        return True

    def reset(self) -> bool:
        """Drop all entries."""
        self._warn()
        self._entries = {}
        return True
