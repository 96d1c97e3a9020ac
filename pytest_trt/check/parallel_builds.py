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
from pytest_trt.errors import RuntimeMissingError, TrtError, UnsupportedError
from pytest_trt.numerics.formats import Array
from pytest_trt.precision import prepare
from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import Runtime, discover
from pytest_trt.runtime.session import Session

THREADS = 4
ROUNDS = 2
LIMIT_SECONDS = 120
_TOLD = 2
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

    Raises
    ------
    UnsupportedError
        This TensorRT does not build the network in a process without threads either.
    """
    words, told = _ended(settings, who, limit_seconds, THREADS)
    if words and told:
        alone, told = _ended(settings, who, limit_seconds, 0)
        if alone and told:
            raise UnsupportedError(
                f"the network of this check does not build alone, without threads: {alone}"
            )
    return words


def _ended(settings: Settings, who: str, limit_seconds: float, threads: int) -> tuple[str, bool]:
    """Return what went wrong in a process with that many threads, and whether it lived to tell; without any it builds alone."""
    given = json.dumps({**_plain(settings), "who": who, "threads": threads})
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
        return f"{threads} threads with a builder each did not end within {limit_seconds:g} s", False
    if done.returncode < 0:
        return f"{threads} threads with a builder each ended the process: {_signal(-done.returncode)}", False
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        told = " | ".join(done.stderr.strip().splitlines()[-3:])
        return f"the process with {threads} builders ended with status {done.returncode}: {told}", False
    found = json.loads(lines[-1])
    return "; ".join(found[:_TOLD]) + (f"; and {len(found) - _TOLD} more" if len(found) > _TOLD else ""), True


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _plain(settings: Settings) -> dict[str, Any]:
    wanted = ("gpu", "runtime", "device", "emulate", "seed", "faults")
    return {name: value for name, value in asdict(settings).items() if name in wanted}


def _network(number: int) -> tuple[ModelProto, Array]:
    """Return x * w + b behind a ReLU, and what it gives; networks differ in their numbers alone.

    No product of matrices: TensorRT-RTX compiles none in FP32 for Turing, the class of the default GPU.
    """
    rng = np.random.default_rng(number)
    weights, bias = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((1, 8), (3, 1)))
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "w"], ["scaled"], name="scale"),
            helper.make_node("Add", ["scaled", "b"], ["shifted"], name="shift"),
            helper.make_node("Relu", ["shifted"], ["y"], name="cut"),
        ],
        "parallel",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 8])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model, np.maximum(_FEED * weights + bias, 0)


def build_in_threads(rt: Runtime, threads: int = THREADS) -> list[str]:
    """Return what is wrong, in words, after threads have built, loaded and run networks of their own, all at once.

    Without threads one network is built, loaded and run in this one.
    """

    def work(place: int) -> list[str]:
        found = []
        for turn in range(ROUNDS if threads else 1):
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

    if not threads:
        return work(0)
    answers = run_in_threads([partial(work, place) for place in range(threads)])
    return [words for each in answers for words in each]


def main() -> None:
    """Build in threads as standard input says, and print what is wrong as JSON."""
    given = json.load(sys.stdin)
    who, threads = given.pop("who"), given.pop("threads")
    found = discover(Settings(**{**given, "faults": tuple(given["faults"])}))
    rt = found.executor if who == "executor" else found.builder
    if rt is None:
        raise RuntimeMissingError(f"there is no {who} here")
    print(json.dumps(build_in_threads(rt, threads)))


if __name__ == "__main__":
    main()
