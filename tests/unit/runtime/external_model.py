"""A matrix product whose weights lie in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def product(rows: int = 8, columns: int = 5) -> onnx.ModelProto:
    """Return `y = x @ w`, with small integers as weights."""
    weights = np.random.default_rng(0).integers(-4, 5, (rows, columns)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, columns])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save_external(folder: Path, location: str = "weights.bin") -> Path:
    """Return the path of the model, saved with its weights in a file beside it."""
    path = folder / "model.onnx"
    onnx.save_model(product(), str(path), save_as_external_data=True, location=location, size_threshold=0)
    return path
