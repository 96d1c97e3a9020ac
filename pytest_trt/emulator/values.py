"""Small value types of the API: dimensions, weights, host memory, and the helpers `volume` and `nptype`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.bound import Bound

if TYPE_CHECKING:
    from pytest_trt.emulator.enums import EnumType

# numpy type by DataType member; the bindings map neither the 8-bit and 4-bit floats nor bfloat16.
_NUMPY = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
    "UINT8": np.uint8,
}


def volume(iterable: Iterable[int]) -> int:
    """Return the product of the dimensions; 1 for none."""
    product = 1
    for item in iterable:
        product *= item
    return product


def make_nptype(data_types: EnumType) -> Callable[[Any], type]:
    """Return the `nptype` of a version whose `DataType` is given."""

    def nptype(trt_type: Any) -> type:
        """Return the numpy type of a `DataType`; `TypeError` where numpy has none."""
        name = trt_type.name if type(trt_type) is data_types else ""
        found = _NUMPY.get(name)
        if found is None:
            raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
        return found

    return nptype


class Dims(Bound):
    """A shape: a fixed-length sequence of integers, -1 for a dynamic dimension."""

    _sealed = False
    MAX_DIMS = 8
    _values: list[int]

    def __init__(self, *args: Any, shape: Any = None, **kwargs: int) -> None:
        if shape is None and len(args) == 1 and hasattr(args[0], "__len__"):
            shape = args[0]
        self._values = [int(v) for v in (shape if shape is not None else (*args, *kwargs.values()))]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[int]:
        return iter(tuple(self._values))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self._values[index])
        return self._values[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            value = list(value)
            if len(value) != len(self._values[index]):
                raise ValueError("Left and right hand side of slice assignment have different sizes!")
        self._values[index] = value

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (tuple, list)) or hasattr(other, "MAX_DIMS"):
            return list(other) == self._values  # type: ignore[call-overload, no-any-return]
        return False

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(tuple(self._values))


class DimsHW(Dims):
    """A height and a width."""

    @property
    def h(self) -> int:
        """The first dimension."""
        return self._values[0]

    @h.setter
    def h(self, value: int) -> None:
        self._values[0] = value

    @property
    def w(self) -> int:
        """The second dimension."""
        return self._values[1]

    @w.setter
    def w(self, value: int) -> None:
        self._values[1] = value


class Weights(Bound):
    """A typed array of numbers, or an address with a count."""

    _sealed = False
    _array: NDArray[Any] | None
    _dtype: Any
    _pointer: tuple[int, int]

    def __init__(self, *args: Any, type: Any = None, ptr: int = 0, count: int = 0, a: Any = None) -> None:
        first = args[0] if args else (a if a is not None else type)
        if isinstance(first, np.ndarray):
            self._array = np.ascontiguousarray(first)
            names = {np.dtype(kind): name for name, kind in _NUMPY.items()}
            self._dtype = self._host.enum("DataType")._table[names[first.dtype]]
            self._pointer = (0, 0)
            return
        self._array = None
        self._dtype = first if first is not None else self._host.enum("DataType")._table["FLOAT"]
        rest = args[1:]
        self._pointer = (rest[0] if rest else ptr, rest[1] if len(rest) > 1 else count)

    @property
    def dtype(self) -> Any:
        """`DataType` of the numbers."""
        return self._dtype

    @property
    def size(self) -> int:
        """How many numbers."""
        return int(self._array.size) if self._array is not None else self._pointer[1]

    @property
    def nbytes(self) -> int:
        """Bytes of all numbers."""
        return int(self.size * self._dtype.itemsize)

    def __len__(self) -> int:
        return self.size

    def numpy(self) -> Any:
        """Return the numbers as a flat array, of the array given or of the memory pointed to."""
        if self._array is not None:
            return self._array
        address, count = self._pointer
        kind = np.dtype(_NUMPY[self._dtype.name])
        if not address or not count:
            return np.zeros(0, kind)
        memory = (ctypes.c_char * (count * kind.itemsize)).from_address(address)
        return np.frombuffer(memoryview(memory), kind)


class HostMemory(Bound):
    """Bytes that TensorRT owns; `bytes()`, `memoryview()`, `numpy.frombuffer()` and `file.write()` read them."""

    _native = bytes

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return len(memoryview(self))  # type: ignore[arg-type]

    @property
    def dtype(self) -> Any:
        """Always INT8."""
        return self._host.enum("DataType")._table["INT8"]

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.IHostMemory object at 0x{id(self):x}>"

    __str__ = __repr__
