"""The arrays of a golden as one `.npz`: written so that equal arrays give equal bytes, read without pickle and without a copy.

Any numpy opens the file. It is a zip whose members are stored, not compressed, with one fixed date, sorted by name, each array
at a multiple of 64 bytes. What is read is looked at as it lies in the file, so that nothing can grow on reading.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pytest_trt.errors import GoldenError

MAX_ARRAYS = 1 << 29
"""Bytes that the arrays of one golden may have as a file."""

# Types of TensorRT's tensors, as numpy writes them in the header of an array.
_PLAIN = {"bool": "|b1", "int8": "|i1", "int16": "<i2", "int32": "<i4", "int64": "<i8", "uint8": "|u1", "uint16": "<u2",
          "uint32": "<u4", "uint64": "<u8", "float16": "<f2", "float32": "<f4", "float64": "<f8"}  # fmt: skip
# Types of the package ml_dtypes: kept as their bits, since numpy alone can neither write nor read them.
_BITS = {"bfloat16": "<u2"} | dict.fromkeys(
    ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn",
     "int4", "uint4"), "|u1"
)  # fmt: skip
TYPES = _PLAIN | _BITS

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
# The header that numpy writes: the keys are sorted, a tuple of one ends in a comma.
_HEADER = re.compile(
    rb"\{'descr': '([<|][biuf][1248])', 'fortran_order': False, 'shape': \(((?:\d{1,18}(?:, \d{1,18})*,?)?)\), \} *\n"
)
_MAGIC = b"\x93NUMPY"
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can say
_ALIGN = 64
_PADDING = 0xD935  # the extra field that Android's zipalign fills up with
_MAX_DIMENSIONS = 32
# End of a zip's directory, and an entry of it, without what nothing here depends on: versions, dates, CRC, attributes.
_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s4x2H8x2L3H8xL")


class _Member(NamedTuple):
    offset: int
    size: int


def describe_arrays(arrays: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, Any]]:
    """Return type, shape and member of the file for each array, sorted by name.

    Raises
    ------
    GoldenError
        An array has a type that no tensor has.
    """
    described: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(sorted(arrays)):
        values = np.asarray(arrays[name])
        kind = values.dtype.name
        if kind not in TYPES:
            raise GoldenError(
                f"output {name!r} has the type {kind!r}, which a golden cannot hold",
                why=f"types: {', '.join(TYPES)}",
            )
        member = name if _NAME.fullmatch(name) else f"~{number}"
        described[name] = {"type": kind, "shape": list(values.shape), "member": member}
    return described


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays as the bytes of an `.npz`; equal arrays give equal bytes.

    Raises
    ------
    GoldenError
        An array has a type that no tensor has, or the file would be larger than `MAX_ARRAYS`.
    """
    described = describe_arrays(arrays)
    total = sum(np.asarray(values).nbytes for values in arrays.values())
    if total > MAX_ARRAYS:
        raise GoldenError(
            f"the outputs have {total} bytes; a golden holds up to {MAX_ARRAYS}",
            mend="keep fewer outputs of the case",
        )
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as file:
        for name, facts in described.items():
            values = np.asarray(arrays[name], order="C")
            values = values.view(TYPES[facts["type"]]) if facts["type"] in _BITS else values
            body = io.BytesIO()
            little = values.astype(values.dtype.newbyteorder("<"), copy=False)
            np.lib.format.write_array(body, little, version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(facts["member"] + ".npy", _DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16
            start = held.tell() + 30 + len(info.filename) + 4
            info.extra = struct.pack("<HH", _PADDING, -start % _ALIGN) + bytes(-start % _ALIGN)
            file.writestr(info, body.getvalue())
    return held.getvalue()


def unpack_arrays(data: bytes, described: Mapping[str, Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays of an `.npz` by name, read-only; they lie in `data`.

    Parameters
    ----------
    data : bytes
    described : mapping
        What the manifest says: `type`, `shape` and `member` by name.

    Raises
    ------
    GoldenError
        The file is no such `.npz`, or does not hold what the manifest says.
    """
    members = _list_members(data)
    want = [f"{facts['member']}.npy" for facts in described.values()]
    if sorted(want) != sorted(members):
        raise GoldenError(
            "the .npz holds other arrays than the manifest",
            why=(f"file: {sorted(members)}", f"manifest: {sorted(want)}"),
        )
    if sum(member.size for member in members.values()) > len(data):
        raise GoldenError("the arrays are larger than their file")
    return {
        name: _read_array(data, members[f"{facts['member']}.npy"], name, facts)
        for name, facts in described.items()
    }


def _list_members(data: bytes) -> dict[str, _Member]:
    """The members of a zip by name, from its directory (PKWARE APPNOTE 6.3.10, 4.3.12 and 4.3.16)."""
    found: dict[str, _Member] = {}
    try:
        mark, *disks, count, size, place, comment = _END.unpack_from(data, max(len(data) - _END.size, 0))
        stop = len(data) - _END.size
        if mark != b"PK\5\6" or disks != [0, 0, count] or comment or place + size != stop:
            raise GoldenError("the arrays are no .npz", why="no directory of one zip lies at the end")
        for _ in range(count):
            entry = _ENTRY.unpack_from(data, place)
            mark, flags, method, packed, plain, names, extra, words, offset = entry
            name = data[place + _ENTRY.size : place + _ENTRY.size + names].decode()
            place += _ENTRY.size + names + extra + words
            if mark != b"PK\1\2" or place > stop or name in found:
                raise GoldenError("the arrays are no .npz", why=f"its directory is damaged at {name!r}")
            if method or flags & 1 or packed != plain:
                raise GoldenError(
                    f"the array {name!r} is compressed or encrypted; those of a golden are stored as they are"
                )
            found[name] = _Member(offset, plain)
    except (struct.error, UnicodeDecodeError) as error:
        raise GoldenError("the arrays are no .npz", why=str(error)) from error
    return found


def _read_array(data: bytes, info: _Member, name: str, facts: Mapping[str, Any]) -> NDArray[Any]:
    try:
        lengths = struct.unpack_from("<HH", data, info.offset + 26)
        start = info.offset + 30 + sum(lengths)
        stop = start + info.size
        wide = data[start + 6 : start + 7] != b"\x01"  # versions 2.0 and 3.0 have four bytes for the length
        length = struct.unpack_from("<I" if wide else "<H", data, start + 8)[0]
    except struct.error as error:
        raise GoldenError(f"the array of {name!r} lies outside of its file") from error
    first = start + (12 if wide else 10) + length
    header = _HEADER.fullmatch(data, start + (12 if wide else 10), min(first, stop))
    if (
        data[start : start + 6] != _MAGIC
        or data[start + 6 : start + 8] not in (b"\x01\0", b"\x02\0", b"\x03\0")
        or header is None
        or not start < first <= stop <= len(data)
    ):
        raise GoldenError(f"the array of {name!r} has no header that numpy writes for a plain type")
    kind, shape = header[1].decode(), [int(size) for size in header[2].replace(b",", b" ").split()]
    if kind != TYPES[facts["type"]] or shape != facts["shape"]:
        raise GoldenError(
            f"the array of {name!r} is not the one of the manifest",
            why=(f"file: {kind} {shape}", f"manifest: {facts['type']} {facts['shape']}"),
        )
    if math.prod(shape) * np.dtype(kind).itemsize != stop - first:
        raise GoldenError(f"the array of {name!r} has {stop - first} bytes, which its shape {shape} is not")
    values = np.frombuffer(data, kind, math.prod(shape), first) if stop > first else np.empty(0, kind)
    try:
        values = values.reshape(shape)
    except ValueError as error:  # no elements, and dimensions too large for any
        raise GoldenError(f"the array of {name!r} has the shape {shape}, which no array has") from error
    values.flags.writeable = False
    return values.view(_find_type(facts["type"])) if facts["type"] in _BITS else values


def _find_type(name: str) -> np.dtype[Any]:
    try:
        import ml_dtypes

        kind: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    except (ImportError, AttributeError) as error:
        raise GoldenError(
            f"an output of the type {name!r} needs ml_dtypes", mend="pip install -U ml_dtypes"
        ) from error
    return kind


def check_described(described: object) -> None:
    """Refuse what cannot describe arrays: names, known types, shapes of whole numbers, members.

    Raises
    ------
    GoldenError
        It says which output is described wrongly.
    """
    if not isinstance(described, dict) or not described:
        raise GoldenError("the manifest names no outputs, and arrays")
    for name, facts in described.items():
        shape = facts.get("shape") if isinstance(facts, dict) else None
        if (
            not isinstance(facts, dict)
            or facts.keys() != {"type", "shape", "member"}
            or not isinstance(facts["type"], str)
            or facts["type"] not in TYPES
            or not isinstance(facts["member"], str)
            or not isinstance(shape, list)
            or len(shape) > _MAX_DIMENSIONS
            or not all(type(size) is int and 0 <= size < 1 << 60 for size in shape)
        ):
            raise GoldenError(f"the manifest describes output {name!r} as none can be", why=repr(facts)[:300])
