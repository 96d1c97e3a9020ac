"""Networks for the two ways to run an engine, and the child process for what might end a real TensorRT."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.check.modes import ASYNC_REFUSED, SYNC_REFUSED, check_addresses
from pytest_trt.check.workbench import Workbench
from pytest_trt.records import Settings
from pytest_trt.runtime.load import Runtime, discover

from ._named import Checked

# Seconds that a child may take: it loads a TensorRT and builds one small engine.
PATIENCE = 300
_CHILD = (
    "import json, sys; sys.path[:0] = json.loads(sys.argv[2]); "
    "from {module} import run_child; run_child(sys.argv[1])"
)


def chain(width: int, depth: int) -> ModelProto:
    """Return `depth` products with one permutation matrix, each behind a ReLU: exact on integers at any depth."""
    order = np.random.default_rng(0).permutation(width)
    weights = numpy_helper.from_array(np.eye(width, dtype=np.float32)[order], "w")
    nodes, last = [], "x"
    for index in range(depth):
        product, rectified = f"p{index}", "y" if index == depth - 1 else f"r{index}"
        nodes.append(helper.make_node("MatMul", [last, "w"], [product], name=f"product{index}"))
        nodes.append(helper.make_node("Relu", [product], [rectified], name=f"relu{index}"))
        last = rectified
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [width, width]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def integers(width: int) -> dict[str, np.ndarray]:
    """Return an input of small integers for a chain."""
    values = np.random.default_rng(1).integers(-8, 9, (width, width))
    return {"x": values.astype(np.float32)}


def chain_for(rt: Runtime) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """Return a network and its input: long enough that a GPU is at work for a while, or small for the emulator."""
    width, depth = (8, 3) if rt.device == "cpu" else (2048, 64)
    return chain(width, depth), integers(width)


def addresses(rt: Runtime, settings: Settings, session: Any) -> Iterator[Checked]:
    """Yield how runs without an address were taken; a real TensorRT is asked in a process of its own."""
    if rt.emulated:
        yield from check_addresses(session, {name: info.shape for name, info in session.inputs.items()})
    else:
        yield from in_child(settings)


def in_child(settings: Settings) -> Iterator[Checked]:
    """Yield the same from a process of its own, that may end as it likes."""
    asked = {name: getattr(settings, name) for name in ("runtime", "device", "gpu", "emulate", "faults")}
    command = [sys.executable, "-c", _CHILD.format(module=__name__), json.dumps(asked), json.dumps(sys.path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    found = [json.loads(line[4:]) for line in ended.stdout.splitlines() if line.startswith("row ")]
    yield from ((name, wrong) for name, wrong in found)
    told = {name for name, _ in found}
    for name in (name for name in (ASYNC_REFUSED, SYNC_REFUSED) if name not in told):
        words = ended.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        yield name, f"the process that asked ended with {ended.returncode}: {words[0]}"


def run_child(asked: str) -> None:
    """Print each row as a line; runs in the process that `in_child` starts."""
    told = json.loads(asked)
    settings = Settings(**{**told, "faults": tuple(told["faults"])})
    workbench = Workbench(settings, discover(settings))
    with workbench.session(chain(8, 3), "fp32") as session:
        for row in check_addresses(session, {"x": (8, 8)}):
            print("row", json.dumps(row), flush=True)
