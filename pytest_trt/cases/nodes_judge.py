"""One node case of `onnx` on one TensorRT: is it supported, and are its numbers right?

An executed case is judged twice: by our limits, where every operator in it has one, and against the outputs that the case
expects. These were computed with numpy, in float32 or float64, and come without a limit; `onnx`'s own runner allows
`|got - want| <= 1e-7 + 1e-3 |want|`. That is what `agrees` means here, with four units in the last place of a 16-bit type where
that is more; integers and bools have to be equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from pytest_trt.cases.nodes import NodeCase
from pytest_trt.check.feeds import profile_for, shapes_for
from pytest_trt.check.graph import Graph, load_model
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import ExecutionError, ModelError, UnsupportedError
from pytest_trt.records import CONFORMS, UNJUDGED, VIOLATES, Settings, Verdict
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import Runtime, discover, find_builder

SUPPORTED, BUILDS, REFUSED, WRONG = "supported", "builds", "refused", "wrong"
CRASHED, HUNG, NOT_APPLICABLE = "crashed", "hung", "not applicable"
OUTCOMES = (SUPPORTED, BUILDS, REFUSED, WRONG, CRASHED, HUNG, NOT_APPLICABLE)
# Types that an engine may have and that nothing can be fed or read as, and double, which is computed in float.
_UNFED = {"FP8", "INT4", "FP4", "E8M0"}
# Units in the last place: 2**-10 of 1 for fp16, 2**-7 for bf16.
_ULP = {TensorProto.FLOAT16: 2.0**-10, TensorProto.BFLOAT16: 2.0**-7}
_WORDS = 140
# What ONNX Runtime says where the emulator's CPU kernels end.
_KERNEL_LACKS = re.compile(
    r"NOT_IMPLEMENTED : Could not find an implementation for (\S+) node"
    r"|(Batchwise recurrent operations \(layout == 1\) are not supported)"
    r"|(Reduce(?:Max|Min) is not defined for empty set with bool type)"
)

Answer = tuple[str, str]


def make_builder(settings: Settings) -> Callable[[NodeCase], Answer]:
    """Return what builds a case with the real TensorRT at hand and says how that ended; for a process of its own."""
    rt = find_builder(settings)
    assert rt is not None
    return lambda case: build_case(rt, case)


def make_executor(settings: Settings) -> Callable[[NodeCase], Answer]:
    """Return what executes a case and says how that ended; for a process of its own."""
    bench = Workbench(settings, discover(settings))
    return lambda case: execute_case(bench, case)


def build_case(rt: Runtime, case: NodeCase) -> Answer:
    """Return how the build of a case ended, and words for it.

    A network that is refused with an operand as an input is tried again with such operands as constants.
    """

    def attempt(form: NodeCase) -> Answer:
        build_plan(rt, BuildRequest(form.data, strongly_typed=rt.features.strong_typing, detailed=False))
        return BUILDS, ""

    return _in_two_forms(case, lambda form: form.lacks(members_of(rt)), attempt)


def execute_case(bench: Workbench, case: NodeCase) -> Answer:
    """Return how the execution of a case ended, and words for it; refused operands become constants as for `build_case`."""
    members = members_of(bench.executor) - _UNFED

    def lack(form: NodeCase) -> str | None:
        return form.lacks(members) or ("double tensors" if _has(form, TensorProto.DOUBLE) else None)

    drawn = case.draws()
    if drawn is not None:
        return NOT_APPLICABLE, f"drawn at random: {drawn}"
    return _in_two_forms(case, lack, lambda form: _judge(bench, form))


def members_of(rt: Runtime) -> frozenset[str]:
    """Return the names of the element types that a TensorRT has."""
    return frozenset(rt.trt.DataType.__members__)


def _in_two_forms(
    case: NodeCase, lack: Callable[[NodeCase], str | None], attempt: Callable[[NodeCase], Answer]
) -> Answer:
    """Try a case as it is, then with its parameters as constants; what cannot be fed is not tried."""
    lacking, refusal, names = lack(case), None, case.parameters
    if lacking is None:
        try:
            return attempt(case)
        except UnsupportedError as error:
            refusal = error
    if names:
        fixed = case.with_constants(names)
        if lack(fixed) is None:
            try:
                outcome, words = attempt(fixed)
            except UnsupportedError as error:
                return REFUSED, normalise(error)
            note = f"with {', '.join(names)} constant"
            return outcome, f"{words}; {note}" if words else note
    return (NOT_APPLICABLE, lacking or "") if refusal is None else (REFUSED, normalise(refusal))


def normalise(error: UnsupportedError) -> str:
    """Return the first line of TensorRT's words without what differs from run to run or from machine to machine."""
    words = (error.why or (error.what,))[0].strip().splitlines() or ["no words"]
    text = re.sub(r"\b0x[0-9a-fA-F]+", "0x", words[0])
    text = re.sub(r"(?:/[\w.+-]+)+/([\w.+-]+)", r"\1", text)  # a path: its file
    text = re.sub(r"(\.(?:cpp|h|cc|cu|hpp)):\d+", r"\1", text)
    text = re.sub(r"(\.(?:cpp|h)::\w+)::\d+", r"\1", text)
    text = re.sub(r"__mye\d+", "__mye", text)
    text = re.sub(r"IBuilder::buildSerializedNetwork: ", "", text)
    return text if len(text) <= _WORDS else text[: _WORDS - 3] + "..."


def _has(case: NodeCase, kind: int) -> bool:
    values = (*case.model.graph.input, *case.model.graph.output)
    return any(value.type.tensor_type.elem_type == kind for value in values)


def precision_of(case: NodeCase) -> str:
    """Return the precision that a case is written in: 16 bits where no input or output is float32."""
    if _has(case, TensorProto.FLOAT):
        return "fp32"
    if _has(case, TensorProto.FLOAT16):
        return "fp16"
    return "bf16" if _has(case, TensorProto.BFLOAT16) else "fp32"


def _judge(bench: Workbench, case: NodeCase) -> Answer:
    feeds = {name: as_fed(value) for name, value in case.inputs.items()}
    precision = precision_of(case)
    verdict: Verdict | None = None
    try:
        verdict = bench.judge(case.model, feeds, precision=precision, label=case.name)
        got = _run(bench, case, feeds, precision)
    except ModelError as error:
        if "ONNX Runtime" not in error.what:
            return REFUSED, f"not a model that the check reads: {error.what}"
        got = _run(bench, case, feeds, precision)
    except ExecutionError as error:
        lack = _KERNEL_LACKS.search(" ".join((error.what, *error.why)))
        if bench.executor.emulated and lack is not None:
            return NOT_APPLICABLE, f"onnxruntime has no kernel: {next(filter(None, lack.groups()))}"
        raise
    differs = differences(case, got)
    return conclude(verdict, differs)


def conclude(verdict: Verdict | None, differs: str | None) -> Answer:
    """Return the outcome for a verdict of our limits, and what differs from the expected outputs (None: they agree)."""
    if verdict is not None and verdict.status == VIOLATES:
        finding = verdict.findings[0]
        if finding.check != "compared" or differs is not None:  # outputs without elements: nothing to compare
            words = f"{finding.check} of {finding.tensor!r}" if finding.tensor else finding.check
            return WRONG, f"{words}: {finding.note or finding.rule}; {differs or 'agrees'}"[:_WORDS]
        return SUPPORTED, "no elements"
    if verdict is not None and verdict.status.startswith(CONFORMS):
        if differs is not None:
            return WRONG, f"{verdict.status}, and yet {differs}"[:_WORDS]
        return SUPPORTED, verdict.status
    if differs is not None:
        return WRONG, differs[:_WORDS]
    status = "unjudged" if verdict is None else verdict.status
    return SUPPORTED, "agrees" if status == UNJUDGED else f"agrees, {status}"


def as_fed(value: Any) -> np.ndarray[Any, Any]:
    """Return an array as our runs take it: bfloat16 as float32."""
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _run(
    bench: Workbench, case: NodeCase, feeds: Mapping[str, np.ndarray[Any, Any]], precision: str
) -> Mapping[str, np.ndarray[Any, Any]]:
    graph = Graph(load_model(case.model))
    shapes = shapes_for(graph, {name: value.shape for name, value in feeds.items()}, None)
    with bench.session(case.model, precision, profile_for(graph, shapes, None)) as session:
        return session.run(feeds)


def differences(case: NodeCase, got: Mapping[str, np.ndarray[Any, Any]]) -> str | None:
    """Return how outputs differ from the expected ones of a case, None where they agree."""
    kinds = {value.name: value.type.tensor_type.elem_type for value in case.model.graph.output}
    for name, expected in case.outputs.items():
        want, values = as_fed(expected), got[name]
        if values.shape != want.shape:
            return f"{name!r} has shape {values.shape}, expected {want.shape}"
        if values.dtype != want.dtype:
            return f"{name!r} is {values.dtype}, expected {want.dtype}"
        if values.dtype.kind != "f":
            bad = values != want
        else:
            rtol = max(case.rtol, 4 * _ULP.get(kinds[name], 0.0))
            with np.errstate(invalid="ignore"):
                near = np.isclose(
                    values.astype(np.float64), want.astype(np.float64), rtol, case.atol, equal_nan=True
                )
            bad = ~near
        if np.any(bad):
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            return (
                f"{int(np.sum(bad))} of {values.size} of {name!r} differ, at {place}: {values[place]:.6g}, "
                f"expected {want[place]:.6g}"
            )
    return None
