"""The life of a plugin from a build to the last context: who is cloned, who runs, who is left.

Claims: each execution context has a clone of its own of every plugin, so that contexts in several threads do not share its
state; fields are serialised into the plan and come back from it; whatever TensorRT made of a plugin it destroys, once, and
calls nothing on it later (TensorRT documentation, "Adding Custom Layers Using the Python API" and "Thread Safety"; the
TensorRT 5.1 FAQ tells of `terminate()` that was called twice).
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

from pytest_trt.check.concurrent import run_in_threads
from pytest_trt.check.crosstalk import START_SECONDS
from pytest_trt.check.named import Checked
from pytest_trt.errors import ExecutionError
from pytest_trt.runtime.build import build_plan
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.plugin_lives import Fields, Life
from pytest_trt.runtime.plugins import NAME, NAMESPACE, VERSION, Counting, build_added
from pytest_trt.runtime.request import BuildRequest
from pytest_trt.runtime.session import Session, load_engine

LIVE = "plugin-live-count"
CLONES = "plugin-clone-per-context"
SURVIVE = "plugin-fields-survive"
AFTER = "plugin-nothing-after-destroy"
ENDS = "plugin-ends-once"
OWN = "plugin-own-state"
UNKNOWN = "plugin-unknown-refused"
OUTPUT = "plugin-output"

# How a plugin comes into a network: the parser asks its creator, or `add_plugin_v2` and `add_plugin_v3` take an instance.
ROUTES = ("parsed", "added")
FIELDS = Fields(0.5, 3, "kept through the plan")
CONTEXTS, RUNS, WIDTH, ROWS = 4, 3, 8, 2
PROFILE = {"x": ((1, WIDTH), (ROWS, WIDTH), (4, WIDTH))}


def _network(nodes: Sequence[Any], output: str) -> ModelProto:
    shape: list[str | int | None] = ["N", WIDTH]
    graph = helper.make_graph(
        nodes,
        "counted",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("pytest.trt", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def parsed_model(fields: Fields, version: str = VERSION, namespace: str = NAMESPACE) -> ModelProto:
    """Return Relu, the plugin by name, and Neg: y = -(max(x, 0) * scale + shift)."""
    plugin = helper.make_node(
        NAME,
        ["r"],
        ["p"],
        name="counting",
        domain="pytest.trt",
        scale=fields.scale,
        shift=fields.shift,
        label=fields.label,
        plugin_version=version,
        plugin_namespace=namespace,
    )
    relu, neg = (
        helper.make_node("Relu", ["x"], ["r"], name="relu"),
        helper.make_node("Neg", ["p"], ["y"], name="neg"),
    )
    return _network([relu, plugin, neg], "y")


def build_counted(rt: Runtime, counting: Counting, route: str, fields: Fields) -> bytes:
    """Return a plan with the plugin, by one of `ROUTES`; its creator has to be registered for `parsed`."""
    if route == "added":
        model = _network([helper.make_node("Relu", ["x"], ["r"], name="relu")], "r").SerializeToString()
        return build_added(counting, model, fields, PROFILE)
    model = parsed_model(fields).SerializeToString()
    request = BuildRequest(
        model=model, strongly_typed=rt.features.strong_typing, profile=PROFILE, detailed=False
    )
    return build_plan(rt, request).data


def wanted(x: np.ndarray, route: str, fields: Fields) -> np.ndarray:
    """Return what the network gives; no step rounds on small integers."""
    y: np.ndarray = np.maximum(x, 0) * np.float32(fields.scale) + np.float32(fields.shift)
    return -y if route == "parsed" else y


def check_plugins(rt: Runtime, kind: str, route: str, fields: Fields = FIELDS) -> list[Checked]:
    """Return what holds of the life of a plugin, `V3` or `V2`, by one of `ROUTES`.

    Raises
    ------
    UnsupportedError
        This TensorRT did not register, parse or build it.
    ExecutionError
        It did not load the plan, or made no context.
    """
    counting = Counting(rt, kind)
    with counting.registered():
        plan = build_counted(rt, counting, route, fields)
        gc.collect()
        rows = _run(rt, counting, plan, route, fields)
    rows += ((UNKNOWN, note) for note in _unknown(rt, kind, plan))
    return rows


def _run(rt: Runtime, counting: Counting, plan: bytes, route: str, fields: Fields) -> list[Checked]:
    lives = counting.ledger.lives
    built = len(lives)
    engine = load_engine(rt, plan)
    loaded = len(lives)
    sessions = [Session(rt, engine) for _ in range(CONTEXTS)]
    made = lives[loaded:]
    try:
        notes = _run_threads(sessions, route, fields)
    finally:
        for session in sessions:
            session.close()
    del session, sessions, engine
    gc.collect()
    return [
        (OUTPUT, notes[0] if notes else None),
        (SURVIVE, _lost(lives[built:], fields)),
        (CLONES, _shared(made)),
        (OWN, _mixed(lives)),
        (LIVE, _left(counting.ledger.live)),
        (AFTER, _called_late(lives)),
        (ENDS, _unpaired(lives)),
    ]


def feed_of(context: int) -> np.ndarray:
    """Return the input of a context: no two begin with the same number."""
    values = np.arange(ROWS * WIDTH, dtype=np.float32).reshape(ROWS, WIDTH)
    values += np.float32(1 + 32 * context)
    return values


def _run_threads(sessions: Sequence[Session], route: str, fields: Fields) -> list[str]:
    start = threading.Barrier(len(sessions), timeout=START_SECONDS)

    def work(index: int) -> list[str]:
        x = feed_of(index)
        want = wanted(x, route, fields)
        notes: list[str] = []
        start.wait()
        for turn in range(RUNS):
            try:
                got = sessions[index].run({"x": x})["y"]
            except ExecutionError as error:
                return [*notes, f"context {index + 1}, run {turn + 1}: {error.what}"]
            wrong = int(np.count_nonzero(got != want))
            if wrong:
                notes.append(f"context {index + 1}, run {turn + 1}: {wrong} of {want.size} values are wrong")
        return notes

    told = run_in_threads([partial(work, index) for index in range(len(sessions))])
    return sorted(chain.from_iterable(told))


def _names(lives: Sequence[Life]) -> str:
    return ", ".join(f"{life.serial} ({life.origin})" for life in lives)


def _lost(lives: Sequence[Life], fields: Fields) -> str | None:
    """Return what came back otherwise from the plan."""
    if not any(life.origin == "runtime" for life in lives):
        return "no instance was made out of the plan"
    wrong = next((life for life in lives if life.fields != fields), None)
    return (
        None
        if wrong is None
        else f"{fields} went into the plan, and instance {wrong.serial} has {wrong.fields}"
    )


def _shared(made: Sequence[Life]) -> str | None:
    fresh = [life for life in made if life.parent]
    if len(fresh) >= CONTEXTS:
        return None
    return f"{CONTEXTS} contexts were made, and {len(fresh)} clones: {_names(fresh) or 'none'}"


def _mixed(lives: Sequence[Life]) -> str | None:
    begins = {float(max(feed_of(index).flat[0], 0)): index + 1 for index in range(CONTEXTS)}
    for life in lives:
        users = sorted(begins.get(mark, 0) for mark in life.marks)
        if len(users) > 1:
            return f"instance {life.serial} ({life.origin}) was enqueued by contexts {', '.join(map(str, users))}"
    return None


def _left(live: Sequence[Life]) -> str | None:
    return f"all is deleted, and {len(live)} instances live: {_names(live)}" if live else None


def _called_late(lives: Sequence[Life]) -> str | None:
    late = next((life for life in lives if life.after_end), None)
    return (
        None
        if late is None
        else f"instance {late.serial} ({late.origin}) had ended, then {late.after_end[0]}() was called"
    )


def _unpaired(lives: Sequence[Life]) -> str | None:
    for life in lives:
        begun, ended, destroyed = (life.count(name) for name in ("initialize", "terminate", "destroy"))
        if begun != ended:
            return f"instance {life.serial} ({life.origin}) was initialised {begun} times, and terminated {ended} times"
        if destroyed > 1:
            return f"instance {life.serial} ({life.origin}) was destroyed {destroyed} times"
    return None


def _unknown(rt: Runtime, kind: str, plan: bytes) -> Iterator[str | None]:
    """Yield what is wrong where a plan is loaded whose plugin is not registered, or is of another version or namespace."""
    others = {
        "nothing is registered": None,
        "another version is registered": Counting(rt, kind, version="2"),
        "another namespace is registered": Counting(rt, kind, namespace="elsewhere"),
    }
    for words, other in others.items():
        with nullcontext() if other is None else other.registered():
            yield _refused(rt, plan, words)


def _refused(rt: Runtime, plan: bytes, words: str) -> str | None:
    try:
        load_engine(rt, plan)
    except ExecutionError as error:
        silent = any("logged no error" in line for line in error.why)
        return f"{words}: the plan was refused without a word" if silent or not error.why else None
    return f"{words}: the plan was loaded"
