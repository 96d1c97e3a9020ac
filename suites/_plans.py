"""Which plans a runtime loads, and what the loaded ones compute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.errors import ExecutionError, UnsupportedError
from pytest_trt.precision import prepare
from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import Runtime, discover
from pytest_trt.runtime.plan import Plan
from pytest_trt.runtime.session import Session, load_engine

from ._named import Checked

LOADS = "plan-loads"
OWN_ENGINE = "plan-own-engine"
TWO_PROFILES = "two-profiles"
GARBAGE = "garbage-refused"
DAMAGED = "damaged-plan-refused"
OTHER_VERSION = "plan-of-other-version-refused"
OTHER_GPU = "plan-of-other-gpu-refused"

FEED = np.arange(-12, 12, dtype=np.float32).reshape(3, 8)  # small integers: no result is rounded


def weights(number: int) -> np.ndarray:
    """Return the weights of network `number`: small integers."""
    return np.random.default_rng(number).integers(-4, 5, (8, 5)).astype(np.float32)


def network(number: int) -> ModelProto:
    """Return a matrix product with a dynamic batch; all numbers differ in the weights alone."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "planned",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(weights(number), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def build(rt: Runtime, number: int = 0, profiles: tuple[tuple[int, int], ...] = ((1, 8),)) -> Plan:
    """Return a plan of a network, with one profile of the batch for each (least, most)."""
    ready = prepare(network(number), "fp32", strong=rt.features.strong_typing)
    shapes = [{"x": ((low, 8), (low, 8), (high, 8))} for low, high in profiles]
    request = BuildRequest(
        model=ready.model.SerializeToString(),
        strongly_typed=ready.strong,
        flags=ready.flags,
        clear=ready.clear,
        profile=shapes[0],
        more_profiles=tuple(shapes[1:]),
    )
    return build_plan(rt, request)


def _run(rt: Runtime, plan: Plan | bytes, number: int, profile: int = 0) -> str | None:
    """Return what is wrong with the answer of a plan, None if it is that of its network."""
    try:
        with Session(rt, plan, profile_index=profile) as session:
            got = session.run({"x": FEED})["y"]
    except ExecutionError as error:
        return f"{error.what}: {'; '.join(error.why)}"
    want = FEED @ weights(number)
    wrong = int(np.count_nonzero(got != want))
    return f"{wrong} of {want.size} values are not those of the network that was built" if wrong else None


def _refused(rt: Runtime, data: bytes, what: str) -> str | None:
    """Return what is wrong where bytes are loaded, or refused without a word."""
    try:
        load_engine(rt, data)
    except ExecutionError as error:
        silent = any("logged no error" in line for line in error.why)
        return f"{what} was refused without a word" if silent or not error.why else None
    return f"{what} was loaded"


def damages(data: bytes) -> Mapping[str, bytes]:
    """Return a plan with one byte changed at several places, and cut short, by name."""
    found = {f"a plan cut to {share} %": data[: len(data) * share // 100] for share in (99, 50)}
    for name, at in (("first quarter", len(data) // 4), ("middle", len(data) // 2), ("end", len(data) - 1)):
        found[f"a plan with another byte in its {name}"] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    return found


def _relatives(rt: Runtime) -> Iterator[tuple[str, str, Runtime]]:
    """Yield emulators of another version and of another GPU class: name of the check, words, who builds."""
    from pytest_trt.emulator import known

    product = rt.plays.split("-")[0]
    version = next(v for p, v in reversed(known()) if p == product and v != rt.version)
    gpu = next(name for name, sm in (("t4", 75), ("l4", 89)) if sm != rt.gpu.sm)
    for check, words, plays, place in (
        (OTHER_VERSION, f"a plan of version {version}", f"{product}-{version}", rt.gpu.name),
        (OTHER_GPU, f"a plan for {gpu}", rt.plays, gpu),
    ):
        other = discover(Settings(runtime="emulator", emulate=plays, gpu=place)).executor
        assert other is not None
        yield check, words, other


def check_plans(rt: Runtime) -> Iterator[Checked]:
    """Yield which plans are loaded that ought to be, and which are that ought not to be.

    A damaged or foreign plan is given to the emulator alone: what a real TensorRT does with one is undefined, and may end
    the process. Bytes that do not begin like a plan are refused by every TensorRT.
    """
    plan = build(rt)
    yield LOADS, _run(rt, plan, 0)
    yield OWN_ENGINE, _run(rt, build(rt, 1), 1)
    yield GARBAGE, _refused(rt, bytes(4096), "4096 zero bytes")
    if rt.emulated:
        for words, data in damages(plan.data).items():
            yield DAMAGED, _refused(rt, data, words)
        for check, words, other in _relatives(rt):
            yield check, _refused(rt, build(other).data, words)
    try:
        double = build(rt, profiles=((1, 4), (2, 8)))
    except UnsupportedError as error:
        yield TWO_PROFILES, f"a network with two profiles was refused: {error.what}"
        return
    for index in (0, 1):
        yield TWO_PROFILES, _run(rt, double, 0, index)
