"""Plans that were built to be compatible, and what loads them; and plans that a real TensorRT tries in a child process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

from pytest_trt.errors import UnsupportedError
from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.contained import CRASHED, HUNG
from pytest_trt.runtime.load import Runtime, discover
from pytest_trt.runtime.log import errors_in
from pytest_trt.runtime.plan import Plan
from pytest_trt.runtime.preflight import LOADED, SILENT, UNKNOWN, VALID, read_validity, try_plans
from pytest_trt.runtime.session import Session

from ._named import Checked
from ._plans import FEED, damages, network, weights

VERSION = "version-compatible-plan"
HOST_CODE = "host-code-needs-permission"
HARDWARE = "hardware-compatible-plan"
NO_CRASH = "plan-ends-no-process"
IN_WORDS = "plan-refused-in-words"
VALIDITY = "plan-validity"

AMPERE = ("a100", "l4")  # SM80 and SM89
TURING = "t4"


def _emulator(plays: str, gpu: str) -> Runtime:
    found = discover(Settings(runtime="emulator", emulate=plays, gpu=gpu)).executor
    assert found is not None
    return found


def _build(rt: Runtime, *, flags: frozenset[str] = frozenset(), level: str = "") -> Plan:
    def configure(config: Any) -> None:
        if level:
            config.hardware_compatibility_level = getattr(rt.trt.HardwareCompatibilityLevel, level)

    profile = {"x": ((1, 8), (3, 8), (8, 8))}
    strong = rt.features.strong_typing
    request = BuildRequest(
        network(0).SerializeToString(), strongly_typed=strong, flags=flags, profile=profile
    )
    return build_plan(rt, request, configure=configure)


def _answer(rt: Runtime, plan: Plan, *, host_code: bool) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return what an engine of the plan answers, None where it is not loaded, and the errors that were logged."""
    with rt.logger.collect() as lines, rt.active():
        runtime = rt.trt.Runtime(rt.logger.raw)
        runtime.engine_host_code_allowed = host_code
        engine = runtime.deserialize_cuda_engine(plan.data)
    if engine is None:
        return None, errors_in(lines)
    with Session(rt, engine) as session:
        return session.run({"x": FEED})["y"], ()


def _demand(rt: Runtime, plan: Plan, what: str, *, loads: bool, host_code: bool = False) -> str | None:
    """Return what is wrong where a plan is loaded or not, other than it has to be."""
    got, words = _answer(rt, plan, host_code=host_code)
    if got is None:
        if loads:
            return f"{what} was refused: {'; '.join(words) or 'without a word'}"
        return None if words else f"{what} was refused without a word"
    if not loads:
        return f"{what} was loaded"
    wrong = int(np.count_nonzero(got != FEED @ weights(0)))
    return f"{what}: {wrong} of {got.size} values are wrong" if wrong else None


def check_compatible(rt: Runtime) -> Iterator[Checked]:
    """Yield which plans built for other versions and GPUs the emulator loads, as the version that it plays would.

    Two versions or two GPUs of one machine are what it takes; with a real TensorRT that is the user's to bring.
    """
    product, _, version = rt.plays.rpartition("-")
    yield from _versions(rt, product, version)
    if rt.features.rtx:
        return
    ampere, other = (_emulator(rt.plays, name) for name in AMPERE)
    turing = _emulator(rt.plays, TURING)
    plain, fit = _build(ampere), _build(ampere, level="AMPERE_PLUS")
    yield HARDWARE, _demand(other, plain, "a plan for SM80 alone, on SM89", loads=False)
    yield HARDWARE, _demand(other, fit, "a plan for SM80 and newer, on SM89", loads=True)
    yield HARDWARE, _demand(turing, fit, "a plan for SM80 and newer, on SM75", loads=False)


def _versions(rt: Runtime, product: str, version: str) -> Iterator[Checked]:
    """Yield what becomes of plans of the versions before and after, with and without the flag for compatibility."""
    from pytest_trt.emulator import known

    if "VERSION_COMPATIBLE" not in rt.features.builder_flags:
        return
    versions = [v for p, v in known() if p == product]
    place = versions.index(version)
    flags = frozenset({"VERSION_COMPATIBLE"})
    for near, newer in (
        (versions[place - 1] if place else "", False),
        (versions[place + 1] if place + 1 < len(versions) else "", True),
    ):
        if not near:
            continue
        other = _emulator(f"{product}-{near}", rt.gpu.name)
        try:
            plan = _build(other, flags=flags)
        except UnsupportedError as error:
            yield (
                VERSION,
                None if error.why or error.what else "a compatible build was refused without a word",
            )
            continue
        what = f"a version-compatible plan of {near}, in {version}"
        yield VERSION, _demand(rt, plan, what, loads=not newer, host_code=True)
        yield HOST_CODE, _demand(rt, plan, f"{what}, without leave for host code", loads=False)
        yield (
            VERSION,
            _demand(rt, _build(other), f"a plain plan of {near}, in {version}", loads=False, host_code=True),
        )


def check_contained(rt: Runtime, plan: bytes, others: Mapping[str, bytes]) -> Iterator[Checked]:
    """Yield what a real TensorRT does with plans in a child process: load or refuse in words, and never end it.

    Parameters
    ----------
    plan : bytes
        A good one of this TensorRT.
    others : mapping of str to bytes
        Good ones for other GPUs or versions, by name.
    """
    tried = {
        "a good plan": plan,
        "no bytes": b"",
        "4096 zero bytes": bytes(4096),
        "the header alone": plan[:64],
    }
    tried |= {**damages(plan), **others}
    for name, ended in try_plans(rt.product, tried).items():
        words = "; ".join(ended.words)
        yield (
            NO_CRASH,
            f"{name}: the process {ended.outcome}: {words}" if ended.outcome in (CRASHED, HUNG) else None,
        )
        silent = ended.outcome == SILENT
        yield IN_WORDS, f"{name} was refused without a word" if silent else None
        if name in ("no bytes", "4096 zero bytes", "the header alone", "a plan cut to 50 %"):
            yield IN_WORDS, f"{name} was loaded" if ended.outcome == LOADED else None


def check_validity(rt: Runtime, plan: bytes) -> Iterator[Checked]:
    """Yield what `get_engine_validity` says of a good header and of none."""
    good, garbage = read_validity(rt, plan), read_validity(rt, bytes(4096))
    yield VALIDITY, None if good in (VALID, UNKNOWN) else f"a good plan: {good}"
    yield VALIDITY, None if "MALFORMED_ENGINE" in garbage else f"4096 zero bytes: {garbage}"


def plain_network(batch: int | str = 2) -> ModelProto:
    """Return y = ReLU(x + x), which every compute capability builds; a name for the batch makes it dynamic."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["d"]), helper.make_node("Relu", ["d"], ["y"])],
        "plain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 8])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def build_plain(rt: Runtime, sm: int | None = None) -> bytes:
    """Return a plan of `plain_network` for a compute capability, by default that of the GPU class."""
    data = plain_network().SerializeToString()
    return build_plan(rt, BuildRequest(data, strongly_typed=rt.features.strong_typing, sm=sm)).data


def plans_of(rt: Runtime) -> tuple[bytes, dict[str, bytes]]:
    """Return a plan of a network that every compute capability builds, and such plans for others where this TensorRT has them."""
    capabilities = rt.features.compute_capabilities
    others = [sm for sm in (75, 89, 120) if sm != rt.gpu.sm and f"SM{sm}" in capabilities]
    return build_plain(rt), {f"a plan for SM{sm}": build_plain(rt, sm) for sm in others}
