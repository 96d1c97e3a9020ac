"""Read a model without ever needing more of it than fits into one message."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto
from onnx.external_data_helper import load_external_data_for_model, uses_external_data

from pytest_trt.errors import ModelError

# One protobuf message holds less than this; ONNX puts the weights of larger models into files beside the model.
LARGEST = 2**31


def load(model: ModelProto | bytes | str | os.PathLike[str]) -> ModelProto:
    """Return a model; weights beside the file are read unless they would not fit into one message.

    Raises
    ------
    ModelError
        There is no such file, it is not ONNX, or weights beside it are missing.
    """
    if isinstance(model, ModelProto):
        return model
    if isinstance(model, bytes):
        return _parse(model, "the model")
    path = Path(model)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read", why=error.strerror or str(error)) from error
    loaded = _parse(data, repr(str(path)))
    beside = [tensor for tensor in loaded.graph.initializer if uses_external_data(tensor)]
    if beside and len(data) + sum(size_of(tensor) for tensor in beside) < LARGEST:
        try:
            load_external_data_for_model(loaded, str(path.parent))
        except Exception as error:  # onnx raises several types, ValidationError among them
            raise ModelError(
                f"{str(path)!r} has weights in a file that cannot be read",
                why=str(error).strip()[:500],
                mend="put the file of its weights beside it",
            ) from error
    return loaded


def size_of(tensor: TensorProto) -> int:
    """Return the bytes of a tensor's values, from its type and its dimensions."""
    try:
        width = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, ValueError, TypeError):
        width = 4
    count = 1
    for length in tensor.dims:
        count *= length
    return int(count * width)


def _parse(data: bytes, what: str) -> ModelProto:
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(f"{what} is not an ONNX model", why=str(error)) from error
    if not model.HasField("graph") or not model.opset_import:
        raise ModelError(f"{what} is not an ONNX model", why="it has no graph or imports no operators")
    return model
