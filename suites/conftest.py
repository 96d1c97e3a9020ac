"""The suites' shared parts; they work from a checkout and from an installation, without an ini file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_trt.cases.limits import REFUSED, expected_outcome, name_asked
from pytest_trt.collecting import apply_budgets
from pytest_trt.errors import SettingsError, UnsupportedError
from pytest_trt.fixtures import running_precision
from pytest_trt.records import Verdict
from pytest_trt.report.ledger import SUPPORT
from pytest_trt.session import session_of
from pytest_trt.strategies import Case, ElementwiseCase
from pytest_trt.xdist import is_worker

from ._build import Built, build_twice

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give the property tests their budget; with `--trt-case` keep only the test that replays it."""
    apply_budgets(config, items, HERE)
    case = session_of(config).settings.case
    replayed = case is not None
    if case is not None and not is_worker(config):  # xdist loses the usage errors of workers
        try:
            Case.parse(case)
        except SettingsError as error:
            raise pytest.UsageError(f"--trt-case: {error}") from None
    kept = [i for i in items if HERE not in i.path.parents or (i.path.name == "test_case.py") == replayed]
    dropped = [item for item in items if item not in kept]
    if replayed and dropped:
        config.hook.pytest_deselected(items=dropped)
    items[:] = kept


@pytest.fixture(scope="session")
def conform(
    trt_check: Callable[..., Verdict], trt_runtime: Any, pytestconfig: pytest.Config
) -> Callable[[Case], Verdict | None]:
    """Factory: `conform(case)` checks one drawn configuration at the running precision and returns its verdict.

    A refusal by a real TensorRT is held against the table of known limits: None when it is a row there, and a row
    that does not come true fails.
    """

    session = session_of(pytestconfig)

    def conform(case: Case) -> Verdict | None:
        __tracebackhide__ = True
        model = case.model()
        fallback = refused = False
        if not trt_runtime.emulated:
            expected = expected_outcome(
                model,
                running_precision(session, None, "conform"),
                sm=trt_runtime.gpu.sm,
                product=trt_runtime.product,
                version=trt_runtime.version,
                hybrid=session.settings.hybrid,
            )
            fallback, refused = bool(expected.fallbacks), expected.outcome == REFUSED
        try:
            verdict = trt_check(
                model,
                profile=case.profile,
                shapes=case.input_shapes,
                label=case.text,
                fallback=fallback,
            )
        except UnsupportedError:
            if refused:
                return None
            raise
        assert not refused, f"{case.text} builds, but the table of known limits says that it is refused"
        return verdict

    return conform


@pytest.fixture(scope="session")
def targeted(trt_builder: Any) -> Any:
    """The real TensorRT that builds, for a compute capability that it has; else not applicable."""
    capabilities = trt_builder.features.compute_capabilities
    if capabilities and f"SM{trt_builder.gpu.sm}" not in capabilities:
        good = ", ".join(name for name in capabilities if name.startswith("SM"))
        pytest.skip(
            f"not applicable: {trt_builder.title} builds for {good}, and {trt_builder.gpu.name} is SM{trt_builder.gpu.sm}"
        )
    return trt_builder


@pytest.fixture(scope="session")
def record_support(pytestconfig: pytest.Config, targeted: Any) -> Callable[[str, str, str], None]:
    """Factory: `record_support(family, precision, outcome)` adds one build to the support map of the summary."""
    session = session_of(pytestconfig)

    def record_support(family: str, precision: str, outcome: str) -> None:
        if session.running is not None:
            entry = (SUPPORT, [family, precision, targeted.gpu.name, outcome])
            session.running.item.user_properties.append(entry)

    return record_support


@pytest.fixture(scope="session")
def built(
    targeted: Any, record_support: Callable[[str, str, str], None], pytestconfig: pytest.Config
) -> Callable[..., Built]:
    """Factory: `built(case)` builds one drawn configuration twice at the running precision, and judges how that ended.

    `built(case, hybrid="fp16")` asks for FP16 where INT8 is not; default: the setting `--trt-hybrid`.
    """
    session = session_of(pytestconfig)

    def built(case: Case, hybrid: str | None = None) -> Built:
        __tracebackhide__ = True
        precision = running_precision(session, None, "built")
        beside = (hybrid or session.settings.hybrid) if precision == "int8" else "off"
        result = build_twice(
            targeted, case.model(), precision, case.input_shapes, case.profile, hybrid=beside
        )
        family = "elementwise" if isinstance(case, ElementwiseCase) else case.family
        record_support(family, name_asked(precision, beside), result.outcome)
        assert not result.complaints, result.explain(case.text)
        return result

    return built
