"""Relations between several contexts or engines on one configuration, at the running precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pytest_trt.cases.limits import REFUSED, expected_outcome
from pytest_trt.errors import ConformanceError, UnsupportedError
from pytest_trt.fixtures import record_verdict, replay_of, running_precision
from pytest_trt.records import Verdict
from pytest_trt.session import session_of
from pytest_trt.strategies import Case

Relate = Callable[..., Verdict]


def make_relate(config: pytest.Config) -> Relate:
    """Return a factory: `relate(case, relations, data, **build)` is the verdict on the relations of one configuration.

    A real TensorRT may refuse the configuration, where the table of known limits says so: not applicable then.
    """
    session = session_of(config)

    def relate(case: Case, relations: Any, data: Sequence[str], **build: Any) -> Verdict:
        __tracebackhide__ = True
        precision = running_precision(session, None, "relate")
        assert session.running is not None
        try:
            verdict: Verdict = session.workbench.relate(
                case.model(),
                relations,
                precision=precision,
                data=data,
                profile=case.profile,
                shapes=case.input_shapes,
                label=case.text,
                replay=replay_of(session.running.item, ""),
                **build,
            )
        except ConformanceError as error:
            record_verdict(session, precision, error.verdict)
            raise
        except UnsupportedError as error:
            rt = session.workbench.executor
            known = expected_outcome(
                case.model(), precision, sm=rt.gpu.sm, product=rt.product, version=rt.version
            )
            if rt.emulated or known.outcome != REFUSED:
                raise
            pytest.skip(f"not applicable: {error.what}")
        record_verdict(session, precision, verdict)
        return verdict

    return relate
