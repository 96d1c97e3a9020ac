"""A timing cache that outlives builds: attached to one configuration after the other, kept as bytes between processes."""

from __future__ import annotations

import warnings
from typing import Any

from pytest_trt.errors import UnsupportedError
from pytest_trt.runtime.load import Runtime

MISS_IS_ERROR = "ERROR_ON_TIMING_CACHE_MISS"  # a builder flag, from TensorRT 10.0 on


class TimingCache:
    """Times of implementations, so that a second build picks as the first one did.

    Parameters
    ----------
    rt : Runtime
    data : bytes
        Of an earlier cache (`data`); empty for a new one.

    Notes
    -----
    Source: TensorRT API, `ITimingCache`, `IBuilderConfig::setTimingCache`: a cache belongs to one version and one GPU. With
    TensorRT-RTX all of it does nothing and is deprecated; the warnings are in `warned`.
    """

    def __init__(self, rt: Runtime, data: bytes = b"") -> None:
        self._rt = rt
        self._given = data
        self._raw: Any = None
        self.warned: list[str] = []

    def attach(self, config: Any) -> None:
        """Give the cache to a raw `IBuilderConfig`: `build_plan(rt, request, configure=cache.attach)`.

        Raises
        ------
        UnsupportedError
            TensorRT did not take it: it is of another version or another GPU, or is no timing cache.
        """
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            if self._raw is None:
                self._raw = config.create_timing_cache(self._given)
            taken = self._raw is not None and config.set_timing_cache(self._raw, False)
        self._note(seen)
        if not taken:
            raise UnsupportedError(
                f"{self._rt.title} did not take the timing cache",
                why=f"it has {len(self._given)} bytes; a cache belongs to one version of TensorRT and one GPU",
                mend="begin with an empty one: TimingCache(rt)",
            )

    def combine(self, other: TimingCache) -> bool:
        """Take the entries of another cache in; return whether TensorRT did. Both have been attached before."""
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            taken = bool(self._raw.combine(other._raw, False))
        self._note(seen)
        return taken

    @property
    def data(self) -> bytes:
        """The cache as bytes: what is not attached yet, as it was given."""
        if self._raw is None:
            return self._given
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            memory = self._raw.serialize()
        self._note(seen)
        return bytes(memory)

    def _note(self, seen: list[warnings.WarningMessage]) -> None:
        self.warned += [str(w.message) for w in seen if issubclass(w.category, DeprecationWarning)]
