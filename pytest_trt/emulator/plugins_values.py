"""What passes between TensorRT and a plugin: fields, tensor descriptions, dimensions as expressions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.bound import Bound

# `PluginFieldType` member to the numpy type of one element; the others are handed over as bytes.
_KINDS: Mapping[str, type] = {
    "FLOAT16": np.float16,
    "FLOAT32": np.float32,
    "FLOAT64": np.float64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "CHAR": np.uint8,
}

# A dimension: a number, ("dim", input, axis), or (operation, left, right). As a list it goes into a plan.
Tree = Any

_OPERATIONS: Mapping[str, Callable[[int, int], int]] = {
    "SUM": lambda a, b: a + b,
    "PROD": lambda a, b: a * b,
    "MAX": max,
    "MIN": min,
    "SUB": lambda a, b: a - b,
    "EQUAL": lambda a, b: int(a == b),
    "LESS": lambda a, b: int(a < b),
    "FLOOR_DIV": lambda a, b: a // b,
    "CEIL_DIV": lambda a, b: -(-a // b),
}


class PluginField(Bound):
    """A name with an array: one attribute of a plugin."""

    def __init__(self, name: Any = "", data: Any = None, type: Any = None) -> None:
        self._setup(name, data, type)

    def _setup(self, name: Any, data: Any, kind: Any) -> None:
        self._label = name.decode() if isinstance(name, bytes) else str(name)
        self._kind = kind or self._host.enum("PluginFieldType")._table["UNKNOWN"]
        self._bytes = b""
        self._length = 0
        if data is not None:
            self._take(data)

    def _take(self, data: Any) -> None:
        with memoryview(data) as view:
            self._bytes = view.tobytes()
            self._length = view.nbytes // view.itemsize

    @property
    def name(self) -> str:
        """The name."""
        return self._label

    @name.setter
    def name(self, value: str) -> None:
        self._label = value

    @property
    def data(self) -> NDArray[Any] | None:
        """The elements as an array of the field's type, None for a field without any."""
        if not self._bytes and not self._length:
            return None
        array: NDArray[Any] = np.frombuffer(self._bytes, _KINDS.get(self._kind.name, np.uint8)).copy()
        return array

    @data.setter
    def data(self, value: Any) -> None:
        self._take(value)

    @property
    def type(self) -> Any:
        """`PluginFieldType`."""
        return self._kind

    @type.setter
    def type(self, value: Any) -> None:
        self._kind = value

    @property
    def size(self) -> int:
        """How many elements."""
        return self._length

    @size.setter
    def size(self, value: int) -> None:
        self._length = value


class PluginFieldCollection(Bound):
    """A list of fields."""

    def __init__(self, arg0: Iterable[Any] = ()) -> None:
        self._items = list(arg0)

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return bool(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._items[index] = value

    def append(self, x: Any) -> None:
        """Add a field at the end."""
        self._items.append(x)

    def extend(self, L: Iterable[Any]) -> None:
        """Add fields at the end."""
        self._items.extend(L)

    def insert(self, i: int, x: Any) -> None:
        """Put a field before another one."""
        self._items.insert(i, x)

    def pop(self, i: int = -1) -> Any:
        """Take a field out and return it."""
        return self._items.pop(i)

    def clear(self) -> None:
        """Take all fields out."""
        self._items.clear()


class FieldView(Bound):
    """What a plugin or a creator is given: fields that can be read."""

    def __init__(self, arg0: Iterable[Any] = ()) -> None:
        self._setup(arg0)

    def _setup(self, fields: Iterable[Any]) -> None:
        self._fields = tuple(fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self._fields):
            raise IndexError("Out of bounds")
        return self._fields[index]


class TensorDesc(Bound):
    """Dimensions, type and format of a tensor that a plugin reads or writes."""

    def __init__(self) -> None:
        self._setup((), None)

    def _setup(self, shape: Sequence[int], kind: Any) -> None:
        self._values: dict[str, Any] = {
            "dims": self._host.dims(shape),
            "type": kind or self._host.enum("DataType")._table["FLOAT"],
            "format": self._host.enum("TensorFormat")._table["LINEAR"],
            "scale": 1.0,
        }

    @property
    def dims(self) -> Any:
        """Dimensions, -1 for a dynamic one."""
        return self._values["dims"]

    @dims.setter
    def dims(self, value: Any) -> None:
        self._values["dims"] = value

    @property
    def type(self) -> Any:
        """`DataType`."""
        return self._values["type"]

    @type.setter
    def type(self, value: Any) -> None:
        self._values["type"] = value

    @property
    def format(self) -> Any:
        """`TensorFormat`; always LINEAR here."""
        return self._values["format"]

    @format.setter
    def format(self, value: Any) -> None:
        self._values["format"] = value

    @property
    def scale(self) -> float:
        """Scale of an INT8 tensor."""
        return float(self._values["scale"])

    @scale.setter
    def scale(self, value: float) -> None:
        self._values["scale"] = value


class DynamicTensorDesc(Bound):
    """A tensor description with the least, likeliest and largest dimensions."""

    def __init__(self) -> None:
        self._setup((), (), None)

    def _setup(self, shape: Sequence[int], reach: Sequence[Sequence[int]], kind: Any) -> None:
        low, opt, high = reach or (shape, shape, shape)
        self._values = {
            "desc": self._host.new(TensorDesc, shape, kind),
            "min": self._host.dims(low),
            "opt": self._host.dims(opt),
            "max": self._host.dims(high),
        }

    @property
    def desc(self) -> Any:
        """The description."""
        return self._values["desc"]

    @desc.setter
    def desc(self, value: Any) -> None:
        self._values["desc"] = value

    @property
    def min(self) -> Any:
        """Least dimensions."""
        return self._values["min"]

    @min.setter
    def min(self, value: Any) -> None:
        self._values["min"] = value

    @property
    def opt(self) -> Any:
        """Likeliest dimensions."""
        return self._values["opt"]

    @opt.setter
    def opt(self, value: Any) -> None:
        self._values["opt"] = value

    @property
    def max(self) -> Any:
        """Largest dimensions."""
        return self._values["max"]

    @max.setter
    def max(self, value: Any) -> None:
        self._values["max"] = value


class DimensionExpr(Bound):
    """One dimension of an output, as a function of dimensions of inputs."""

    _tree: Tree

    def _setup(self, tree: Tree) -> None:
        self._tree = tree

    def is_constant(self) -> bool:
        """Return whether it is a number."""
        return isinstance(self._tree, int)

    def get_constant_value(self) -> int:
        """Return the number; the least integer where it is none, as TensorRT does."""
        return self._tree if isinstance(self._tree, int) else -(2**63)

    def is_size_tensor(self) -> bool:
        """Return False: sizes that depend on values are not emulated."""
        return False


class DimsExprs(Bound):
    """The dimensions of a tensor as expressions."""

    def __init__(self, arg0: Any = 0) -> None:
        if isinstance(arg0, int):
            self._exprs: list[Any] = [self._host.new(DimensionExpr, 0) for _ in range(arg0)]
        else:
            self._exprs = list(arg0)

    def _setup(self, trees: Iterable[Tree]) -> None:
        self._exprs = [self._host.new(DimensionExpr, tree) for tree in trees]

    def __len__(self) -> int:
        return len(self._exprs)

    def __getitem__(self, index: int) -> Any:
        return self._exprs[index]

    def __setitem__(self, index: int, value: Any) -> None:
        self._exprs[index] = value


class ExprBuilder(Bound):
    """Makes dimensions out of others."""

    def __init__(self) -> None:
        pass

    def constant(self, arg0: int) -> Any:
        """Return a number as a dimension."""
        return self._host.new(DimensionExpr, int(arg0))

    def operation(self, arg0: Any, arg1: Any, arg2: Any) -> Any:
        """Return the result of an operation on two dimensions."""
        left, right = arg1._tree, arg2._tree
        if isinstance(left, int) and isinstance(right, int):
            return self._host.new(DimensionExpr, _OPERATIONS[arg0.name](left, right))
        return self._host.new(DimensionExpr, [arg0.name, left, right])


def evaluate(tree: Tree, shapes: Sequence[Sequence[int]]) -> int:
    """Return a dimension for the shapes of the plugin's inputs; -1 where one that it needs is dynamic."""
    if isinstance(tree, int):
        return tree
    if tree[0] == "dim":
        return int(shapes[tree[1]][tree[2]])
    left, right = evaluate(tree[1], shapes), evaluate(tree[2], shapes)
    return -1 if -1 in (left, right) else _OPERATIONS[tree[0]](left, right)


def trees_of(shapes: Sequence[Sequence[int]]) -> list[list[Tree]]:
    """Return the dimensions of a plugin's inputs: numbers, and ("dim", input, axis) for dynamic ones."""
    return [
        [size if size >= 0 else ["dim", position, axis] for axis, size in enumerate(shape)]
        for position, shape in enumerate(shapes)
    ]
