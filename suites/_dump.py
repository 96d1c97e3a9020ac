"""Looking into an engine: what marks, debug tensors and listeners have to do, each told by a check with a name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.check.final import FinalLimits
from pytest_trt.check.layers import judge_layers
from pytest_trt.check.tactics import rungs_of
from pytest_trt.check.views import Views, tensors_to_see
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import ExecutionError
from pytest_trt.records import VIOLATES
from pytest_trt.runtime.debug import DebugTensors, listen, show_marked, show_tensors
from pytest_trt.runtime.features import probe
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.session import Session

from ._named import Checked

COUNTED = "marked-are-outputs"
MARKED = "marked-in-limits"
MARKED_FINAL = "output-with-marks"
ONCE = "listener-once-a-run"
OFF = "listener-only-when-on"
SHOWN = "debug-in-limits"
SHOWN_FINAL = "output-with-debug-tensors"
UNFUSED = "unfused-are-shown"
SWALLOWED = "listener-may-raise"
TOLD = "listener-error-is-told"
NET_MARKED = "network-mark-output"
NET_UNMARKED = "network-unmark-output"
NET_DEBUG = "network-mark-debug"
NET_UNFUSED = "network-mark-unfused"

SHAPE = (3, 4, 7, 7)
# Values in another layout than told are nowhere near; values of another kernel are.
NEAR = 0.1


def network() -> ModelProto:
    """Return two convolutions of one shape with a residual, and a classifier: shallow enough for hard limits to its end."""
    return _network(("pool", "flatten", "head"), "y", (SHAPE[0], 5))


def trunk() -> ModelProto:
    """Return the same without the classifier: TensorRT-RTX has no FP32 products of matrices for Turing."""
    return _network((), "r1", SHAPE)


def _network(heads: tuple[str, ...], output: str, shape: tuple[int, ...]) -> ModelProto:
    rng = np.random.default_rng(3)
    held = {
        "w0": rng.standard_normal((4, 4, 3, 3)) / 6,
        "w1": rng.standard_normal((4, 4, 3, 3)) / 6,
        "b": rng.standard_normal(4),
        "w2": rng.standard_normal((4, 5)) / 2,
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b"], ["c0"], name="conv0", pads=[1] * 4),
        helper.make_node("Relu", ["c0"], ["r0"], name="relu0"),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], name="conv1", pads=[1] * 4),
        helper.make_node("Add", ["c1", "r0"], ["a1"], name="add1"),
        helper.make_node("Relu", ["a1"], ["r1"], name="relu1"),
        helper.make_node("GlobalAveragePool", ["r1"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten"),
        helper.make_node("MatMul", ["flat", "w2"], ["y"], name="head"),
    ]
    made = helper.make_graph(
        [node for node in nodes if node.name in heads or node.name[-1].isdigit()],
        "looked-into",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(values.astype(np.float32), name)
            for name, values in held.items()
            if heads or name != "w2"
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def images() -> dict[str, np.ndarray]:
    """Return its input."""
    return {"x": np.random.default_rng(4).uniform(-1, 1, SHAPE).astype(np.float32)}


class Study:
    """The network at a precision, and what its tensors may be.

    Attributes
    ----------
    subject : Subject
    feeds : mapping of str to ndarray
    names : tuple of str
        The inner tensors that can be marked.
    """

    def __init__(self, workbench: Workbench, precision: str) -> None:
        self.feeds = images()
        data = [self.feeds] if precision == "int8" else None
        self.subject = workbench.subject(network(), precision, calibration=data)
        settings = workbench.settings
        self._rungs = rungs_of(self.subject.plan.layers, settings.rungs, asked="rungs" in settings.given)
        graph, contract = self.subject.graph, self.subject.contract
        self._limits = FinalLimits(graph, self.feeds, contract, self._rungs, precision)
        self.names = tensors_to_see(graph, Views(self.subject, self.feeds).there)

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *_: object) -> None:
        self.subject.close()

    def final(self, got: Mapping[str, np.ndarray]) -> str | None:
        """Return what is wrong with the outputs of a run, given its inputs."""
        return self._limits.describe_wrong(got) or None

    def inner(self, got: Mapping[str, np.ndarray]) -> str | None:
        """Return what is wrong with the inner tensors of a run, each given the engine's own before it."""
        report = judge_layers(self.subject.graph, self.feeds, got, self.subject.contract, self._rungs)
        bad = [one for one in report.judged if one.status == VIOLATES and one.tensor in self.names]
        if not bad:
            return None if report.judged else "no inner tensor has a limit"
        return f"tensor {bad[0].tensor!r}: {bad[0].measure.bad} of {bad[0].measure.total} values outside; {len(bad)} tensors"

    @contextmanager
    def debug_session(self, names: tuple[str, ...]) -> Iterator[Session]:
        """Give a session on an engine with tensors marked for debugging."""
        with self.subject.with_debug(names) as marked:
            yield marked.session


def check_marked(study: Study) -> Iterator[Checked]:
    """Yield what `mark_output` has to do: each marked tensor is one output more, and nothing else changes."""
    plain = study.subject.run(study.feeds)
    count = int(study.subject.engine.num_io_tensors)
    with study.subject.with_outputs(study.names) as marked:
        more = int(marked.engine.num_io_tensors) - count
        got = marked.run(study.feeds)
        wrong = f"{len(study.names)} tensors were marked, the engine has {more} outputs more"
        lacking = [name for name in study.names if name not in got]
        yield COUNTED, wrong if more != len(study.names) else f"no output {lacking[0]!r}" if lacking else None
        yield MARKED, study.inner(got)
        yield MARKED_FINAL, study.final(plain) or study.final(got)


def check_debug(study: Study) -> Iterator[Checked]:
    """Yield what debug tensors have to do: shown once a run while they are on, right, and without harm to the outputs."""
    first, rest = study.names[0], study.names[1:]
    with study.debug_session(study.names) as session:
        with listen(session) as silent:
            session.run(study.feeds)
        with show_marked(session, [first]) as one:
            session.run(study.feeds)
        off = [*silent.calls, *(name for name in rest if one.calls[name])]
        yield OFF, f"{off[0]!r} was shown while it was off" if off else None
        with show_marked(session, study.names) as listener:
            session.run(study.feeds)
            got = session.run(study.feeds)
        yield ONCE, _describe_calls(listener, study.names, runs=2)
        yield SHOWN, study.inner({**listener.seen, **got}) if listener.seen else None
        yield SHOWN_FINAL, study.final(got)


def _describe_calls(listener: DebugTensors, names: tuple[str, ...], runs: int) -> str | None:
    for name in names:
        if listener.calls[name] != runs:
            return f"{name!r} was shown {listener.calls[name]} times in {runs} runs"
    return None


def check_unfused(study: Study) -> Iterator[Checked]:
    """Yield what unfused debug tensors have to do; they carry the engine's names, and those of the network are looked at.

    A real TensorRT may show a tensor in a layout of its own: there, what is nowhere near the marked engine's values is passed
    over.
    """
    shown = study.subject.with_tensors_shown()
    assert shown is not None
    with study.subject.with_outputs(study.names) as marked:
        want = marked.run(study.feeds)
    with shown:
        with listen(shown.session) as silent:
            shown.run(study.feeds)
        off = list(silent.calls)
        yield OFF, f"{off[0]!r} was shown while unfused tensors were off" if off else None
        with show_tensors(shown.session) as seen:
            got = shown.run(study.feeds)
        known = {name: values for name, values in seen.items() if name in study.names}
        # What a kernel keeps in a wider type on the way to its reader is no tensor of the network.
        known = {name: values for name, values in known.items() if values.dtype == want[name].dtype}
        if not study.subject.rt.emulated:
            known = {name: values for name, values in known.items() if is_near(values, want[name])}
        yield UNFUSED, None if seen else "no tensor was shown"
        yield SHOWN, study.inner({**known, **got}) if known else None
        yield SHOWN_FINAL, study.final(got)


def is_near(got: np.ndarray, want: np.ndarray) -> bool:
    """Tell whether two engines' values of a tensor are the same but for small errors."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return False
    gap = np.asarray(got, np.float64) - np.asarray(want, np.float64)
    return bool(np.linalg.norm(gap) <= NEAR * np.linalg.norm(np.asarray(want, np.float64)))


class Failing(DebugTensors):
    """A listener whose callback cannot copy what it is shown."""

    def _copy(self, *_: Any) -> Any:
        raise RuntimeError("a callback that raises")


def check_raising(study: Study) -> Iterator[Checked]:
    """Yield that a callback that raises ends nothing: TensorRT drops what it raises, and our listener tells it behind the run."""
    names = study.names[:1]
    with study.debug_session(names) as session:
        trt, calls = session.rt.trt, []

        class Raising(trt.IDebugListener):  # type: ignore[misc, name-defined]  # the class is known at run time alone
            def __init__(self) -> None:
                trt.IDebugListener.__init__(self)

            def process_debug_tensor(self, *_: Any) -> bool:
                calls.append(1)
                raise RuntimeError("a callback that raises")

        raising, failing = Raising(), Failing(trt, session.memory, session.stream)
        session.context.set_tensor_debug_state(names[0], True)
        session.context.set_debug_listener(raising)
        wrong = study.final(session.run(study.feeds))
        yield SWALLOWED, wrong or (None if calls else "the listener was not called")
        session.context.set_debug_listener(failing.raw)
        session.run(study.feeds)
        try:
            failing.check()
            yield TOLD, "what a callback raised was not told behind the run"
        except ExecutionError:
            yield TOLD, None
        finally:
            session.context.set_all_tensors_debug_state(False)


@contextmanager
def raw_network(rt: Runtime) -> Iterator[tuple[Any, Callable[[], bytes | None]]]:
    """Give a network as the parser made it, and a call that builds it as it then is; None where TensorRT refuses."""
    trt = rt.trt
    with rt.logger.collect(), rt.active():
        builder = trt.Builder(rt.logger.raw)
        made = builder.create_network(rt.features.network_flags(rt.features.strong_typing))
        parser = trt.OnnxParser(made, rt.logger.raw)
        assert parser.parse(trunk().SerializeToString())
        yield made, partial(_build, rt, builder, made)
        del parser, made, builder


def _build(rt: Runtime, builder: Any, made: Any) -> bytes | None:
    config = builder.create_builder_config()
    if rt.features.rtx:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(rt.trt.ComputeCapability, f"SM{rt.gpu.sm}"), 0)
    plan = builder.build_serialized_network(made, config)
    return None if plan is None else bytes(plan)


def check_network(
    rt: Runtime, made: Any, build: Callable[[], bytes | None], *, repeats: bool
) -> Iterator[Checked]:
    """Yield what marking does to a network, and that it builds then; nothing is executed.

    Parameters
    ----------
    rt : Runtime
        Who builds.
    made : INetworkDefinition
    build : callable
        Builds it as it is.
    repeats : bool
        The same network gives the same bytes: TensorRT-RTX and the emulator, which time no kernels.
    """
    plain, before = build(), int(made.num_outputs)
    if plain is None:
        yield NET_MARKED, "the network did not build without a mark"
        return
    inner = made.get_layer(0).get_output(0)
    made.mark_output(inner)
    marked, outputs = build(), int(made.num_outputs)
    wrong = f"{outputs - before} outputs more" if outputs != before + 1 else None
    yield NET_MARKED, wrong or _describe_plan(marked, plain if repeats else None, differs=True)
    made.unmark_output(inner)
    outputs = int(made.num_outputs)
    wrong = f"{outputs} outputs, before it was marked {before}" if outputs != before else None
    yield NET_UNMARKED, wrong or _describe_plan(build(), plain if repeats else None, differs=False)
    if probe(rt.trt.INetworkDefinition, "mark_debug"):
        answers = (made.mark_debug(inner), made.is_debug_tensor(inner))
        plan = build()
        answers += (made.unmark_debug(inner), not made.is_debug_tensor(inner))
        said = "mark, is, unmark, is not: {}".format(", ".join(map(str, answers)))
        yield NET_DEBUG, (None if all(answers) else said) or _describe_plan(plan, None, differs=False)
    if probe(rt.trt.INetworkDefinition, "mark_unfused_tensors_as_debug_tensors"):
        marks = made.mark_unfused_tensors_as_debug_tensors()
        plan = build()
        taken = made.unmark_unfused_tensors_as_debug_tensors()
        said = f"mark answered {marks!r}, unmark {taken!r}"
        yield NET_UNFUSED, (None if marks and taken else said) or _describe_plan(plan, None, differs=False)


def _describe_plan(plan: bytes | None, plain: bytes | None, *, differs: bool) -> str | None:
    if plan is None:
        return "the network did not build"
    if plain is not None and (plan == plain) == differs:
        return "the plan is that of the network without marks" if differs else "the plan is another one"
    return None
