"""The workspace limit of a builder: a smaller one takes implementations away, and never gives another answer.

Source: TensorRT API, `IBuilderConfig::setMemoryPoolLimit` and `MemoryPoolType::kWORKSPACE`: implementations that need more
scratch memory than the limit are not used; where none is left, the build fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.check.named import Checked
from pytest_trt.errors import UnsupportedError
from pytest_trt.numerics.formats import Array
from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import Runtime, find_builder
from pytest_trt.runtime.plan import Plan
from pytest_trt.runtime.session import Session, load_engine

DEFAULT_BUILDS = "workspace-default-builds"
MONOTONE = "workspace-monotone"
ANSWER = "workspace-same-answer"
REFUSED = "workspace-too-small-refused"
WORDS = "workspace-refused-in-words"
MEMORY = "workspace-memory-within-limit"
READ_BACK = "workspace-limit-read-back"

GIB = 1 << 30
LIMITS = (None, GIB, 1 << 24, 1 << 23, 1 << 20, 1 << 16, 1 << 10, 1, 0)  # bytes; None is the default
FEW = (None, GIB, 1 << 20, 1, 0)
_SHAPE = (2, 16, 32, 32)
_KERNEL = (16, 16, 5, 5)
# Room for the tensors themselves: input and output in float32, each in two memory formats, channels padded to 32.
TENSOR_BYTES = 2 * 2 * 2 * 4 * int(np.prod(_SHAPE))


@dataclass(frozen=True)
class Step:
    """What came of one limit.

    Attributes
    ----------
    limit : int or None
        Bytes; None for the default.
    plan : Plan or None
        None where TensorRT refused.
    words : tuple of str
        With which it did.
    read : int
        What the configuration said that the limit is.
    """

    limit: int | None
    plan: Plan | None
    words: tuple[str, ...] = ()
    read: int = -1


def convolution() -> tuple[ModelProto, Array, Array]:
    """Return a convolution whose columns are 1.56 MiB an image, an input, and the exact output: integers, no sum is rounded."""
    rng = np.random.default_rng(7)
    weights = rng.integers(-2, 3, _KERNEL).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[2, 2, 2, 2])],
        "workspace",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, _SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, _SHAPE)],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    feed = rng.integers(-3, 4, _SHAPE).astype(np.float32)
    padded = np.pad(feed, ((0, 0), (0, 0), (2, 2), (2, 2)))
    want = np.zeros(_SHAPE, np.float32)
    for row in range(_KERNEL[2]):
        for column in range(_KERNEL[3]):
            part = padded[:, :, row : row + _SHAPE[2], column : column + _SHAPE[3]]
            want += np.einsum("oc,nchw->nohw", weights[:, :, row, column], part, optimize=True)
    return model, feed, want


def walk(
    rt: Runtime,
    limits: Iterable[int | None] = LIMITS,
    sm: int | None = None,
    build: Callable[..., Plan] = build_plan,
) -> list[Step]:
    """Return what comes of each limit, in order."""
    data = convolution()[0].SerializeToString()
    steps = []
    for limit in limits:
        read: list[int] = []

        def note(config: Any, read: list[int] = read, limit: int | None = limit) -> None:
            if limit is not None and hasattr(type(config), "max_workspace_size"):
                config.max_workspace_size = limit  # 8.6: the name of before 8.4, for the same limit
            read.append(int(config.get_memory_pool_limit(rt.trt.MemoryPoolType.WORKSPACE)))

        request = BuildRequest(data, strongly_typed=rt.features.strong_typing, workspace_bytes=limit, sm=sm)
        try:
            plan = build(rt, request, configure=note)
        except UnsupportedError as error:
            steps.append(Step(limit, None, error.why, *read))
        else:
            steps.append(Step(limit, plan, (), *read))
    return steps


def check_steps(steps: Sequence[Step], *, must_refuse: bool) -> list[Checked]:
    """Return what is wrong with a walk down the limits, by check.

    Parameters
    ----------
    steps : sequence of Step
        Largest limit first.
    must_refuse : bool
        One byte is too little for a convolution. So it is for TensorRT-RTX 1.7.1 and for the emulator; a TensorRT with
        implementations without scratch memory may build.
    """
    rows: list[Checked] = []
    refused: Step | None = None
    for step in steps:
        name = "the default limit" if step.limit is None else f"a limit of {step.limit} bytes"
        if step.limit is None or step.limit >= GIB:
            told = f"{name}: {' '.join(step.words)}" if step.plan is None else None
            rows.append((DEFAULT_BUILDS, told))
        if step.limit is not None:
            wrong = None if step.read == step.limit else f"{name} reads back as {step.read}"
            rows.append((READ_BACK, wrong))
        if step.plan is None:
            refused = refused or step
            told = (
                None if any("workspace" in line.lower() for line in step.words) else f"{name}: {step.words}"
            )
            rows.append((WORDS, told))
        elif refused is not None and step.limit:
            rows.append((MONOTONE, f"{name} builds, and {refused.limit} bytes did not"))
        else:
            rows.append((MONOTONE, None))
        if step.limit == 0 or (must_refuse and step.limit is not None and step.limit <= 1):
            rows.append((REFUSED, None if step.plan is None else f"{name} builds"))
    return rows


def check_engines(rt: Runtime, steps: Iterable[Step]) -> list[Checked]:
    """Return what is wrong with the engines of a walk: each gives the exact answer, and needs no more memory than it may."""
    _, feed, want = convolution()
    rows: list[Checked] = []
    for step in steps:
        if step.plan is None:
            continue
        engine = load_engine(rt, step.plan)
        with Session(rt, engine) as session:
            got = session.run({"x": feed})["y"]
        bad = int(np.count_nonzero(got != want))
        rows.append((ANSWER, f"limit {step.limit}: {bad} of {want.size} values differ" if bad else None))
        if step.limit is not None:
            held = device_memory_of(rt, engine)
            most = step.limit + TENSOR_BYTES
            told = (
                f"limit {step.limit}: the engine needs {held} bytes, and {most} with its tensors are allowed"
            )
            rows.append((MEMORY, told if held > most else None))
    return rows


def device_memory_of(rt: Runtime, engine: Any) -> int:
    """Return how much device memory a context of an engine needs, bytes."""
    return int(engine.device_memory_size_v2 if rt.features.device_memory_v2 else engine.device_memory_size)


def walker(gpu: str) -> Callable[[int], list[list[Any]]]:
    """Return what walks down the limits for a compute capability, in a process of its own.

    A refusal for SM75 lets TensorRT-RTX 1.7.1 build the next models of that process by the rules of Turing.
    """
    rt = find_builder(Settings(gpu=gpu))
    assert rt is not None

    def walk_for(sm: int) -> list[list[Any]]:
        return [[s.limit, s.plan is not None, list(s.words), s.read] for s in walk(rt, FEW, sm)]

    return walk_for


def steps_of(rows: Iterable[Sequence[Any]]) -> list[Step]:
    """Return the steps that a walker gave."""
    return [
        Step(limit, Plan(b"") if built else None, tuple(words), read) for limit, built, words, read in rows
    ]
