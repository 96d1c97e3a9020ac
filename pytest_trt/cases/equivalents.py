"""Pairs of graphs that say the same in other nodes: a correct TensorRT gives both the same answer.

Each pair is made for one batch or a dynamic one. Weights are small integers, so that on integers nothing rounds in either graph
and both have to give the same bits; where a pair has real weights it says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from onnx import ModelProto

from pytest_trt.cases.triggers.graphs import Net, integers

Shape = tuple[int, ...]
_IMAGE = (4, 6, 5)
_VECTOR = (12,)


@dataclass(frozen=True)
class Equivalent:
    """Two ways to write down one network with an input `x` and an output `y`.

    Attributes
    ----------
    name : str
    sentence : str
        What is equal to what.
    item : tuple of int
        Shape of one item of the batch of `x`.
    ways : tuple of callable
        Each adds its nodes to a `Net`, from x to y, and returns the shape of one item of y.
    real : bool
        The weights are real numbers: the roundings are in other places.
    """

    name: str
    sentence: str
    item: Shape
    ways: tuple[Callable[[Net], Shape], Callable[[Net], Shape]]
    real: bool = False

    @property
    def text(self) -> str:
        """A label, which also seeds the data."""
        return f"equivalent {self.name}"

    @property
    def input_shapes(self) -> dict[str, Shape]:
        """Input name to shape, at a batch of two."""
        return {"x": (2, *self.item)}

    @property
    def profile(self) -> dict[str, tuple[Shape, Shape, Shape]]:
        """Batches of one to four."""
        return {"x": ((1, *self.item), (2, *self.item), (4, *self.item))}

    def model(self) -> ModelProto:
        """Return the first way, with a dynamic batch."""
        return self._model(self.ways[0])

    def other(self) -> ModelProto:
        """Return the second way, with a dynamic batch."""
        return self._model(self.ways[1])

    def _model(self, way: Callable[[Net], Shape]) -> ModelProto:
        net = Net(f"{self.name}_{way.__name__.strip('_')}")
        out = way(net)
        return net.build({"x": ("N", *self.item)}, {"y": ("N", *out)})


_PAIRS: list[Equivalent] = []


def _pair(name: str, sentence: str, item: Shape, *ways: Callable[[Net], Shape], real: bool = False) -> None:
    _PAIRS.append(Equivalent(name, sentence, item, (ways[0], ways[1]), real))


def _weights(shape: Shape, seed: int) -> np.ndarray:
    return integers(shape, 2, seed)


def _conv(net: Net, data: str, w: np.ndarray, b: np.ndarray | None, out: str, **attributes: object) -> str:
    """Add a convolution with these weights; without `pads` it keeps the extents."""
    names = [net.constant(f"{out}_w", w)] + ([] if b is None else [net.constant(f"{out}_b", b)])
    given = {"kernel_shape": list(w.shape[2:]), "pads": [w.shape[2] // 2, w.shape[3] // 2] * 2, **attributes}
    return net.node("Conv", [data, *names], out, **given)


def _slice(net: Net, data: str, begin: int, end: int, axis: int, out: str, step: int = 1) -> str:
    whole = zip(("b", "e", "a", "s"), (begin, end, axis, step), strict=True)
    return net.node(
        "Slice", [data, *(net.constant(f"{out}_{k}", np.array([v], np.int64)) for k, v in whole)], out
    )


_POINT, _BIAS = _weights((6, 4, 1, 1), 1), _weights((6,), 2)
_CUBE = _weights((6, 4, 3, 3), 3)


def _pointwise_convolution(net: Net) -> Shape:
    _conv(net, "x", _POINT, _BIAS, "y")
    return (6, 6, 5)


def _matrix_over_channels(net: Net) -> Shape:
    rows = net.node("Transpose", ["x"], "t", perm=[0, 2, 3, 1])
    product = net.node("MatMul", [rows, net.constant("w", _POINT[:, :, 0, 0].T.copy())], "m")
    net.node("Transpose", [net.node("Add", [product, net.constant("b", _BIAS)], "a")], "y", perm=[0, 3, 1, 2])
    return (6, 6, 5)


def _transposed_before(net: Net) -> Shape:
    turned = net.node("Transpose", ["x"], "t", perm=[0, 3, 1, 2])
    scale = np.transpose(_weights((1, 4, 6, 5), 4), (0, 3, 1, 2)).copy()
    net.node("Relu", [net.node("Mul", [turned, net.constant("k", scale)], "m")], "y")
    return (5, 4, 6)


def _transposed_behind(net: Net) -> Shape:
    scaled = net.node("Mul", ["x", net.constant("k", _weights((1, 4, 6, 5), 4))], "m")
    net.node("Transpose", [net.node("Relu", [scaled], "r")], "y", perm=[0, 3, 1, 2])
    return (5, 4, 6)


_SCALE = np.array([0.5, 1.25, 2.0, -0.75, 1.0, 3.0], np.float32)
_VARIANCE = np.array([0.5, 1.0, 2.0, 0.25, 4.0, 1.5], np.float32)
_EPSILON = 1e-5


def _normalised(net: Net) -> Shape:
    bare = _conv(net, "x", _CUBE, None, "c")
    table = {"g": _SCALE, "s": _BIAS, "m": _BIAS / 4, "v": _VARIANCE}
    names = [net.constant(name, values.astype(np.float32)) for name, values in table.items()]
    net.node("BatchNormalization", [bare, *names], "y", epsilon=_EPSILON)
    return (6, 6, 5)


def _folded(net: Net) -> Shape:
    gain = _SCALE.astype(np.float64) / np.sqrt(_VARIANCE.astype(np.float64) + _EPSILON)
    shift = (_BIAS - _BIAS / 4 * gain).astype(np.float32)
    _conv(net, "x", (_CUBE * gain.reshape(-1, 1, 1, 1)).astype(np.float32), shift, "y")
    return (6, 6, 5)


def _left_first(net: Net) -> Shape:
    made = _conv(net, "x", _weights((4, 4, 3, 3), 5), None, "c")
    total = net.node("Add", [made, "x"], "a")
    net.node("Relu", [net.node("Add", [total, net.constant("k", _weights((1, 4, 1, 1), 6))], "b")], "y")
    return _IMAGE


def _right_first(net: Net) -> Shape:
    made = _conv(net, "x", _weights((4, 4, 3, 3), 5), None, "c")
    total = net.node("Add", ["x", net.constant("k", _weights((1, 4, 1, 1), 6))], "a")
    net.node("Relu", [net.node("Add", [total, made], "b")], "y")
    return _IMAGE


def _whole(net: Net) -> Shape:
    net.node("Relu", [_conv(net, "x", _CUBE, _BIAS, "c")], "y")
    return (6, 6, 5)


def _sliced_and_joined(net: Net) -> Shape:
    made = _conv(net, "x", _CUBE, _BIAS, "c")
    parts = [_slice(net, made, begin, begin + 2, 1, f"p{begin}") for begin in (0, 2, 4)]
    net.node("Relu", [net.node("Concat", parts, "j", axis=1)], "y")
    return (6, 6, 5)


def _filters_apart(net: Net) -> Shape:
    parts = [_conv(net, "x", _CUBE[at], _BIAS[at], f"c{at.start}") for at in (slice(0, 2), slice(2, 6))]
    net.node("Relu", [net.node("Concat", parts, "j", axis=1)], "y")
    return (6, 6, 5)


def _channels_apart(net: Net) -> Shape:
    left = _conv(net, _slice(net, "x", 0, 2, 1, "l"), _CUBE[:, :2].copy(), _BIAS, "cl")
    right = _conv(net, _slice(net, "x", 2, 4, 1, "r"), _CUBE[:, 2:].copy(), None, "cr")
    net.node("Relu", [net.node("Add", [left, right], "a")], "y")
    return (6, 6, 5)


def _padded_apart(net: Net) -> Shape:
    pads = net.constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    wide = net.node("Pad", ["x", pads], "p", mode="constant")
    net.node("Relu", [_conv(net, wide, _CUBE, _BIAS, "c", pads=[0] * 4)], "y")
    return (6, 6, 5)


def _doubled(net: Net) -> Shape:
    made = _conv(net, "x", _CUBE, _BIAS, "c")
    net.node("Mul", [made, net.constant("two", np.float32(2).reshape(()))], "y")
    return (6, 6, 5)


def _added_to_itself(net: Net) -> Shape:
    made = _conv(net, "x", _CUBE, _BIAS, "c")
    net.node("Add", [made, made], "y")
    return (6, 6, 5)


def _gemm(net: Net) -> Shape:
    names = [net.constant("w", _weights((7, 12), 7)), net.constant("b", _weights((7,), 8))]
    net.node("Gemm", ["x", *names], "y", transB=1)
    return (7,)


def _product_and_sum(net: Net) -> Shape:
    product = net.node("MatMul", ["x", net.constant("w", _weights((7, 12), 7).T.copy())], "m")
    net.node("Add", [product, net.constant("b", _weights((7,), 8))], "y")
    return (7,)


_GROUPS = _weights((6, 2, 3, 3), 9)


def _grouped(net: Net) -> Shape:
    _conv(net, "x", _GROUPS, _BIAS, "y", group=2)
    return (6, 6, 5)


def _groups_apart(net: Net) -> Shape:
    halves = net.split("x", (2, 2), ("h0", "h1"), axis=1)
    parts = [
        _conv(net, half, _GROUPS[3 * i : 3 * i + 3], _BIAS[3 * i : 3 * i + 3], f"c{i}")
        for i, half in enumerate(halves)
    ]
    net.node("Concat", parts, "y", axis=1)
    return (6, 6, 5)


def _strided(net: Net) -> Shape:
    _conv(net, "x", _CUBE, _BIAS, "y", strides=[2, 1])
    return (6, 3, 5)


def _thinned(net: Net) -> Shape:
    _slice(net, _conv(net, "x", _CUBE, _BIAS, "c"), 0, 6, 2, "y", step=2)
    return (6, 3, 5)


def _averaged(net: Net) -> Shape:
    net.node("AveragePool", ["x"], "y", kernel_shape=[2, 2], strides=[2, 1])
    return (4, 3, 4)


def _quarters_added(net: Net) -> Shape:
    quarter = np.full((4, 1, 2, 2), 0.25, np.float32)
    _conv(net, "x", quarter, None, "y", group=4, pads=[0] * 4, strides=[2, 1])
    return (4, 3, 4)


_pair(
    "pointwise",
    "a 1 x 1 convolution is a product with a matrix over channels",
    _IMAGE,
    _pointwise_convolution,
    _matrix_over_channels,
)
_pair(
    "transpose",
    "a Transpose may stand before or behind element-wise operators",
    _IMAGE,
    _transposed_before,
    _transposed_behind,
)
_pair(
    "normalised",
    "a batch normalisation may be folded into the convolution before it",
    _IMAGE,
    _normalised,
    _folded,
    real=True,
)
_pair("addends", "(a + b) + c is a + (b + c)", _IMAGE, _left_first, _right_first)
_pair("slices", "slices that are joined again are the whole", _IMAGE, _whole, _sliced_and_joined)
_pair("filters", "the filters of a convolution may be computed apart", _IMAGE, _whole, _filters_apart)
_pair(
    "channels", "the input channels of a convolution may be summed up apart", _IMAGE, _whole, _channels_apart
)
_pair("pads", "pads may be a node of their own", _IMAGE, _whole, _padded_apart)
_pair("double", "2 x is x + x", _IMAGE, _doubled, _added_to_itself)
_pair("gemm", "a Gemm is a MatMul and an Add", _VECTOR, _gemm, _product_and_sum)
_pair("groups", "groups are convolutions side by side", _IMAGE, _grouped, _groups_apart)
_pair("stride", "a stride leaves rows out", _IMAGE, _strided, _thinned)
_pair(
    "average",
    "an average pool is a depthwise convolution with equal weights",
    _IMAGE,
    _averaged,
    _quarters_added,
)

EQUIVALENTS: Mapping[str, Equivalent] = MappingProxyType({pair.name: pair for pair in _PAIRS})
