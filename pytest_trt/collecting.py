"""Which tests run: once per precision, without those that were not asked for or do not apply."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pytest_trt import fixtures, markers
from pytest_trt.errors import SettingsError, TrtError
from pytest_trt.session import Session, precision_of

MULTIPLIED = frozenset({"trt_precision", "trt_build", "trt_session", "trt_check", "trt_golden"})
OURS = frozenset(name for name in vars(fixtures) if name.startswith("trt_")) | MULTIPLIED


def multiply(metafunc: pytest.Metafunc, session: Session) -> None:
    """Parametrize `trt_precision` if the test's fixtures need one.

    The names of the `trt_precision` markers intersect with `--trt-precision`. An empty intersection gives one
    case, which `deselect` takes out and counts. A test that parametrizes
    `trt_precision` itself keeps its values.
    """
    if not MULTIPLIED.intersection(metafunc.fixturenames) or _is_parametrized(metafunc.definition):
        return
    asked = session.settings.precisions
    try:
        named = markers.parse(metafunc.definition).precisions
    except SettingsError:
        named = None  # told by `deselect`, where a usage error ends the session and not one file
    cases = [name for name in asked if named is None or name in named]
    if not cases:
        cases = ["+".join(named or ()) or "none"]
    if "trt_precision" not in metafunc.fixturenames:
        metafunc.fixturenames.append("trt_precision")
    metafunc.parametrize("trt_precision", cases, ids=cases, indirect=True)


def _is_parametrized(definition: pytest.Item) -> bool:
    for mark in definition.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        if "trt_precision" in (
            [part.strip() for part in names.split(",")] if isinstance(names, str) else names
        ):
            return True
    return False


def deselect(session: Session, items: list[pytest.Item]) -> None:
    """Take out, and count, the tests that were not asked for or do not apply to the GPU class.

    Raises
    ------
    pytest.UsageError
        Markers that cannot be read; all of them are told.
    """
    session.not_run.uses = sum(1 for item in items if uses_us(item))
    marks = [markers.Marks()] * len(items) if session.is_off else _read_markers(items)
    kept: list[pytest.Item] = []
    out: list[pytest.Item] = []
    try:
        for item, one in zip(items, marks, strict=True):
            (kept if _applies(session, item, one) else out).append(item)
    except TrtError as error:
        raise pytest.UsageError(str(error)) from None
    if out:
        session.config.hook.pytest_deselected(items=out)
        items[:] = kept


def uses_us(item: pytest.Item) -> bool:
    """Return whether a test has a fixture of ours, directly or through others."""
    return not OURS.isdisjoint(getattr(item, "fixturenames", ()))


def _read_markers(items: Iterable[pytest.Item]) -> list[markers.Marks]:
    read: list[markers.Marks] = []
    wrong: list[str] = []
    for item in items:
        try:
            read.append(markers.parse(item))
        except SettingsError as error:
            wrong.append(f"{item.nodeid}: {error}")
    if wrong:
        raise pytest.UsageError("\n".join(wrong))
    return read


def _applies(session: Session, item: pytest.Item, marks: markers.Marks) -> bool:
    precision = precision_of(item)
    if precision is not None and precision not in session.settings.precisions:
        session.not_run.deselected += 1
        return False
    reason = None
    if session.is_off:
        return True  # nothing executes, so no GPU is looked for
    if precision is not None and precision not in session.gpu.precisions:
        reason = f"{precision} has no tensor-core or native path"
    elif marks.gpu and not all(mark.admits(session.gpu) for mark in marks.gpu):
        reason = "marker gpu names others"
    if reason is None:
        return True
    counts = session.not_run.not_applicable
    counts[reason] = counts.get(reason, 0) + 1
    return False
