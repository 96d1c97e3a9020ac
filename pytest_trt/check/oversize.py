"""A model above 2 GiB, where there is room for it: each matrix is one block of bytes, repeated."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from pytest_trt.check.graph import load_model
from pytest_trt.check.named import Checked
from pytest_trt.errors import ModelError
from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest
from pytest_trt.runtime.external import ONE_PIECE, find_weights
from pytest_trt.runtime.load import Runtime, find_builder
from pytest_trt.runtime.streaming import can_stream, write_plan

ONE_PIECE_REFUSED = "large-one-piece-refused"
LARGE_BUILDS = "large-plan"
SIDE, LAYERS = 8192, 18  # 18 matrices of 8192 x 8192 in FP16: 2.25 GiB
FILE_BYTES = LAYERS * SIDE * SIDE * 2
DISK_BYTES = FILE_BYTES + (1 << 28)
MEMORY_BYTES = 9 << 30  # seen with TensorRT-RTX 1.7.1: 7 GB at the peak


def lacks_room(budget: str, folder: Path) -> str:
    """Return why the model above 2 GiB is not built here, empty where it is: the budget, disk, memory."""
    needs = f"it needs {DISK_BYTES / 2**30:.1f} GiB of disk and {MEMORY_BYTES / 2**30:.0f} GiB of memory"
    if budget != "thorough":
        return f"a model above 2 GiB is built at --trt-budget=thorough: {needs}"
    disk = shutil.disk_usage(folder).free
    if disk < DISK_BYTES:
        return f"a model above 2 GiB has no room: {needs}, and {str(folder)!r} has {disk / 2**30:.1f} GiB of disk"
    memory = free_memory()
    if memory < MEMORY_BYTES:
        return f"a model above 2 GiB has no room: {needs}, and {memory / 2**30:.1f} GiB of memory are free"
    return ""


def free_memory() -> int:
    """Return how much memory a new process may take, bytes; 0 where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), 0)


def save_large(folder: Path) -> Path:
    """Return the path of a chain of matrix products in FP16; the file of weights is written block by block.

    No two matrices are the same: TensorRT-RTX 1.7.1 keeps equal weights once, and the plan would be small.
    """
    size = SIDE * SIDE * 2
    weights = []
    with (folder / "large.bin").open("wb") as file:
        for index in range(LAYERS):
            tensor = TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT16, dims=[SIDE, SIDE])
            tensor.data_location = TensorProto.EXTERNAL
            facts = {"location": "large.bin", "offset": str(index * size), "length": str(size)}
            for key, value in facts.items():
                tensor.external_data.add(key=key, value=value)
            weights.append(tensor)
            block = np.random.default_rng(index).integers(-1, 2, SIDE * 64).astype(np.float16).tobytes()
            for _ in range(size // len(block)):
                file.write(block)
    names = ["x", *(f"h{index}" for index in range(1, LAYERS)), "y"]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]], name=f"product{i}")
            for i in range(LAYERS)
        ],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, [1, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, [1, SIDE])],
        weights,
    )
    path = folder / "large.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def check_large(rt: Runtime, folder: Path) -> list[Checked]:
    """Return what is wrong with a model above 2 GiB: refused in one piece, built from its file, the plan streamed."""
    path = save_large(folder)
    found = find_weights(onnx.load(str(path), load_external_data=False), folder)
    held = sum(weight.length for weight in found)
    assert held == FILE_BYTES > ONE_PIECE
    rows: list[Checked] = [(ONE_PIECE_REFUSED, _one_piece(path))]
    count, digest = 0, hashlib.sha256()

    def take(piece: bytes) -> None:
        nonlocal count
        count += len(piece)
        digest.update(piece)

    request = BuildRequest.from_file(path, strongly_typed=rt.features.strong_typing, detailed=False)
    if can_stream(rt):
        write_plan(rt, request, take)
        wrong = None if count >= held else f"the plan has {count} bytes, and the weights {held}"
        rows.append((LARGE_BUILDS, wrong))
    os.unlink(folder / "large.bin")
    return rows


def checker(gpu: str) -> Callable[[str], list[Any]]:
    """Return what checks the real TensorRT that builds, in a process of its own: the memory goes back when it ends."""
    rt = find_builder(Settings(gpu=gpu))
    assert rt is not None
    return lambda folder: [list(row) for row in check_large(rt, Path(folder))]


def _one_piece(path: Path) -> str | None:
    try:
        load_model(path)
    except ModelError as error:
        told = "2 GiB" in str(error) and "from_file" in str(error)
        return None if told else f"refused, and the way out is not told: {error}"
    return "loaded in one piece"
