"""External weights as TensorRT's parser takes them: from the folder of the model, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from onnx import AttributeProto, GraphProto, TensorProto

if TYPE_CHECKING:
    from pytest_trt.emulator.sites import Faults

_ONE_PIECE = (1 << 31) - 1


class LostWeights(Exception):
    """Weights cannot be read: `tensor` names them, the message is what TensorRT logs."""

    def __init__(self, tensor: str, text: str) -> None:
        self.tensor = tensor
        super().__init__(text)


def import_weights(model: onnx.ModelProto, path: str | None, faults: Faults) -> None:
    """Read the external weights of a model into it, so that it is the same as one that never had any.

    Parameters
    ----------
    model : ModelProto
        Changed in place.
    path : str or None
        Of the model; without it locations are relative to the working folder, and nothing is read from there.
    faults : Faults
        They see each tensor.

    Raises
    ------
    LostWeights
        A file is missing, too short, or outside of the model's folder; or the whole has 2 GiB or more.
    """
    held = 0
    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        facts = {entry.key: entry.value for entry in tensor.external_data}
        data, refusal = _read(facts, path)
        if faults:
            location = facts.get("location", "")
            site, _ = faults.visit(
                "weights",
                "",
                tensor=tensor.name,
                location=location,
                path=path,
                data=data,
                refusal=refusal,
                size=_size(tensor),
            )
            data, refusal = site.data, site.refusal
        if refusal:
            raise LostWeights(tensor.name, refusal)
        held += len(data)
        if held > _ONE_PIECE:
            raise LostWeights(
                tensor.name, "the emulator holds models in one piece, and this one has 2 GiB or more"
            )
        tensor.raw_data = data
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")


def _read(facts: dict[str, str], path: str | None) -> tuple[bytes, str]:
    """Return the bytes of one tensor, or none and why not."""
    location = facts.get("location", "")
    if path is None:
        return b"", f"Failed to open file: {location}"
    if ".." in Path(location).parts:
        return b"", (
            "Relative paths to parent (../) are not allowed in ONNX external weights! Normalized path is:"
            f" {location}"
        )
    file = Path(path).parent / location.lstrip("/")  # TensorRT takes an absolute path as a relative one
    if not file.is_file():
        return b"", f"Failed to open file: {file}"
    size = file.stat().st_size
    offset = int(facts.get("offset", 0))
    length = int(facts.get("length", size - offset))
    if offset < 0 or length < 0 or offset + length > size:
        return b"", (
            f"ONNX external weights offset/length out of range for file: {file}"
            f" (offset={offset}, length={length}, file size={size})"
        )
    if length > _ONE_PIECE:
        return b"", "the emulator holds models in one piece, and this one has 2 GiB or more"
    with file.open("rb") as opened:
        opened.seek(offset)
        return opened.read(length), ""


def _size(tensor: TensorProto) -> int:
    """Return how many bytes a tensor has, where its elements are whole bytes."""
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return int(prod(tensor.dims) * kind.itemsize)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == AttributeProto.GRAPH:
                yield from _tensors(attribute.g)
