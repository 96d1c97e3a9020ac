"""The products of a convolution or matrix product, laid out so that one step of a sum is one numpy operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.faults.linear import Linear, linear_of, store, windows

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Kernel = Callable[["Terms"], NDArray[Any]]

# Precisions of a site at which products are summed in floating point.
FLOATS = ("fp32", "tf32", "fp16", "fp16acc", "bf16", "fp8")


@dataclass(frozen=True)
class Terms:
    """Operands of a linear node; product k of every output is `x[k] * w[k]`, broadcast.

    Attributes
    ----------
    x, w : ndarray of float32, first axis K, of one rank
        Convolution: x (K, N, G, 1, P) and w (K, 1, G, M/G, 1). Matrix product: x (K, ..., P, 1) and w (K, ..., 1, M).
    linear : Linear
        Where they come from.
    """

    x: Float32
    w: Float32
    linear: Linear

    @property
    def count(self) -> int:
        """Products a sum has, those with padding included."""
        return int(self.x.shape[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one product of all outputs."""
        return np.broadcast_shapes(self.x.shape[1:], self.w.shape[1:])

    def wide(self) -> tuple[Float64, Float64]:
        """Return x and w as float64: their products are exact there."""
        return self.x.astype(np.float64), self.w.astype(np.float64)

    def reordered(self, order: NDArray[np.int64]) -> Terms:
        """Return the same products in another order."""
        return Terms(self.x[order], self.w[order], self.linear)


def terms_of(
    site: Any,
    precisions: tuple[str, ...] = FLOATS,
    read: Callable[[Float32], Float32] = dtypes.round_tf32,
) -> Terms | None:
    """Return the products of a `node` site at one of these precisions, or None where there are none.

    `read` is how the operands of a TF32 site are read; default: rounded to nearest.
    """
    if site.kind != "node" or site.precision not in precisions:
        return None
    linear = linear_of(site)
    if linear is None or site.scales or linear.op_type == "ConvTranspose":
        return None
    operands = _convolution(linear) if linear.op_type == "Conv" else _matrices(linear)
    if operands is None or operands[0].shape[0] == 0:
        return None
    x, w = (np.ascontiguousarray(operand, np.float32) for operand in operands)
    if site.precision == "tf32":
        x, w = read(x), read(w)
    return Terms(x, w, linear)


def _convolution(linear: Linear) -> tuple[NDArray[Any], NDArray[Any]]:
    w, groups = linear.w.astype(np.float32), int(linear.attributes["group"])
    view = windows(linear.x, linear.attributes)
    batch, rank = view.shape[0], w.ndim - 2
    outputs = view.shape[2 : 2 + rank]
    # (N, C, *outputs, *kernel) to (C/G, *kernel, N, G, 1, *outputs)
    split = view.reshape(batch, groups, w.shape[1], *view.shape[2:])
    taps = split.transpose(2, *range(3 + rank, 3 + 2 * rank), 0, 1, *range(3, 3 + rank))
    taps = taps.astype(np.float32).reshape(-1, batch, groups, 1, int(np.prod(outputs)))
    weights = w.reshape(groups, w.shape[0] // groups, -1).transpose(2, 0, 1)
    return taps, weights[:, None, :, :, None]


def _matrices(linear: Linear) -> tuple[NDArray[Any], NDArray[Any]] | None:
    if linear.x.ndim < 2 or linear.w.ndim < 2:
        return None
    x = linear.x.T if linear.attributes.get("transA") else linear.x
    w = linear.w.T if linear.attributes.get("transB") else linear.w
    rank = max(x.ndim, w.ndim)
    x, w = (array.reshape((1,) * (rank - array.ndim) + array.shape) for array in (x, w))
    return np.moveaxis(x, -1, 0)[..., None], np.moveaxis(w, -2, 0)[..., None, :]


def finish(site: Any, terms: Terms, total: NDArray[Any]) -> None:
    """Store sums as the node's output: times alpha, plus the bias, each rounded to the type of `total`, then to storage.

    Parameters
    ----------
    total : ndarray of float32 or float64, shape `terms.shape`
    """
    linear = terms.linear
    name, stored = next(iter(site.outputs.items()))
    result = total.reshape(stored.shape)
    if float(linear.scale) != 1.0:
        result = result * total.dtype.type(linear.scale)
    if linear.bias is not None:
        bias = linear.spread(linear.bias, stored.ndim) if linear.bias.ndim == 1 else linear.bias
        result = result + bias.astype(total.dtype)
    store(site, name, result)


def recompute(
    site: Any,
    kernel: Kernel,
    precisions: tuple[str, ...] = FLOATS,
    read: Callable[[Float32], Float32] = dtypes.round_tf32,
) -> None:
    """Replace what a linear node computed by the sums that a kernel gives for its products."""
    terms = terms_of(site, precisions, read)
    if terms is None:
        return
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        finish(site, terms, kernel(terms))
