"""A golden as two files: a manifest that people read and that diffs well, and the arrays beside it.

The manifest is sorted JSON with the number of its schema, the SHA-256 of the arrays, and one of itself. That last one is taken
of the JSON without white space: another indentation or other line ends are the same golden, another digit is not.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytest_trt.errors import GoldenError
from pytest_trt.golden.arrays import MAX_ARRAYS, check_described, describe_arrays, pack_arrays, unpack_arrays
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import KINDS, SCHEMA, Golden

MAX_MANIFEST = 1 << 24
"""Bytes that a manifest may have."""

_FIELDS = {"arrays", "facts", "key", "kind", "provenance", "schema", "sha256"}
_KEY_FIELDS = ("case", "precision", "gpu", "product")
_HEX = frozenset("0123456789abcdef")
_DEPTH = 60
_AGAIN = "take it back from version control, or record it again: --trt-golden=record"
# JSON has no numbers for these.
_ODD = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True)
class Manifest:
    """What a manifest says, found to be whole.

    Attributes
    ----------
    golden : Golden
        Without arrays.
    digest : str
        SHA-256 of the arrays' file; empty where there is none.
    size : int
        Bytes of that file.
    described : mapping
        Type, shape and member by output.
    """

    golden: Golden
    digest: str
    size: int
    described: Mapping[str, Mapping[str, Any]]


def pack(golden: Golden) -> tuple[bytes, bytes]:
    """Return the bytes of manifest and arrays of a golden; equal goldens give equal bytes.

    Raises
    ------
    GoldenError
        The golden holds what no file can: other types than those of tensors, facts that are not plain data, a kind that is
        none, a GPU class other than the key's, or too much.
    """
    if golden.kind not in KINDS:
        raise GoldenError(f"no kind of golden: {golden.kind!r}", why=f"kinds: {', '.join(KINDS)}")
    arrays = pack_arrays(golden.arrays) if golden.arrays else b""
    rest = {
        "arrays": {
            "bytes": len(arrays),
            "outputs": describe_arrays(golden.arrays),
            "sha256": hashlib.sha256(arrays).hexdigest(),
        }
        if golden.arrays
        else None,
        "facts": _to_plain(golden.facts, "facts"),
        "key": {name: getattr(golden.key, name) for name in _KEY_FIELDS},
        "kind": golden.kind,
        "provenance": _to_plain(golden.provenance, "provenance"),
        "schema": SCHEMA,
    }
    _check_gpu(golden)
    text = json.dumps(rest | {"sha256": seal(rest)}, sort_keys=True, indent=1, allow_nan=False)
    manifest = text.encode("ascii") + b"\n"
    if len(manifest) > MAX_MANIFEST:
        raise GoldenError(f"the facts have {len(manifest)} bytes; a manifest holds up to {MAX_MANIFEST}")
    return manifest, arrays


def unpack(manifest: bytes, arrays: bytes) -> Golden:
    """Return the golden of two files.

    Raises
    ------
    GoldenError
        One of them is damaged, of a newer schema, too large, or none of a golden; the message says which and how.
    """
    return join(read_manifest(manifest), arrays)


def seal(rest: Mapping[str, Any]) -> str:
    """Return the SHA-256 that a manifest has of its other fields."""
    return hashlib.sha256(_to_bare(rest)).hexdigest()


def _to_bare(rest: Mapping[str, Any]) -> bytes:
    """The one text of JSON data: sorted, without white space."""
    return json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def read_manifest(data: bytes) -> Manifest:
    """Return what a manifest says; its arrays are not looked at.

    Raises
    ------
    GoldenError
        It is damaged, of a newer schema, too large, or no manifest.
    """
    held = _parse(data)
    schema = held.get("schema")
    if type(schema) is not int or schema < 1:
        raise GoldenError("it is JSON, and no manifest of a golden", why=f"schema: {schema!r}")
    if schema > SCHEMA:
        raise GoldenError(
            f"its schema is {schema}; this pytest-trt reads up to {SCHEMA}", mend="pip install -U pytest-trt"
        )
    if held.keys() != _FIELDS:
        odd = sorted(held.keys() ^ _FIELDS)
        raise GoldenError(f"the manifest has other fields than schema {SCHEMA}", why=f"{odd}", mend=_AGAIN)
    rest = {name: value for name, value in held.items() if name != "sha256"}
    try:
        bare = _to_bare(rest)
    except (ValueError, RecursionError) as error:
        raise GoldenError("the manifest holds numbers that JSON does not have", why=str(error)) from error
    sealed = hashlib.sha256(bare).hexdigest()
    if held["sha256"] != sealed:
        raise GoldenError(
            "the manifest is damaged: it was changed after it was recorded",
            why=(f"it says SHA-256 {str(held['sha256'])[:64]}", f"its content has {sealed}"),
            mend=_AGAIN,
        )
    key, facts, provenance = held["key"], held["facts"], held["provenance"]
    if (
        not isinstance(key, dict)
        or key.keys() != set(_KEY_FIELDS)
        or not all(isinstance(part, str) and part.strip() and _is_text(part) for part in key.values())
        or not isinstance(facts, dict)
        or not isinstance(provenance, dict)
        or not isinstance(held["kind"], str)
        or held["kind"] not in KINDS
    ):
        raise GoldenError(
            "the manifest has no key, kind, facts or provenance as they have to be", mend=_AGAIN
        )
    if b'{"float":' in bare:
        facts, provenance = _from_plain(facts), _from_plain(provenance)
        if not isinstance(facts, dict) or not isinstance(provenance, dict):
            raise GoldenError("the manifest has a number for facts or provenance", mend=_AGAIN)
    golden = Golden(Key(**key), held["kind"], {}, facts, provenance)
    _check_gpu(golden)
    return Manifest(golden, *_read_described(held["arrays"]))


def join(manifest: Manifest, arrays: bytes) -> Golden:
    """Return the golden of a manifest with its arrays.

    Raises
    ------
    GoldenError
        The arrays are not those that were recorded.
    """
    bare = manifest.golden
    if len(arrays) != manifest.size:
        how = "truncated" if len(arrays) < manifest.size else "longer than recorded"
        raise GoldenError(
            f"the arrays are {how}: {len(arrays)} bytes, and {manifest.size} were recorded", mend=_AGAIN
        )
    if not manifest.size:
        return bare
    digest = hashlib.sha256(arrays).hexdigest()
    if digest != manifest.digest:
        raise GoldenError(
            "the arrays are damaged: bits have changed since they were recorded",
            why=(f"recorded SHA-256 {manifest.digest}", f"the file has       {digest}"),
            mend=_AGAIN,
        )
    return Golden(bare.key, bare.kind, unpack_arrays(arrays, manifest.described), bare.facts, bare.provenance)


def _parse(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_MANIFEST:
        raise GoldenError(f"the manifest has {len(data)} bytes; one holds up to {MAX_MANIFEST}")
    if not data.strip():
        raise GoldenError("the manifest is empty", mend=_AGAIN)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise GoldenError(f"the manifest is damaged: byte {error.start} is no text", mend=_AGAIN) from error
    try:
        held = json.loads(text)
    except json.JSONDecodeError as error:
        if "\n<<<<<<<" in text or text.startswith("<<<<<<<"):
            raise GoldenError("the manifest holds an unresolved merge", mend=_AGAIN) from error
        how = (
            "truncated: it ends early"
            if not text.rstrip().endswith("}")
            else f"damaged: no JSON at line {error.lineno}"
        )
        raise GoldenError(f"the manifest is {how}", why=error.msg, mend=_AGAIN) from error
    except (ValueError, RecursionError) as error:  # thousands of digits, thousands of brackets
        raise GoldenError(
            "the manifest is damaged: it cannot be read", why=str(error), mend=_AGAIN
        ) from error
    if not isinstance(held, dict):
        raise GoldenError("it is JSON, and no manifest of a golden", why=f"a {type(held).__name__}")
    return held


def _read_described(arrays: object) -> tuple[str, int, Mapping[str, Mapping[str, Any]]]:
    """Digest, size and description of the arrays; nothing where there are none."""
    if arrays is None:
        return "", 0, {}
    if (
        not isinstance(arrays, dict)
        or arrays.keys() != {"bytes", "outputs", "sha256"}
        or type(arrays["bytes"]) is not int
        or not isinstance(arrays["sha256"], str)
        or len(arrays["sha256"]) != 64
        or not _HEX.issuperset(arrays["sha256"])
    ):
        raise GoldenError("the manifest does not say which arrays belong to it", why=repr(arrays)[:300])
    if not 0 < arrays["bytes"] <= MAX_ARRAYS:
        raise GoldenError(
            f"the arrays have {arrays['bytes']} bytes; those of a golden have up to {MAX_ARRAYS}"
        )
    check_described(arrays["outputs"])
    return arrays["sha256"], arrays["bytes"], arrays["outputs"]


def _is_text(part: str) -> bool:
    """Tell whether a text can be written as UTF-8: JSON can spell halves of characters."""
    try:
        part.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_gpu(golden: Golden) -> None:
    made_on = golden.provenance.get("gpu_class")
    if made_on is not None and made_on != golden.key.gpu:
        raise GoldenError(
            f"it is of a foreign GPU: recorded on the class {made_on!r}, and kept as {golden.key.gpu!r}",
            mend="record it on that GPU, or give the class that it was recorded on: --gpu",
        )


def _to_plain(value: object, where: str, depth: int = _DEPTH) -> Any:
    """The value as JSON has it; numbers that are not finite are tagged."""
    if depth == 0:
        raise GoldenError(f"{where[:100]} of a golden is nested too deeply")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, (list, tuple)):
        return [_to_plain(item, f"{where}[{number}]", depth - 1) for number, item in enumerate(value)]
    if (
        isinstance(value, Mapping)
        and all(isinstance(name, str) for name in value)
        and value.keys() != {"float"}
    ):
        return {name: _to_plain(item, f"{where}.{name}", depth - 1) for name, item in value.items()}
    raise GoldenError(f"{where} of a golden is not plain data: {type(value).__name__}", why=repr(value)[:200])


def _from_plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_plain(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"float"}:
            if not isinstance(value["float"], str) or value["float"] not in _ODD:
                raise GoldenError("the manifest holds a number that is none", why=repr(value)[:200])
            return _ODD[value["float"]]
        return {name: _from_plain(item) for name, item in value.items()}
    return value
