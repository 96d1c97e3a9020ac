"""Builders and runtimes in several threads at once, in a process of their own that may crash or hang.

`python -m pytest_trt.check.parallel_builds` is that process: settings come in JSON on its standard input, complaints go out
as JSON on the last line of its standard output.

Public bugs: NVIDIA/TensorRT issue 1594, microsoft/onnxruntime issues 10714 and 20089, lightvector/KataGo issue 1225: a crash or
a hang where threads build, each with a builder, a network and a parser of its own. TensorRT's documentation allows it ("Thread
Safety": different objects may be used by different threads).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.check.concurrent import run_in_threads
from pytest_trt.errors import RuntimeMissingError, TrtError
from pytest_trt.precision import prepare
from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import Runtime, discover
from pytest_trt.runtime.session import Session

THREADS = 4
ROUNDS = 2
LIMIT_SECONDS = 120
_FEED = np.arange(-12, 12, dtype=np.float32).reshape(3, 8)  # small integers: no result is rounded


def describe_parallel_builds(
    settings: Settings, who: str = "executor", limit_seconds: float = LIMIT_SECONDS
) -> str:
    """Return how builders in threads ended, in words; empty where every plan was built, and gives its own answer.

    Parameters
    ----------
    settings : Settings
        Which TensorRT, with which faults.
    who : str
        `executor` builds, loads and runs; `builder` is a real TensorRT that only builds.
    limit_seconds : float
        A process that takes longer hangs.
    """
    given = json.dumps({**_plain(settings), "who": who})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "pytest_trt.check.parallel_builds"]
    try:
        done = subprocess.run(
            command,
            input=given,
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{THREADS} threads with a builder each did not end within {limit_seconds:g} s"
    if done.returncode < 0:
        return f"{THREADS} threads with a builder each ended the process: {_signal(-done.returncode)}"
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        told = " | ".join(done.stderr.strip().splitlines()[-3:])
        return f"the process with {THREADS} builders ended with status {done.returncode}: {told}"
    return "; ".join(json.loads(lines[-1]))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _plain(settings: Settings) -> dict[str, Any]:
    wanted = ("gpu", "runtime", "device", "emulate", "seed", "faults")
    return {name: value for name, value in asdict(settings).items() if name in wanted}


def _network(number: int) -> tuple[ModelProto, np.ndarray]:
    """Return a matrix product, and what it gives; networks differ in the weights alone."""
    weights = np.random.default_rng(number).integers(-4, 5, (8, 5)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "parallel",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 5])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model, _FEED @ weights


def build_in_threads(rt: Runtime) -> list[str]:
    """Return what is wrong, in words, after threads have built, loaded and run networks of their own, all at once."""

    def work(place: int) -> list[str]:
        found = []
        for turn in range(ROUNDS):
            number = place * ROUNDS + turn
            model, want = _network(number)
            ready = prepare(model, "fp32", strong=rt.features.strong_typing)
            try:
                plan = build_plan(
                    rt,
                    BuildRequest(
                        ready.model.SerializeToString(),
                        strongly_typed=ready.strong,
                        flags=ready.flags,
                        clear=ready.clear,
                    ),
                )
                if not rt.can_execute:
                    continue
                with Session(rt, plan) as session:
                    got = session.run({"x": _FEED})["y"]
                if not np.array_equal(got, want):
                    found.append(f"network {number} gives the answer of another one")
            except TrtError as error:
                found.append(f"network {number}: {error.what}")
        return found

    return [
        words for each in run_in_threads([partial(work, place) for place in range(THREADS)]) for words in each
    ]


def main() -> None:
    """Build in threads as standard input says, and print what is wrong as JSON."""
    given = json.load(sys.stdin)
    who = given.pop("who")
    found = discover(Settings(**{**given, "faults": tuple(given["faults"])}))
    rt = found.executor if who == "executor" else found.builder
    if rt is None:
        raise RuntimeMissingError(f"there is no {who} here")
    print(json.dumps(build_in_threads(rt)))


if __name__ == "__main__":
    main()
