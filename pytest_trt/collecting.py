"""Which tests run: once per precision, without those that were not asked for or do not apply."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt import fixtures, goldens, layers, markers, studies, telemetry, timing
from pytest_trt.errors import SettingsError
from pytest_trt.session import Session, function_id, precision_of, session_of
from pytest_trt.settings import PRECISIONS
from pytest_trt.xdist import is_worker

if TYPE_CHECKING:
    from pytest_trt.marks import Marks

MULTIPLIED = frozenset(
    {"trt_precision", "trt_build", "trt_session", "trt_check", "trt_accuracy", "trt_golden", "trt_layers"}
)
OURS = MULTIPLIED | {
    name
    for module in (fixtures, goldens, layers, studies, telemetry, timing)
    for name in vars(module)
    if name.startswith("trt_")
}

# Behind these a model is rewritten to a precision.
REWRITING = frozenset(
    {
        "trt_build",
        "trt_session",
        "trt_check",
        "trt_engine",
        "trt_builder",
        "trt_accuracy",
        "trt_golden",
        "trt_layers",
    }
)


def multiply(metafunc: pytest.Metafunc, session: Session) -> None:
    """Parametrize `trt_precision` if the test's fixtures need one.

    The names of the `trt_precision` markers intersect with `--trt-precision`. An empty intersection gives one
    case, which `deselect` takes out and counts. A test that parametrizes
    `trt_precision` itself keeps its values.
    """
    if is_worker(metafunc.config) and not session.is_off and markers.has_any(metafunc.definition):
        _refuse_in_worker(metafunc.definition)
    if not MULTIPLIED.intersection(metafunc.fixturenames):
        return
    if _own_precisions(metafunc.definition) is not None:
        if is_worker(metafunc.config):
            _refuse_own_precisions(metafunc.definition, pytest.Collector.CollectError)
        return
    asked = session.settings.precisions
    named = None
    if markers.has_any(metafunc.definition):
        from pytest_trt.marks import parse

        # A wrong marker is told by `deselect`, where a usage error ends the session and not one file.
        with contextlib.suppress(SettingsError):
            named = parse(metafunc.definition).precisions
    cases = [name for name in asked if named is None or name in named]
    if not cases:
        cases = ["+".join(named or ()) or "none"]
    if "trt_precision" not in metafunc.fixturenames:
        metafunc.fixturenames.append("trt_precision")
    metafunc.parametrize("trt_precision", cases, ids=cases, indirect=True)


def _refuse_in_worker(definition: pytest.Item) -> None:
    """Refuse wrong markers in a way that xdist brings to the controller: it loses a usage error."""
    from pytest_trt.marks import parse

    try:
        parse(definition)
    except SettingsError as error:
        raise pytest.Collector.CollectError(f"{definition.nodeid}: {error}") from None


def _own_precisions(definition: pytest.Item) -> list[object] | None:
    """Return the values that a test parametrizes `trt_precision` with itself, None where it does not."""
    for mark in definition.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        names = [part.strip() for part in names.split(",")] if isinstance(names, str) else list(names)
        if "trt_precision" not in names:
            continue
        cases = mark.args[1] if len(mark.args) > 1 else mark.kwargs.get("argvalues", ())
        if not isinstance(cases, (list, tuple)):
            return []  # an iterator can be read once, and not by us
        rows = [getattr(case, "values", case if len(names) > 1 else (case,)) for case in cases]
        return [row[names.index("trt_precision")] for row in rows if len(row) == len(names)]
    return None


def _refuse_own_precisions(definition: pytest.Item, kind: type[Exception]) -> None:
    for value in _own_precisions(definition) or ():
        if value not in PRECISIONS:
            raise kind(
                f"{function_id(definition)}: trt_precision {value!r} is unknown\n"
                f"  why    good values: {', '.join(PRECISIONS)}"
            )


def deselect(session: Session, items: list[pytest.Item]) -> None:
    """Take out, and count, the tests that were not asked for or do not apply to the GPU class.

    Raises
    ------
    pytest.UsageError
        Markers that cannot be read; all of them are told.
    """
    session.not_run.uses = sum(1 for item in items if uses_us(item))
    marks = {} if session.is_off and not session.settings.claims else _read_markers(items)
    for item in items:
        if precision_of(item) is not None:
            _refuse_own_precisions(item, pytest.UsageError)
    kept: list[pytest.Item] = []
    out: list[pytest.Item] = []
    for item in items:
        (kept if _applies(session, item, marks.get(item)) else out).append(item)
    if out:
        session.config.hook.pytest_deselected(items=out)
        items[:] = kept


def uses_us(item: pytest.Item) -> bool:
    """Return whether a test has a fixture of ours, directly or through others."""
    return not OURS.isdisjoint(getattr(item, "fixturenames", ()))


def rewrites(item: pytest.Item) -> bool:
    """Return whether a test has a fixture that rewrites models to a precision, directly or through others."""
    return not REWRITING.isdisjoint(getattr(item, "fixturenames", ()))


def _read_markers(items: Iterable[pytest.Item]) -> dict[pytest.Item, Marks]:
    marked = [item for item in items if markers.has_any(item)]
    if not marked:
        return {}
    from pytest_trt.marks import parse

    read: dict[pytest.Item, Marks] = {}
    wrong: dict[str, None] = {}  # a multiplied test is told once
    for item in marked:
        try:
            read[item] = parse(item)
        except SettingsError as error:
            wrong[f"{function_id(item)}: {error}"] = None
    if wrong:
        raise pytest.UsageError("\n".join(wrong))
    return read


def read_marks(item: pytest.Item) -> Marks | None:
    """Return what the markers of a collected test say, None where none of ours is there or all are ignored."""
    if session_of(item.config).is_off or not markers.has_any(item):
        return None
    from pytest_trt.marks import parse

    return parse(item)


def _applies(session: Session, item: pytest.Item, marks: Marks | None) -> bool:
    precision = precision_of(item)
    if precision is not None and precision not in session.settings.precisions:
        session.not_run.deselected += 1
        return False
    reason = None
    asked = session.settings.claims
    if asked and not set(asked).intersection(() if marks is None else marks.claims):
        return False
    if session.is_off:
        return True  # nothing executes, so no GPU is looked for
    if precision is not None and precision not in session.gpu.precisions:
        reason = f"{precision} has no tensor-core or native path"
    elif marks is not None and not all(mark.admits(session.gpu) for mark in marks.gpu):
        reason = "marker gpu names others"
    if reason is None:
        return True
    counts = session.not_run.not_applicable
    counts[reason] = counts.get(reason, 0) + 1
    return False


def apply_budgets(config: pytest.Config, items: Iterable[pytest.Item], folder: Path) -> None:
    """Make the `@given` tests below a folder draw what `--trt-budget`, `--trt-seed` and `--trt-fault` say.

    For the conftest of a suite. Other tests keep the hypothesis settings and profile that their owners chose.
    """
    session = session_of(config)
    done: set[object] = set()
    for item in items:
        function: Any = getattr(item, "function", None)
        if function in done or not hasattr(function, "hypothesis") or folder not in item.path.parents:
            continue
        from pytest_trt.strategies.budget import apply_budget

        done.add(function)
        apply_budget(function, session.settings, salt=function_id(item).rpartition("/")[2])
