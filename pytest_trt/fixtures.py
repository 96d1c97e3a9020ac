"""Fixtures: thin covers of the workbench; those that `@given` tests use are session-scoped factories."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.errors import ConformanceError, ExecutionError, ModelError, UsageError
from pytest_trt.session import Session, function_id, session_of

if TYPE_CHECKING:
    from pytest_trt.hardware import GpuClass
    from pytest_trt.marks import ModelMark
    from pytest_trt.records import Verdict
    from pytest_trt.runtime.load import Runtime
    from pytest_trt.runtime.memory import Stream
    from pytest_trt.settings import Settings

EXAMPLE = '@pytest.mark.trt_model("model.onnx", profile={"x": ((1, 3, 8, 8), (4, 3, 8, 8), (8, 3, 8, 8))})'


def running_precision(session: Session, precision: str | None, factory: str) -> str:
    """Return the precision of one factory call: the explicit one, else that of the running test.

    Raises
    ------
    UsageError
        Neither is there: the test was not multiplied.
    """
    __tracebackhide__ = True
    if precision is None and session.running is not None:
        precision = session.running.precision
    if precision is None:
        raise UsageError(
            f"{factory}: the running test has no precision",
            why="a test runs once per precision if its arguments or their fixtures name it at collection",
            mend=f"name {factory} or trt_precision as an argument of the test, or give precision='fp32'",
        )
    return precision


@pytest.fixture(scope="session")
def trt_settings(pytestconfig: pytest.Config) -> Settings:
    """The settings of this session (a frozen `pytest_trt.records.Settings`)."""
    return session_of(pytestconfig).settings


@pytest.fixture(scope="session")
def trt_gpu(pytestconfig: pytest.Config) -> GpuClass:
    """The GPU class of this session: name, title, sm, precisions."""
    return session_of(pytestconfig).gpu


@pytest.fixture
def trt_precision(request: pytest.FixtureRequest) -> str:
    """The precision of this case of the test; a test that uses it runs once per precision."""
    __tracebackhide__ = True
    precision: str | None = getattr(request, "param", None)
    if precision is None:
        running = session_of(request.config).running
        precision = None if running is None else running.precision
    if precision is None:
        raise pytest.UsageError(
            "fixture 'trt_precision' was asked for while the test ran; name it as an argument of the test, "
            "so that the test can run once per precision"
        )
    return precision


@pytest.fixture(scope="session")
def trt_runtime(pytestconfig: pytest.Config) -> Runtime:
    """The runtime that executes (a real TensorRT or the emulator); skips where there is none."""
    __tracebackhide__ = True
    session = session_of(pytestconfig)
    session.need_execution()
    executor = session.discovery.executor
    assert executor is not None
    return executor


@pytest.fixture(scope="session")
def trt_builder(pytestconfig: pytest.Config) -> Runtime:
    """The real TensorRT that builds, with or without a GPU; skips where there is none."""
    __tracebackhide__ = True
    session = session_of(pytestconfig)
    session.need_builder()
    builder = session.discovery.builder
    assert builder is not None
    return builder


@pytest.fixture(scope="session")
def trt_build(pytestconfig: pytest.Config) -> Callable[..., Any]:
    """Factory: `trt_build(model, *, precision=None, profile=None, **build)` returns a raw engine."""
    __tracebackhide__ = True
    session = session_of(pytestconfig)
    session.need_engines()

    def trt_build(model: Any, *, precision: str | None = None, profile: Any = None, **build: Any) -> Any:
        __tracebackhide__ = True
        asked = running_precision(session, precision, "trt_build")
        return session.workbench.build(model, asked, profile, **build)

    return trt_build


@pytest.fixture(scope="session")
def trt_session(pytestconfig: pytest.Config) -> Callable[..., Any]:
    """Factory: `trt_session(model, *, precision=None, profile=None, **build)`; `.run(inputs)` is a dict."""
    __tracebackhide__ = True
    session = session_of(pytestconfig)
    session.need_engines()

    def trt_session(model: Any, *, precision: str | None = None, profile: Any = None, **build: Any) -> Any:
        __tracebackhide__ = True
        asked = running_precision(session, precision, "trt_session")
        return session.workbench.session(model, asked, profile, **build)

    return trt_session


@pytest.fixture(scope="session")
def trt_check(pytestconfig: pytest.Config) -> Callable[..., Verdict]:
    """Factory: `trt_check(model, inputs=None, *, precision=None, profile=None, calibration=None)`: a Verdict.

    Without inputs the data battery is drawn at `shapes` (default: the profile's opt); `label` names the model in messages;
    `layer_types` keeps layers in a type under weak typing; `calibration` may be a `precision.calibration.Calibration`.
    Raises ConformanceError where the outputs are none that a correct kernel could give, and UnsupportedError
    where TensorRT refuses the model in words.
    """
    __tracebackhide__ = True
    session = session_of(pytestconfig)
    session.need_engines()

    def trt_check(
        model: Any,
        inputs: Mapping[str, Any] | None = None,
        *,
        precision: str | None = None,
        profile: Any = None,
        calibration: Any = None,
        shapes: Mapping[str, Any] | None = None,
        label: str = "",
        fallback: bool = False,
        layer_types: Mapping[str, str] | None = None,
    ) -> Verdict:
        __tracebackhide__ = True
        asked = running_precision(session, precision, "trt_check")
        running = session.running
        marks = None if running is None else running.marks
        try:
            verdict: Verdict = session.workbench.check(
                model,
                inputs,
                precision=asked,
                profile=profile,
                calibration=calibration,
                tolerance=None if marks is None else marks.tolerance,
                data=None if marks is None else marks.data,
                shapes=shapes,
                drawn=inputs is None,
                label=label,
                fallback=fallback,
                **({} if layer_types is None else {"layer_types": layer_types}),
                replay="" if running is None else replay_of(running.item, label),
            )
        except ConformanceError as error:
            record_verdict(session, asked, error.verdict)
            raise
        record_verdict(session, asked, verdict)
        return verdict

    return trt_check


def replay_of(item: pytest.Item, label: str) -> str:
    """Return the start of the command that repeats a check: its case in the suites, else its test."""
    from shlex import quote

    folder = item.path.parent
    if not label or not (folder.name == "suites" and (folder / "test_case.py").is_file()):
        return f"pytest {quote(item.nodeid)}"
    here = folder.parent == item.config.invocation_params.dir
    return f"pytest {'suites' if here else '--pyargs pytest_trt.suites'} --trt-case={label}"


def record_verdict(session: Session, precision: str, verdict: object) -> None:
    """Add a verdict to what the running test reports; None stands for a violation without a record."""
    if session.running is None:
        return
    from pytest_trt.records import Verdict
    from pytest_trt.report.tally import Tally

    running = session.running
    if running.tally is None:
        running.tally = Tally(function_id(running.item))
    known = verdict if isinstance(verdict, Verdict) else None
    running.tally.add(precision, known, None if running.marks is None else running.marks.tolerance)


@pytest.fixture(scope="session")
def trt_compare(pytestconfig: pytest.Config) -> Callable[..., Verdict]:
    """Factory: `trt_compare(got, want, *, limit)` returns the Verdict of the numeric judgement alone."""
    session = session_of(pytestconfig)

    def trt_compare(got: Any, want: Any, *, limit: Any) -> Verdict:
        __tracebackhide__ = True
        verdict: Verdict = session.workbench.compare(got, want, limit=limit)
        return verdict

    return trt_compare


@pytest.fixture
def trt_stream(trt_runtime: Runtime) -> Iterator[Stream]:
    """A fresh stream with an integer `handle` and `synchronize()`; with CUDA it is a PyCUDA Stream."""
    memory = trt_runtime.memory
    assert memory is not None
    with memory.active():  # PyCUDA calls of the test find the context that TensorRT lives in
        stream = memory.create_stream()
        yield stream
        memory.destroy_stream(stream)


@pytest.fixture
def trt_engine(request: pytest.FixtureRequest, trt_precision: str, trt_runtime: Runtime) -> Any:
    """The raw ICudaEngine of the test's `trt_model`, at the precision of this case."""
    __tracebackhide__ = True
    session = session_of(request.config)
    marks = None if session.running is None else session.running.marks
    mark = None if marks is None else marks.model
    if mark is None:
        fixture = "engine" if "engine" in request.fixturenames else "context"
        raise pytest.UsageError(f"fixture {fixture!r} of {request.node.nodeid} needs a model: add {EXAMPLE}")
    session.need_build()
    return session.workbench.engine(
        find_model(mark, request.path, request.config), trt_precision, mark.profile
    )


def find_model(mark: ModelMark, test_file: Path, config: pytest.Config) -> Any:
    """Return the model of a `trt_model` marker; a path is made absolute.

    Raises
    ------
    ModelError
        No such file, neither beside the test file nor below the root folder.
    """
    source = mark.source
    if callable(source) and not hasattr(source, "SerializeToString"):
        source = source()
    if not isinstance(source, (str, PathLike)):
        return source
    folders = (test_file.parent, config.rootpath)
    places = list(dict.fromkeys(folder / Path(source).expanduser() for folder in folders))
    for place in places:
        if place.is_file():
            return place
    raise ModelError(
        f"no such file: model {str(source)!r} of marker trt_model",
        why=[f"looked for {place}" for place in places],
        mend="give a path relative to the test file or to the root folder, or an absolute one",
    )


@pytest.fixture
def trt_context(trt_engine: Any) -> Iterator[Any]:
    """A fresh raw IExecutionContext on the engine of the test's `trt_model`."""
    context = trt_engine.create_execution_context()
    if context is None:
        raise ExecutionError(
            "create_execution_context() returned None",
            why="TensorRT says so when it lacks memory for the context, or when the plan is broken",
            mend="see TensorRT's log: --trt-log=VERBOSE",
        )
    yield context
    del context


@pytest.fixture
def engine(trt_engine: Any) -> Any:
    """The raw ICudaEngine of the test's `trt_model`; the same as `trt_engine`."""
    return trt_engine


@pytest.fixture
def context(trt_context: Any) -> Any:
    """A fresh raw IExecutionContext on `engine`; the same as `trt_context`."""
    return trt_context


@pytest.fixture
def stream(trt_stream: Stream) -> Stream:
    """A fresh stream with an integer `handle` and `synchronize()`; the same as `trt_stream`."""
    return trt_stream
