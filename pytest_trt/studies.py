"""Fixtures that study a model: advice on its graph, its tensors in 16 bits, its calibration, its accuracy on labelled data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.fixtures import running_precision
from pytest_trt.session import Session, session_of

if TYPE_CHECKING:
    from pytest_trt.check.accuracy import Accuracy
    from pytest_trt.check.half import HalfReport
    from pytest_trt.lint.advice import Advice
    from pytest_trt.precision.audit import Audit


def attach(session: Session, section: Mapping[str, Any]) -> None:
    """Add a section to what the running test reports; nowhere else is there a place for it."""
    if session.running is not None:
        from pytest_trt.report import sections

        sections.attach(session.running.item, section)


@pytest.fixture(scope="session")
def trt_lint(pytestconfig: pytest.Config) -> Callable[..., tuple[Advice, ...]]:
    """Factory: `trt_lint(model, *, gpu=None, precisions=None)` returns the advice on a model's graph, severest first.

    `gpu` and `precisions` are those of the session unless they are given. Nothing fails: assert on what it returns.
    """
    session = session_of(pytestconfig)

    def trt_lint(
        model: Any, *, gpu: str | None = None, precisions: Iterable[str] | None = None
    ) -> tuple[Advice, ...]:
        __tracebackhide__ = True
        from pytest_trt import hardware
        from pytest_trt.lint import lint

        chosen = session.gpu if gpu is None else hardware.get(gpu)
        wanted = session.settings.precisions if precisions is None else tuple(precisions)
        found = lint(model, gpu=chosen, precisions=wanted)
        rows = [(one.severity, one.rule, one.node or one.tensor or "the model", one.what) for one in found]
        title = f"Lint for {', '.join(wanted)} on {chosen.name}: {len(found)} findings"
        attach(session, {"title": title, "head": ["severity", "rule", "where", "what"], "rows": rows})
        return found

    return trt_lint


@pytest.fixture(scope="session")
def trt_fp16_report(pytestconfig: pytest.Config) -> Callable[..., HalfReport]:
    """Factory: `trt_fp16_report(model, inputs, *, precision="fp16", profile=None, strict=None, fused=False, limits=None)`.

    Every tensor of the network in 16 bits held against float32: the deviation ratio, what leaves the range, what to do.
    `strict` orders every layer into the type under weak typing; by default as `--trt-constraints=obey` says. `fused` reads
    tensors from debug listeners where TensorRT has them, instead of marking them as outputs; `limits` sets the largest
    deviation ratio by operator.
    """
    __tracebackhide__ = True
    session = session_of(pytestconfig)
    session.need_engines()

    def trt_fp16_report(
        model: Any,
        inputs: Mapping[str, Any],
        *,
        precision: str = "fp16",
        profile: Any = None,
        strict: bool | None = None,
        fused: bool = False,
        limits: Mapping[str, float] | None = None,
    ) -> HalfReport:
        __tracebackhide__ = True
        from pytest_trt.check.half import make_half_report

        obeyed = session.settings.constraints == "obey" if strict is None else strict
        report = make_half_report(
            session.workbench,
            model,
            inputs,
            precision=precision,
            profile=profile,
            strict=obeyed,
            fused=fused,
            limits=limits,
        )
        attach(session, report.section())
        return report

    return trt_fp16_report


@pytest.fixture(scope="session")
def trt_audit(pytestconfig: pytest.Config) -> Callable[..., Audit]:
    """Factory: `trt_audit(model, ranges, data, *, fresh=None, preprocess=None, raw=None, labels=None, ...)`: an Audit.

    Holds a calibration against data: enough and diverse samples, one preprocessing, clipping, use of the range, noise. It warns
    of what looks wrong, and raises CalibrationError on what is; `ranges` are those of `precision.calibration.calibrate`, or of
    a table by `precision.audit.ranges_from_scales`.
    """
    session = session_of(pytestconfig)

    def trt_audit(
        model: Any, ranges: Mapping[str, float], data: Iterable[Mapping[str, Any]], **options: Any
    ) -> Audit:
        __tracebackhide__ = True
        from pytest_trt.check.graph import load_model
        from pytest_trt.precision.audit import audit

        found = audit(load_model(model), ranges, data, **options)
        rows = [
            (one.name, f"{one.scale:.6g}", f"{one.clipped:.2%}", f"{one.range_use:.0%}", f"{one.sqnr:.1f}")
            for one in sorted(found.tensors, key=lambda one: one.sqnr)
        ]
        attach(
            session,
            {
                "title": f"Calibration audit: {len(found.findings)} findings",
                "text": [f"{one.severity}: {one.what}" for one in found.findings],
                "head": ["tensor", "scale", "clipped", "range used", "SQNR (dB)"],
                "rows": rows,
            },
        )
        found.tell()
        return found

    return trt_audit


@pytest.fixture(scope="session")
def trt_accuracy(pytestconfig: pytest.Config) -> Callable[..., Accuracy]:
    """Factory: `trt_accuracy(model, data, labels, *, precision=None, calibration=None, profile=None, top=1, limit=0.01)`.

    The paired test of an engine against the float32 model in ONNX Runtime, on labelled samples: it raises ConformanceError
    where the top-`top` loss is not under `limit`, and warns where there are too few samples to say. `data` are batches of
    inputs; INT8 scales come from `calibration`, which is not the data that is tested on.
    """
    __tracebackhide__ = True
    session = session_of(pytestconfig)
    session.need_engines()

    def trt_accuracy(
        model: Any,
        data: Any,
        labels: Iterable[int],
        *,
        precision: str | None = None,
        calibration: Any = None,
        profile: Any = None,
        top: int = 1,
        limit: float = 0.01,
    ) -> Accuracy:
        __tracebackhide__ = True
        from pytest_trt.check.task import measure_task

        asked = running_precision(session, precision, "trt_accuracy")
        found = measure_task(
            session.workbench,
            model,
            data,
            labels,
            precision=asked,
            calibration=calibration,
            profile=profile,
            top=top,
            limit=limit,
        )
        text = list(found.describe())
        attach(session, {"title": f"Accuracy in {asked} against float32", "text": text})
        found.tell()
        return found

    return trt_accuracy
