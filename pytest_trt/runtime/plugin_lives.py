"""The lives of the instances of a counting plugin, and its fields in the forms that TensorRT keeps them in."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Fields:
    """The fields of one plugin.

    Attributes
    ----------
    scale : float
        A float32.
    shift : int
        An int32.
    label : str
        ASCII; it changes no result.
    """

    scale: float = 1.0
    shift: int = 0
    label: str = ""


@dataclass
class Life:
    """What happened to one instance.

    Attributes
    ----------
    serial : int
        1 for the first instance of a ledger.
    parent : int
        Serial number of the instance that it was cloned from; 0 for one that a creator or the user made.
    origin : str
        `made`, `build`, `runtime` (by the creator, in which phase), `clone` or `attach`.
    fields : Fields
    calls : list of str
        Methods that were called, in order; `gone` when the instance was collected.
    marks : set of float
        First element of the input of each enqueue.
    after_end : list of str
        Methods that were called after `destroy`, and enqueues after `terminate`; a second end is no such call.
    """

    serial: int
    parent: int
    origin: str
    fields: Fields
    calls: list[str] = field(default_factory=list)
    marks: set[float] = field(default_factory=set)
    after_end: list[str] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether the instance still exists."""
        return "gone" not in self.calls

    def count(self, call: str) -> int:
        """Return how often a method was called."""
        return self.calls.count(call)


class Ledger:
    """The lives of all instances of one plugin; may be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.lives: list[Life] = []

    def begin(self, plugin: object, parent: int, origin: str, fields: Fields) -> Life:
        """Return the life of a new instance."""
        with self._lock:
            life = Life(len(self.lives) + 1, parent, origin, fields)
            self.lives.append(life)
        weakref.finalize(plugin, life.calls.append, "gone").atexit = False
        return life

    def note(self, life: Life, call: str) -> None:
        """Write down that a method was called."""
        with self._lock:
            paired = [name for name in life.calls if name in ("initialize", "terminate")]
            idle = bool(paired) and paired[-1] == "terminate" and call == "enqueue"
            if idle or ("destroy" in life.calls and call != "destroy"):
                life.after_end.append(call)
            life.calls.append(call)

    @property
    def live(self) -> list[Life]:
        """Instances that still exist."""
        return [life for life in self.lives if life.alive]


class Arrays:
    """The arrays behind fields that TensorRT is given.

    A `PluginFieldCollection` holds addresses and nothing that keeps the arrays alive (pybind11 ties an array to the `PluginField`
    object, of which the collection has a copy), so their owner has to.
    """

    def __init__(self, trt: Any, fields: Fields) -> None:
        self._trt = trt
        self.scale = np.array([fields.scale], np.float32)
        self.shift = np.array([fields.shift], np.int32)
        self.label = np.frombuffer(fields.label.encode("ascii"), np.uint8)

    def collect(self) -> Any:
        """Return the fields as TensorRT's own; good for as long as this object lives."""
        trt, kinds = self._trt, self._trt.PluginFieldType
        return trt.PluginFieldCollection(
            [
                trt.PluginField("scale", self.scale, kinds.FLOAT32),
                trt.PluginField("shift", self.shift, kinds.INT32),
                trt.PluginField("label", self.label, kinds.CHAR),
            ]
        )


def from_collection(collection: Any) -> Fields:
    """Return the fields that TensorRT hands over; one that is missing has its default."""
    found: dict[str, Any] = {}
    for index in range(len(collection)):
        part = collection[index]
        if part.name in ("scale", "shift"):
            found[part.name] = (float if part.name == "scale" else int)(np.asarray(part.data).reshape(-1)[0])
        elif part.name == "label" and part.size:
            # The parser ends a text with a zero byte (seen with TensorRT-RTX 1.7.1).
            found["label"] = np.asarray(part.data).tobytes()[: part.size].rstrip(b"\0").decode("ascii")
    return Fields(**found)


def to_bytes(fields: Fields) -> bytes:
    """Return fields as a V2 plugin serialises them."""
    numbers: bytes = np.float32(fields.scale).tobytes() + np.int32(fields.shift).tobytes()
    return numbers + fields.label.encode("ascii")


def from_bytes(data: bytes) -> Fields:
    """Return the fields of a serialised V2 plugin."""
    data = bytes(data)
    scale, shift = np.frombuffer(data[:4], np.float32)[0], np.frombuffer(data[4:8], np.int32)[0]
    return Fields(float(scale), int(shift), data[8:].decode("ascii"))
