"""What the markers of a test say, parsed into frozen records."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_trt.errors import SettingsError
from pytest_trt.markers import LINES
from pytest_trt.option_words import Source, nearest, parse_data
from pytest_trt.records import PRECISIONS, Tolerance

if TYPE_CHECKING:
    import re

    import pytest

    from pytest_trt.hardware import GpuClass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class GpuMark:
    """What one `gpu` marker says: class names (empty: any) and bounds of 10 * major + minor (None: none)."""

    classes: tuple[str, ...] = ()
    min_sm: int | None = None
    max_sm: int | None = None

    def admits(self, kind: GpuClass) -> bool:
        """Return whether the test applies to a GPU class."""
        from pytest_trt import hardware

        return (
            (not self.classes or any(hardware.get(name).admits(kind) for name in self.classes))
            and (self.min_sm is None or self.min_sm <= kind.sm)
            and (self.max_sm is None or kind.sm <= self.max_sm)
        )


@dataclass(frozen=True)
class ModelMark:
    """What `trt_model` says: the model, and the profile (None: no dynamic dimension)."""

    source: Any
    profile: Mapping[str, tuple[Shape, Shape, Shape]] | None = None


@dataclass(frozen=True)
class LogMark:
    """What one `trt_log` marker, or the ini keys, say of TensorRT's log.

    Attributes
    ----------
    allow : tuple of re.Pattern
        Lines that are expected.
    fail : str or None
        Which other lines fail a test that passes, a member of `logs.FAILS`; None: it is not said.
    """

    allow: tuple[re.Pattern[str], ...] = ()
    fail: str | None = None


@dataclass(frozen=True)
class Marks:
    """All that the markers of one test say.

    Attributes
    ----------
    precisions : tuple of str or None
        Names that every `trt_precision` marker of the test has; None without such a marker.
    gpu : tuple of GpuMark
        All have to admit the GPU class.
    model, tolerance, data
        The closest marker of each kind; None without one.
    faq, bugs : tuple
        Every claim's number and every bug's name.
    log : tuple of LogMark
        Every one, the closest first.
    """

    precisions: tuple[str, ...] | None = None
    gpu: tuple[GpuMark, ...] = ()
    model: ModelMark | None = None
    tolerance: Tolerance | None = None
    data: tuple[str, ...] | None = None
    faq: tuple[int, ...] = ()
    bugs: tuple[str, ...] = ()
    log: tuple[LogMark, ...] = ()

    @property
    def claims(self) -> tuple[str, ...]:
        """Names of all of them, as `--trt-claim` takes them: `faq-7`, `B02`."""
        return (*(f"faq-{number}" for number in self.faq), *self.bugs)


def parse(item: pytest.Item) -> Marks:
    """Return what the markers of a test say.

    Raises
    ------
    SettingsError
        An argument is unknown, missing or of a wrong kind; the message names marker and argument.
    """
    precisions: tuple[str, ...] | None = None
    for mark in item.iter_markers("trt_precision"):
        names = _precision(mark)
        precisions = names if precisions is None else tuple(name for name in precisions if name in names)
    return Marks(
        precisions,
        tuple(_gpu(mark) for mark in item.iter_markers("gpu")),
        _closest(item, "trt_model", _model),
        _closest(item, "trt_tolerance", _tolerance),
        _closest(item, "trt_data", _data),
        tuple(_single(mark, "number", int) for mark in item.iter_markers("faq")),
        tuple(_single(mark, "id", str) for mark in item.iter_markers("bug")),
        tuple(_log(mark) for mark in item.iter_markers("trt_log")),
    )


def _closest(item: pytest.Item, name: str, read: Callable[[pytest.Mark], Any]) -> Any:
    found = [
        read(mark) for mark in item.iter_markers(name)
    ]  # the far ones are read too: wrong ones are refused
    return found[0] if found else None


def _refuse(mark: pytest.Mark, why: str, mend: str | None = None) -> SettingsError:
    usage = next(line for line in LINES if line.startswith(f"{mark.name}(")).split("): ", 1)[0] + ")"
    words = [repr(word) for word in mark.args] + [f"{key}={value!r}" for key, value in mark.kwargs.items()]
    return SettingsError(f"marker {mark.name}({', '.join(words)}): {why}", mend=mend or f"write {usage}")


def _check_keywords(mark: pytest.Mark, good: Iterable[str]) -> None:
    for key in mark.kwargs:
        if key not in good:
            guess = nearest(key, good)
            raise _refuse(mark, f"unknown argument {key!r}", f"did you mean {guess!r}?" if guess else None)


def _check_strings(mark: pytest.Mark, what: str) -> tuple[str, ...]:
    for word in mark.args:
        if not isinstance(word, str):
            raise _refuse(mark, f"{word!r} is no {what}")
    return tuple(word.lower() for word in mark.args)


def _precision(mark: pytest.Mark) -> tuple[str, ...]:
    _check_keywords(mark, ())
    names = _check_strings(mark, "precision")
    if not names:
        raise _refuse(mark, "no precision is named")
    for name in names:
        if name not in PRECISIONS:
            guess = nearest(name, PRECISIONS)
            good = f"good values: {', '.join(PRECISIONS)}"
            raise _refuse(mark, f"{name!r} is unknown; {good}", f"did you mean {guess!r}?" if guess else None)
    return names


def _gpu(mark: pytest.Mark) -> GpuMark:
    _check_keywords(mark, ("min_sm", "max_sm"))
    classes = _check_strings(mark, "GPU class")
    for key, value in mark.kwargs.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise _refuse(mark, f"{key}={value!r} is no compute capability such as 75")
    if classes:
        from pytest_trt import hardware

        try:
            classes = tuple(hardware.get(name).name for name in classes)
        except SettingsError as error:
            raise _refuse(mark, "; ".join((error.what, *error.why))) from None
    return GpuMark(classes, **mark.kwargs)


def _model(mark: pytest.Mark) -> ModelMark:
    _check_keywords(mark, ("source", "profile"))
    sources = [*mark.args, *([mark.kwargs["source"]] if "source" in mark.kwargs else [])]
    if len(sources) != 1:
        raise _refuse(mark, f"one model is needed, {len(sources)} are given")
    if not (
        isinstance(sources[0], (str, bytes, os.PathLike)) or callable(sources[0]) or _is_model(sources[0])
    ):
        raise _refuse(mark, f"{type(sources[0]).__name__} is no model: path, bytes, ModelProto or a callable")
    profile = mark.kwargs.get("profile")
    return ModelMark(sources[0], None if profile is None else _profile(mark, profile))


def _is_model(value: Any) -> bool:
    return hasattr(value, "SerializeToString") and hasattr(value, "graph")


def _profile(mark: pytest.Mark, profile: Any) -> dict[str, tuple[Shape, Shape, Shape]]:
    if not isinstance(profile, Mapping) or not profile:
        raise _refuse(mark, "profile is no mapping of input name to (min, opt, max)")
    read: dict[str, tuple[Shape, Shape, Shape]] = {}
    for name, shapes in profile.items():
        try:
            low, best, high = (tuple(int(size) for size in shape) for shape in shapes)
        except (TypeError, ValueError):
            raise _refuse(mark, f"profile of {name!r} is not (min, opt, max), three shapes") from None
        ranks = {len(low), len(best), len(high)}
        if len(ranks) != 1 or not all(0 <= a <= b <= c for a, b, c in zip(low, best, high, strict=True)):
            raise _refuse(mark, f"profile of {name!r} is not min <= opt <= max: {low}, {best}, {high}")
        read[str(name)] = (low, best, high)
    return read


def _tolerance(mark: pytest.Mark) -> Tolerance:
    _check_keywords(mark, ("atol", "rtol", "why"))
    if mark.args:
        raise _refuse(mark, "its arguments have names")
    limits = {key: mark.kwargs.get(key) for key in ("atol", "rtol")}  # one that is not given counts as 0
    for key, value in limits.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (number and 0 <= value < float("inf")):
            raise _refuse(mark, f"{key}={value!r} is no finite number that is at least 0")
    if all(value is None for value in limits.values()):
        raise _refuse(mark, "neither atol nor rtol is given")
    why = mark.kwargs.get("why")
    if not isinstance(why, str) or not why.strip():
        raise _refuse(mark, "the reason is missing", "add why='...': it is printed")
    return Tolerance(float(limits["atol"] or 0), float(limits["rtol"] or 0), why.strip())


def _data(mark: pytest.Mark) -> tuple[str, ...]:
    _check_keywords(mark, ())
    names = _check_strings(mark, "kind of data")
    if not names:
        raise _refuse(mark, "no kind of data is named")
    from pathlib import Path

    try:
        return parse_data(list(names), Source("", Path()))
    except SettingsError as error:
        raise _refuse(mark, "; ".join((error.what.removeprefix(": "), *error.why)), error.mend) from None


def _log(mark: pytest.Mark) -> LogMark:
    _check_keywords(mark, ("allow", "fail"))
    if mark.args or not mark.kwargs:
        raise _refuse(mark, "its arguments have names")
    allow = mark.kwargs.get("allow", ())
    if isinstance(allow, str) or not all(isinstance(text, str) for text in allow):
        raise _refuse(mark, f"allow={allow!r} is no list of regular expressions")
    fail = mark.kwargs.get("fail", "")
    from pytest_trt.logs import read_log

    try:
        return read_log(allow, "off" if fail is None else str(fail), "")
    except SettingsError as error:
        raise _refuse(mark, "; ".join((error.what.removeprefix(": "), *error.why)), error.mend) from None


def _single(mark: pytest.Mark, name: str, kind: type) -> Any:
    _check_keywords(mark, (name,))
    values = [*mark.args, *mark.kwargs.values()]
    if len(values) != 1 or not isinstance(values[0], kind) or isinstance(values[0], bool):
        raise _refuse(mark, f"one {kind.__name__} is needed")
    return values[0]
