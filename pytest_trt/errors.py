"""Errors of the package: each says what is wrong, why it is so, and how to mend it.

A leaf: imports nothing of the package.
"""

from __future__ import annotations

from collections.abc import Sequence


class TrtError(Exception):
    """Base of every error that the package raises on purpose.

    Parameters
    ----------
    what : str
        The verdict, one line; it must make sense alone.
    why : str or sequence of str, optional
        Evidence, one fact a line.
    mend : str, optional
        What the reader can do about it.
    """

    def __init__(self, what: str, *, why: str | Sequence[str] = (), mend: str | None = None) -> None:
        self.what = what
        self.why = (why,) if isinstance(why, str) else tuple(why)
        self.mend = mend
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what, *(f"  why    {line}" for line in self.why)]
        if self.mend:
            lines.append(f"  mend   {self.mend}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.why, self.mend))


def _rebuild(kind: type[TrtError], what: str, why: tuple[str, ...], mend: str | None) -> TrtError:
    return kind(what, why=why, mend=mend)


class SettingsError(TrtError):
    """An option, ini key, environment variable or marker has a value that cannot be used."""


class RuntimeMissingError(TrtError):
    """The TensorRT that was asked for is not installed, or its library does not load."""


class ModelError(TrtError):
    """The model is missing, is not ONNX, or is not a valid ONNX model."""


class InputError(TrtError):
    """Inputs have a wrong name, shape or dtype, or are missing."""


class ProfileError(InputError):
    """A shape lies outside the optimization profile, or a dynamic dimension has no profile."""


class UnsupportedError(TrtError):
    """TensorRT refused the model or the settings, in words; `why` holds its words."""


class PrecisionError(TrtError):
    """The precision asked for cannot be had, or is not the one that ran."""


class ExecutionError(TrtError):
    """TensorRT reported a failure at run time, or a return code said that it did not run."""


class UsageError(TrtError):
    """The API was called in a way that it does not allow, for instance one context in two threads."""


class ConformanceError(TrtError, AssertionError):
    """The output of an engine is not one that a correct kernel could have given.

    `verdict` is the `Verdict` that says so, where there is one.
    """

    verdict: object = None

    def __str__(self) -> str:
        # The lines of evidence name themselves: worst, rule, bad, where.
        mend = [f"mend   {self.mend}"] if self.mend else []
        return "\n  ".join([self.what, *self.why, *mend])


class NotEmulated(TrtError):
    """A real TensorRT name that the emulator does not play."""


class TrtWarning(UserWarning):
    """Base of the warnings of this package."""


class SuspiciousWarning(TrtWarning):
    """A result is inside the hard limit and outside the statistical one."""


class CalibrationError(TrtError):
    """A calibration table, or the data that one is made from, cannot be used."""


class CalibrationWarning(TrtWarning):
    """Calibration data, or the ranges made from them, look wrong; an audit says which and why."""


class FallbackWarning(TrtWarning):
    """A builder that was free to choose used the precision asked for in no layer."""


class GoldenError(TrtError):
    """A golden cannot be read, written or used: it is damaged, of another schema, too large, or not one at all."""


class GoldenMissing(GoldenError):
    """There is no golden of that key in the store."""


class OutOfMemoryError(ExecutionError):
    """A device, or the host for pinned memory, has no room for what was asked."""


class DeviceLostError(ExecutionError):
    """CUDA reported an error that no later call of this process survives; a fresh process is needed."""


class DriverError(RuntimeMissingError):
    """CUDA's driver is missing or does not go with what calls it, or the device that was asked for is not there."""


class LeakWarning(TrtWarning):
    """Memory, streams or events were still alive when their device was given back."""


class UnreliableWarning(TrtWarning):
    """A time was measured that cannot be relied on; the message says why."""
