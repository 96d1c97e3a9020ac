"""The container of a serialized engine: a header line, the model that runs, and a digest over both."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass, field
from typing import Any

MAGIC = b"TRTEMU\x01\n"
HEADER_BYTES = 64  # what `Runtime.engine_header_size` of the RTX surface says
_PREFIX = struct.Struct("<8sII32s16x")  # magic, header length, model length, digest


class PlanError(Exception):
    """The bytes are not a whole plan of the emulator; the message says what is wrong with them."""


@dataclass(frozen=True)
class Plan:
    """What a serialized engine holds.

    Attributes
    ----------
    product, version : str
        The TensorRT that was played.
    sms : tuple of int
        Compute capabilities that the plan runs on; with `ampere_plus` also every one from 80.
    model : bytes
        The ONNX model that is interpreted, weights included.
    compiled : bytes
        The lowered model: what the fast path runs. Empty where the engine runs step by step.
    settings : mapping
        Everything else that the engine needs, as plain JSON data (`program.Policy`, profiles, names, ...).
    """

    product: str
    version: str
    sms: tuple[int, ...]
    model: bytes
    ampere_plus: bool = False
    version_compatible: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    compiled: bytes = b""

    def pack(self) -> bytes:
        """Return the plan as bytes; equal plans give equal bytes."""
        fields = {key: value for key, value in vars(self).items() if key not in ("model", "compiled")}
        fields["split"] = len(self.model)
        header = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
        body = header + self.model + self.compiled
        digest = hashlib.sha256(body).digest()
        return _PREFIX.pack(MAGIC, len(header), len(self.model) + len(self.compiled), digest) + body

    @staticmethod
    def is_headed(data: bytes) -> bool:
        """Return whether the bytes begin like a plan."""
        return len(data) >= HEADER_BYTES and data[:8] == MAGIC

    @classmethod
    def unpack(cls, data: bytes) -> Plan:
        """Return the plan that the bytes hold.

        Raises
        ------
        PlanError
            Foreign, cut or changed bytes.
        """
        if not cls.is_headed(data):
            raise PlanError("magic tag does not match: this is not a serialized engine")
        _, header_length, model_length, digest = _PREFIX.unpack(data[:HEADER_BYTES])
        if len(data) != HEADER_BYTES + header_length + model_length:
            raise PlanError(
                f"the serialized engine is truncated or padded: {len(data)} bytes,"
                f" header says {HEADER_BYTES + header_length + model_length}"
            )
        body = data[HEADER_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            raise PlanError("checksum mismatch: the serialized engine is corrupted")
        fields = json.loads(body[:header_length])
        fields["sms"] = tuple(fields["sms"])
        middle = header_length + fields.pop("split")
        return cls(model=bytes(body[header_length:middle]), compiled=bytes(body[middle:]), **fields)
