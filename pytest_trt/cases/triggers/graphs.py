"""Small networks for triggers: their weights are small integers, so that sums on small integers are exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, helper

from pytest_trt.cases.triggers.nets import Tensors, assemble
from pytest_trt.numerics.formats import Array
from pytest_trt.strategies.assemble import Assembly

Span = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def integers(shape: Sequence[int], top: int = 4, seed: int = 0) -> Array:
    """Return integers of modulus up to `top`, none of them 0."""
    rng = np.random.default_rng([seed, len(shape)])
    values = rng.integers(1, top + 1, shape) * rng.choice([-1, 1], shape)
    return np.asarray(values.astype(np.float32))


def reals(shape: Sequence[int], seed: int = 0) -> Array:
    """Return float32 numbers of a normal distribution."""
    return np.asarray(np.random.default_rng([seed, len(shape)]).standard_normal(shape).astype(np.float32))


def spans(shape: Sequence[int], most: int, best: int | None = None) -> Span:
    """Return (min, opt, max) of an input for batches from 1 to `most`, best at `best`, by default its own."""
    item = tuple(shape[1:])
    return (1, *item), (shape[0] if best is None else best, *item), (most, *item)


class Net(Assembly):
    """A network that is written down node by node; each method returns the name of what it adds.

    Parameters
    ----------
    name : str
        Of the graph.
    top : int
        Largest modulus of the integer weights.
    real : bool
        Weights are real numbers, for sums of unit size.
    """

    def __init__(self, name: str, *, top: int = 2, real: bool = False) -> None:
        super().__init__(name)
        self._top = top
        self._real = real

    def weights(self, name: str, shape: Sequence[int], terms: int) -> str:
        """Add weights for sums of so many terms."""
        seed = len(self.constants)
        values = reals(shape, seed) / np.sqrt(terms) if self._real else integers(shape, self._top, seed)
        return self.constant(name, values.astype(np.float32))

    def conv(self, data: str, channels: int, filters: int, out: str, side: int = 1, **attributes: Any) -> str:
        """Add a square convolution with bias; it keeps the extents unless strides or pads are given."""
        groups = int(attributes.get("group", 1))
        terms = channels // groups * side * side
        factor = self.weights(f"{out}_w", (filters, channels // groups, side, side), terms)
        attributes = {"kernel_shape": [side, side], "pads": [side // 2] * 4, **attributes}
        return self.node("Conv", [data, factor, self.weights(f"{out}_b", (filters,), 1)], out, **attributes)

    def linear(self, data: str, width: int, outs: int, out: str, gain: int = 1) -> str:
        """Add a product with a matrix, and a bias; real weights are smaller by the root of `gain`."""
        factor = self.weights(f"{out}_w", (width, outs), width * gain)
        product = self.node("MatMul", [data, factor], f"{out}_m")
        return self.node("Add", [product, self.weights(f"{out}_b", (outs,), 1)], out)

    def split(self, data: str, sizes: Sequence[int], outs: Sequence[str], axis: int) -> tuple[str, ...]:
        """Add a Split into parts of these lengths."""
        lengths = self.constant(f"{outs[0]}_sizes", np.array(sizes, np.int64))
        self.nodes.append(
            helper.make_node("Split", [data, lengths], list(outs), name=f"split_{outs[0]}", axis=axis)
        )
        return tuple(outs)

    def shape(self, data: str, dims: Sequence[int], out: str) -> str:
        """Reshape; 0 keeps a dimension."""
        return self.node("Reshape", [data, self.constant(f"{out}_dims", np.array(dims, np.int64))], out)

    def norm(self, data: str, width: int, out: str) -> str:
        """Add a layer normalisation over the last axis."""
        ones = self.constant(f"{out}_g", np.ones(width, np.float32))
        shift = self.constant(f"{out}_s", np.linspace(-1, 1, width, dtype=np.float32))
        return self.node("LayerNormalization", [data, ones, shift], out, axis=-1, epsilon=1e-5)

    def heads(self, data: str, count: int, width: int, out: str, *, keys: bool = False) -> str:
        """Split the last axis into heads: (N, L, W) becomes (N, heads, L, W / heads), or with the last two exchanged."""
        split = self.shape(data, (0, -1, count, width // count), f"{out}_r")
        return self.node("Transpose", [split], out, perm=[0, 2, 3, 1] if keys else [0, 2, 1, 3])

    def attend(self, q: str, k: str, v: str, width: int, count: int, out: str) -> str:
        """Add scaled attention of `count` heads over (N, L, W) queries, keys and values."""
        left = self.heads(q, count, width, f"{out}_q")
        right = self.heads(k, count, width, f"{out}_k", keys=True)
        scores = self.node("MatMul", [left, right], f"{out}_s")
        factor = self.constant(f"{out}_f", np.float32((width / count) ** -0.5).reshape(()))
        chosen = self.node("Softmax", [self.node("Mul", [scores, factor], f"{out}_c")], f"{out}_p", axis=-1)
        mixed = self.node("MatMul", [chosen, self.heads(v, count, width, f"{out}_v")], f"{out}_o")
        turned = self.node("Transpose", [mixed], f"{out}_t", perm=[0, 2, 1, 3])
        return self.shape(turned, (0, -1, width), out)

    def gate(self, data: str, out: str, factor: float = 1.0) -> str:
        """Add x * sigmoid(factor * x): SiLU, and the quick GELU with 1.702."""
        inner = data
        if factor != 1.0:
            scale = self.constant(f"{out}_k", np.float32(factor).reshape(()))
            inner = self.node("Mul", [data, scale], f"{out}_x")
        return self.node("Mul", [data, self.node("Sigmoid", [inner], f"{out}_g")], out)

    def build(self, inputs: Tensors, outputs: Tensors) -> ModelProto:
        """Return the model; names among the dimensions are dynamic."""
        return assemble(self.name, self.nodes, inputs, outputs, self.constants)
