"""ONNX external data: where the weights of a model lie, and whether they are all there, before anything is built.

A protobuf message ends at 2 GiB, so the weights of a larger model lie in files beside it (ONNX, "External Data").
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from pytest_trt.errors import ModelError

ONE_PIECE = (
    1 << 31
) - 1  # bytes; source: Protocol Buffers, "Proto Limits": a serialised message is below 2 GiB

# Bits of one element; a type that is not here has no length to be checked.
_BITS = {
    "BOOL": 8, "INT8": 8, "UINT8": 8, "INT16": 16, "UINT16": 16, "INT32": 32, "UINT32": 32, "INT64": 64, "UINT64": 64,
    "FLOAT": 32, "DOUBLE": 64, "FLOAT16": 16, "BFLOAT16": 16, "COMPLEX64": 64, "COMPLEX128": 128,
    "FLOAT8E4M3FN": 8, "FLOAT8E4M3FNUZ": 8, "FLOAT8E5M2": 8, "FLOAT8E5M2FNUZ": 8, "INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4,
}  # fmt: skip


@dataclass(frozen=True)
class ExternalWeight:
    """One tensor whose values lie in a file.

    Attributes
    ----------
    tensor : str
        Its name.
    file : Path
        Below the folder of the model.
    offset, length : int
        Where in the file, bytes.
    """

    tensor: str
    file: Path
    offset: int
    length: int


def tensors_of(model: ModelProto) -> Iterator[TensorProto]:
    """Yield every tensor of a model: initializers and attributes, those of subgraphs and functions as well."""
    yield from _in_graph(model.graph)
    for function in model.functions:
        yield from _in_nodes(function.node)


def _in_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _in_nodes(graph.node)


def _in_nodes(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from _in_attribute(attribute)


def _in_attribute(attribute: AttributeProto) -> Iterator[TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    if attribute.HasField("g"):
        yield from _in_graph(attribute.g)
    for graph in attribute.graphs:
        yield from _in_graph(graph)


def is_external(tensor: TensorProto) -> bool:
    """Return whether the values of a tensor lie in a file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def read_structure(path: str | os.PathLike[str]) -> ModelProto:
    """Return a model without its external weights.

    Raises
    ------
    ModelError
        There is no such file, or it is not ONNX.
    """
    try:
        return onnx.load(os.fspath(path), load_external_data=False)
    except DecodeError as error:
        raise ModelError(f"{str(path)!r} is not an ONNX file", why=str(error)) from None
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read", why=str(error), mend="check the path") from None


def find_weights(model: ModelProto, folder: str | os.PathLike[str]) -> tuple[ExternalWeight, ...]:
    """Return where the external weights of a model lie; each is there and long enough.

    Parameters
    ----------
    model : ModelProto
        Weights need not be loaded.
    folder : path
        Of the model file: locations are relative to it.

    Raises
    ------
    ModelError
        A file is missing or too short, lies outside of the folder, or a length does not fit the tensor. The message names
        tensor and file.

    Notes
    -----
    Source: ONNX, onnx.proto, `TensorProto.external_data`: `location` is a POSIX path relative to the model's folder and must
    not hold `..`; `offset` and `length` may be left out. A link inside of the folder may point anywhere.
    """
    return tuple(_find(tensor, Path(folder)) for tensor in tensors_of(model) if is_external(tensor))


def _find(tensor: TensorProto, folder: Path) -> ExternalWeight:
    facts = {entry.key: entry.value for entry in tensor.external_data}
    location = facts.get("location", "")
    name = f"weights of tensor {tensor.name!r}"
    place = PurePosixPath(location)
    if not location or "\0" in location:
        raise ModelError(f"the {name} are external, and no file is named", mend="save the model again")
    if place.is_absolute() or ".." in place.parts or Path(location).is_absolute():
        raise ModelError(
            f"the {name} lie outside of the model's folder: {location!r}",
            why="ONNX and TensorRT take a path relative to the model, without '..'",
            mend=f"move the file into {str(folder)!r}, and save the model with its name as location",
        )
    file = folder / location
    if not file.is_file():
        raise ModelError(
            f"the {name} are missing: no file {str(file)!r}",
            why=f"the model says location {location!r}, relative to its own folder",
            mend="copy the weight file beside the model",
        )
    size = file.stat().st_size
    offset = _number(facts.get("offset", "0"), "offset", name)
    needed = _bytes_of(tensor)
    length = _number(facts.get("length", str(size - offset if needed is None else needed)), "length", name)
    if needed is not None and length != needed:
        raise ModelError(
            f"the {name} have {length} bytes in {str(file)!r}, and need {needed}",
            why=f"{TensorProto.DataType.Name(tensor.data_type)} of shape {tuple(tensor.dims)}",
            mend="save the model again",
        )
    if offset + length > size:
        raise ModelError(
            f"the {name} are cut: {str(file)!r} has {size} bytes, and they end at {offset + length}",
            mend="copy the weight file again: this one is not whole",
        )
    return ExternalWeight(tensor.name, file, offset, length)


def _number(text: str, key: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelError(
            f"the {name} have {key} {text[:40]!r}, which is no count of bytes", mend="save the model again"
        )
    return int(text)


def _bytes_of(tensor: TensorProto) -> int | None:
    known = {value: name for name, value in TensorProto.DataType.items()}
    bits = _BITS.get(known.get(tensor.data_type, ""))
    return None if bits is None else -(-prod(tensor.dims) * bits // 8)


def load_whole(path: str | os.PathLike[str]) -> ModelProto:
    """Return a model with its external weights in it.

    Raises
    ------
    ModelError
        What `read_structure` and `find_weights` raise, or the whole would not fit into one message (2 GiB).
    """
    model = read_structure(path)
    weights = find_weights(model, Path(path).parent)
    check_one_piece(
        Path(path).stat().st_size + sum(weight.length for weight in weights), repr(os.fspath(path))
    )
    if weights:
        onnx.load_external_data_for_model(model, str(Path(path).parent))
    return model


def check_one_piece(size: int, name: str) -> None:
    """Refuse a model that is too large for one protobuf message.

    Raises
    ------
    ModelError
        `size` (bytes) is 2 GiB or more.
    """
    if size > ONE_PIECE:
        raise ModelError(
            f"{name} has {size / 2**30:.2f} GiB, and an ONNX model ends at 2 GiB in one piece",
            why="a check rewrites the model, and a protobuf message holds less than 2 GiB",
            mend="build it from the file, weights beside it: build_plan(rt, BuildRequest.from_file(path))",
        )


def held_bytes(model: ModelProto) -> int:
    """Return how many bytes of weights a model holds itself; what lies in files is not counted."""
    return sum(len(tensor.raw_data) for tensor in tensors_of(model))


def serialize_whole(model: ModelProto) -> bytes:
    """Return the bytes of a model.

    Raises
    ------
    ModelError
        It has 2 GiB or more.
    """
    check_one_piece(held_bytes(model), "the model")
    return bytes(model.SerializeToString())


def digest_weights(path: str | os.PathLike[str]) -> str:
    """Return a SHA-256 of the external weights of a model file, hexadecimal; empty where it has none."""
    weights = find_weights(read_structure(path), Path(path).parent)
    if not weights:
        return ""
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(f"{weight.tensor}\0{weight.length}\0".encode())
        with weight.file.open("rb") as file:
            file.seek(weight.offset)
            left = weight.length
            while left:
                block = file.read(min(left, 1 << 22))
                if not block:
                    break
                digest.update(block)
                left -= len(block)
    return digest.hexdigest()
