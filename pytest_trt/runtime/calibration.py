"""Implicit INT8, up to TensorRT 10.16: any iterable of batches as a calibrator, with its table read and written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pytest_trt.errors import CalibrationError, SettingsError, TrtError, UnsupportedError
from pytest_trt.precision.progress import Progress
from pytest_trt.precision.tables import ALGORITHMS, CalibrationTable
from pytest_trt.runtime.batches import Batch, Batches, Inputs
from pytest_trt.runtime.constraints import check_implicit
from pytest_trt.runtime.features import members
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.memory import Buffer

_CLASSES = {
    "entropy2": "IInt8EntropyCalibrator2",
    "minmax": "IInt8MinMaxCalibrator",
    "entropy": "IInt8EntropyCalibrator",
    "legacy": "IInt8LegacyCalibrator",
}


def table_product(rt: Runtime) -> str:
    """Return what a table that this runtime writes begins with: `TRT`, or `emulator`."""
    return "emulator" if rt.emulated else "TRT"


def read_cache(rt: Runtime, cache: bytes, algorithm: str | None = None) -> CalibrationTable:
    """Return the table in a cache, if this runtime may use it.

    Parameters
    ----------
    rt : Runtime
        Who is to read it.
    cache : bytes
        What a calibrator was given to keep.
    algorithm : str, optional
        A key of `ALGORITHMS` that must have made it.

    Raises
    ------
    CalibrationError
        It is no table, another version of TensorRT wrote it, or another algorithm made it.
    """
    table = CalibrationTable.parse(cache)
    table.check_version(table_product(rt), rt.version)
    if algorithm is not None:
        table.check_algorithm(algorithm)
    return table


class Calibrator:
    """Feeds TensorRT's calibration from batches that are read one at a time into one set of buffers.

    TensorRT drops what a callback raises and goes on with what it has. Here a failure ends the calibration, is kept in
    `problems`, and comes out of `check()` or `watched()`.

    Attributes
    ----------
    raw : IInt8Calibrator
        What `build_plan(..., calibrator=...)` takes. It lives no longer than this object.
    algorithm : str
        A key of `ALGORITHMS`.
    written : bytes
        The table that TensorRT gave to keep; empty before, and where the data failed.
    batches_given : int
        How many batches TensorRT took.
    problems : list of BaseException
        What went wrong in callbacks, first things first.
    """

    raw: Any

    def __init__(
        self,
        rt: Runtime,
        batches: Iterable[Batch],
        algorithm: str,
        cache: bytes | None,
        progress: Progress | None,
        inputs: Inputs | None,
    ) -> None:
        assert rt.memory is not None
        self.algorithm = algorithm
        self.written = b""
        self.batches_given = 0
        self.problems: list[BaseException] = []
        self._memory, self._cache, self._progress = rt.memory, cache, progress
        self._buffers: dict[str, Buffer] = {}
        self._batches = Batches(batches, inputs, "INT64" in members(rt.trt.DataType))
        if cache is None:
            self._batches.look()

    def table(self) -> CalibrationTable:
        """Return the table of this calibration: the one that was written, else the cache that was offered.

        Raises
        ------
        CalibrationError
            There is none yet, or it is no table.
        """
        data = self.written or self._cache
        if data is None:
            raise CalibrationError("TensorRT has given no calibration table", mend="build first")
        return CalibrationTable.parse(data)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name to shape of the first batch; empty where a cache was offered and nothing is read yet."""
        return {name: array.shape for name, array in (self._batches.first or {}).items()}

    @property
    def used_cache(self) -> bool:
        """True when a cache was offered and TensorRT asked for no batch."""
        return self._cache is not None and self.batches_given == 0

    def check(self) -> None:
        """Raise the first problem that a callback had.

        Raises
        ------
        CalibrationError
            The data cannot be used, or raised something of their own, which is its cause.
        """
        if self.problems:
            raise _told(self.problems[0], self.batches_given)

    @contextmanager
    def watched(self) -> Iterator[Calibrator]:
        """A block for the build: a problem of the data comes out in place of TensorRT's failure, or of its success."""
        failed: Exception | None = None
        try:
            yield self
        except Exception as error:
            failed = error
        self.check()  # outside of the handler: the cause is what the data raised, and not TensorRT's failure
        if failed is not None:
            raise failed

    def close(self) -> None:
        """Free the buffers and let `raw` go; the build must be over."""
        self.raw = None
        while self._buffers:
            _, buffer = self._buffers.popitem()
            self._memory.free(buffer)

    def __enter__(self) -> Calibrator:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # What TensorRT asks for. Nothing may leave these but an answer.

    def batch_size(self) -> int:
        """Return the first extent of the first input; TensorRT with an explicit batch only wants it to be positive."""
        return next((shape[0] for shape in self.shapes.values() if shape), 1)

    def next_batch(self, names: Iterable[str]) -> list[int] | None:
        """Return the addresses of the next batch, one an input in TensorRT's order; None at the end."""
        if self.problems:
            return None
        try:
            return self._feed(list(names))
        except BaseException as error:  # TensorRT would drop it, KeyboardInterrupt included
            self.problems.append(error)
            return None

    def offered_cache(self) -> bytes | None:
        """Return the cache, or None."""
        return self._cache

    def keep_table(self, cache: Any) -> None:
        """Keep a copy of the table that TensorRT gives, unless the data failed."""
        try:
            if not self.problems:
                self.written = bytes(memoryview(cache))
        except BaseException as error:
            self.problems.append(error)

    def _feed(self, names: list[str]) -> list[int] | None:
        batch = self._batches.take()
        if batch is None:
            if self._progress is not None:
                self._progress(self.batches_given, self.batches_given)
            return None
        lacking = [name for name in names if name not in batch]
        if lacking:
            raise CalibrationError(
                f"batch {self.batches_given} lacks input {lacking[0]!r}",
                why=f"it has {', '.join(sorted(batch)) or 'nothing'}; the network reads {', '.join(names)}",
            )
        with self._memory.active():
            self._upload({name: batch[name] for name in names})
        self.batches_given += 1
        if self._progress is not None:
            self._progress(self.batches_given, self._batches.total)
        return [self._buffers[name].address for name in names]

    def _upload(self, arrays: Batch) -> None:
        """Copy a batch to the buffers, which the first one makes; a stream of its own frees the staging memory at once."""
        stream = self._memory.create_stream()
        try:
            for name, array in arrays.items():
                if name not in self._buffers:
                    self._buffers[name] = self._memory.alloc(array.nbytes)
                self._memory.upload(self._buffers[name], array, stream)
            self._memory.settle(stream)
        finally:
            self._memory.destroy_stream(stream)


def _told(problem: BaseException, number: int) -> BaseException:
    """Return a problem as it is to be raised; what is no error of ours gets one around it, with itself as the cause."""
    if isinstance(problem, TrtError) or not isinstance(problem, Exception):
        return problem
    told = CalibrationError(
        f"the calibration data failed at batch {number}: {type(problem).__name__}: {problem}",
        mend="iterate over them without TensorRT to see where",
    )
    told.__cause__ = problem
    return told


def make_calibrator(
    rt: Runtime,
    batches: Iterable[Batch],
    *,
    algorithm: str = "entropy2",
    cache: bytes | None = None,
    check_cache: bool = True,
    progress: Progress | None = None,
    quantile: float = 0.9999,
    regression_cutoff: float = 1.0,
    inputs: Inputs | None = None,
) -> Calibrator:
    """Return a calibrator for implicit INT8.

    Parameters
    ----------
    rt : Runtime
        Who builds and executes the calibration.
    batches : iterable of mapping of str to ndarray
        Every input of the network for each batch, all of one shape; where inputs are dynamic, that is the opt shape of the
        first profile. Read lazily and once; names that are no inputs do not matter. With `cache`, batches are read only
        if TensorRT asks in spite of it.
    algorithm : str
        `entropy2` (TensorRT's own advice for CNNs), `minmax` (for NLP), `entropy`, or `legacy` (a quantile).
    cache : bytes, optional
        A table to use in place of the batches.
    check_cache : bool
        Refuse a cache of another version or algorithm before the build. Without, TensorRT is to judge it.
    progress : callable(done, total), optional
        Called after each batch; total is None where nobody knows. `precision.progress.terminal_progress` is one.
    quantile, regression_cutoff : float
        Of `legacy`: which part of the distribution is kept, within (0, 1]; and its cut-off.
    inputs : mapping of str to (shape, dtype), optional
        What the network reads; a batch that does not fit is refused. -1 is any extent.

    Raises
    ------
    CalibrationError
        There is no batch, the first one cannot be used, or the cache is another version's or algorithm's.
    SettingsError
        An unknown algorithm, or a quantile out of range.
    UnsupportedError
        This TensorRT has no calibrators, or cannot execute here.
    """
    if algorithm not in _CLASSES:
        raise SettingsError(
            f"unknown calibration algorithm {algorithm!r}", why=f"good ones are {', '.join(ALGORITHMS)}"
        )
    if not (0 < quantile <= 1 and 0 < regression_cutoff <= 1):
        raise SettingsError(
            f"quantile {quantile!r} and regression_cutoff {regression_cutoff!r} must lie within (0, 1]"
        )
    check_implicit(rt)
    if rt.memory is None:
        raise UnsupportedError(
            f"{rt.title} cannot execute here, so it cannot calibrate", mend="--trt-int8=explicit"
        )
    if cache is not None and check_cache:
        read_cache(rt, cache, algorithm)
    made = Calibrator(rt, batches, algorithm, cache, progress, inputs)
    made.raw = _raw(rt.trt, made, quantile, regression_cutoff)
    return made


def _raw(trt: Any, feed: Calibrator, quantile: float, regression_cutoff: float) -> Any:
    """Return the object that TensorRT calls; its class is made here because each TensorRT has its own base."""
    base = getattr(trt, _CLASSES[feed.algorithm])

    def start(this: Any) -> None:
        base.__init__(this)

    def get_batch_size(this: Any) -> int:
        return feed.batch_size()

    def get_batch(this: Any, names: Iterable[str]) -> list[int] | None:
        return feed.next_batch(names)

    def read_calibration_cache(this: Any) -> bytes | None:
        return feed.offered_cache()

    def write_calibration_cache(this: Any, cache: Any) -> None:
        feed.keep_table(cache)

    def get_quantile(this: Any) -> float:
        return quantile

    def get_regression_cutoff(this: Any) -> float:
        return regression_cutoff

    def read_histogram_cache(this: Any, length: int) -> None:
        return None

    def write_histogram_cache(this: Any, data: Any, length: int) -> None:
        return None

    methods = [get_batch_size, get_batch, read_calibration_cache, write_calibration_cache]
    if feed.algorithm == "legacy":
        methods += [get_quantile, get_regression_cutoff, read_histogram_cache, write_histogram_cache]
    members = {method.__name__: method for method in methods}
    return type("RawCalibrator", (base,), {"__init__": start, **members})()
