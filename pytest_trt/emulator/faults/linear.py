"""Convolutions and matrix products in numpy, from the arrays of a site: what a faulty kernel would have computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.faults.windows import columns, windows

LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
Float64 = NDArray[np.float64]
# Two orders of the same float64 sum differ by less than this, times terms, times the largest moduli.
_SAME = 2.0**-50


@dataclass(frozen=True)
class Terms:
    """The products that each output of a linear node adds, as one batched matrix product.

    Attributes
    ----------
    columns : ndarray of float64, shape (..., K, P)
        What is read: a column for each output position; for a convolution with a batch and a group axis in front.
    weights : ndarray of float64, shape (..., M, K)
        A row for each output channel of the group.
    shape : tuple of int
        Of the output.
    turned : bool
        The output has its channels last.
    """

    columns: Float64
    weights: Float64
    shape: tuple[int, ...]
    turned: bool

    @property
    def length(self) -> int:
        """How many products an output adds."""
        return int(self.weights.shape[-1])

    def fold(self, values: Float64) -> Float64:
        """Return values of shape (..., M, P) in the shape of the output."""
        return (np.swapaxes(values, -1, -2) if self.turned else values).reshape(self.shape)

    def total(self) -> Float64:
        """Return the sums."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.fold(np.matmul(self.weights, self.columns))

    def of(self, indices: Any) -> Terms:
        """Return some of the products: a slice or an index array along K."""
        return replace(self, columns=self.columns[..., indices, :], weights=self.weights[..., indices])


@dataclass(frozen=True)
class Linear:
    """Operands of a linear node, in float64.

    Attributes
    ----------
    op_type : str
        `Conv`, `ConvTranspose`, `Gemm` or `MatMul`.
    x, w : ndarray of float64
        Integers as they are, for INT8; else the stored values.
    bias : ndarray of float64 or None
        As it is added, times `beta` for Gemm.
    scale : ndarray of float64, scalar or (M,)
        Of each output channel: `s_x * s_w` for INT8, times `alpha` for Gemm; 1 for floats.
    attributes : dict
        Of the site, defaults filled in.
    """

    op_type: str
    x: Float64
    w: Float64
    bias: Float64 | None
    scale: Float64
    attributes: dict[str, Any]

    @property
    def is_convolution(self) -> bool:
        """True for Conv and ConvTranspose."""
        return self.op_type in ("Conv", "ConvTranspose")

    @property
    def channel_axis(self) -> int:
        """The axis of the output that holds channels."""
        return 1 if self.is_convolution else -1

    @property
    def groups(self) -> int:
        """Groups of a convolution, 1 for a matrix product."""
        return int(self.attributes.get("group", 1)) if self.is_convolution else 1

    def spread(self, values: Float64, rank: int) -> Float64:
        """Return one number a channel, shaped to be broadcast over an output of this rank."""
        if values.ndim != 1 or self.channel_axis == -1:
            return values
        return values.reshape((1, -1) + (1,) * (rank - 2))

    @cached_property
    def terms(self) -> Terms:
        """The products as one matrix product."""
        if self.op_type == "ConvTranspose":
            return transposed(self.x, self.w, self.attributes)
        if self.op_type == "Conv":
            return convolution(self.x, self.w, self.attributes)
        x = self.x.T if self.attributes.get("transA") else self.x
        w = self.w.T if self.attributes.get("transB") else self.w
        rows, outs = (x.shape[-2],) if x.ndim > 1 else (), (w.shape[-1],) if w.ndim > 1 else ()
        x, w = np.atleast_2d(x), w if w.ndim > 1 else w[:, None]
        shape = (*np.broadcast_shapes(x.shape[:-2], w.shape[:-2]), *rows, *outs)
        return Terms(np.swapaxes(x, -1, -2), np.swapaxes(w, -1, -2), shape, turned=True)

    @cached_property
    def total(self) -> Float64:
        """The sums of products, without scale and bias."""
        return self.terms.total()

    def product(self) -> Float64:
        """Return the output without bias."""
        return self.total * self.spread(self.scale, self.total.ndim)

    def with_pads(self, pads: Sequence[int]) -> Linear:
        """Return the same with other pads."""
        return replace(self, attributes={**self.attributes, "pads": list(pads)})

    def with_weights(self, w: Float64) -> Linear:
        """Return the same with other weights; what was read of the input is not gathered anew."""
        made = replace(self, w=w)
        if self.op_type == "Conv":
            weights = w.reshape(self.terms.weights.shape)
            made.__dict__["terms"] = replace(self.terms, weights=weights)
        return made

    def without_channels(self, keep: NDArray[np.bool_]) -> Linear:
        """Return the same with some entries of the reduction set to zero.

        Parameters
        ----------
        keep : ndarray of bool, shape (C,) or (K,)
            Input channels of a convolution, or the reduction of a matrix product.
        """
        if self.is_convolution:
            keep = keep.reshape((1, -1) + (1,) * (self.x.ndim - 2))
        elif self.attributes.get("transA"):
            keep = keep.reshape(-1, 1)
        return replace(self, x=np.where(keep, self.x, 0.0))

    @property
    def reduction(self) -> int:
        """Input channels of a convolution, or the length of the reduction of a matrix product."""
        if self.is_convolution:
            return int(self.x.shape[1])
        return int(self.x.shape[0] if self.attributes.get("transA") else self.x.shape[-1])

    def full_bias(self, shape: Sequence[int]) -> Float64 | None:
        """Return the bias of every output element, or None where there is no bias."""
        if self.bias is None:
            return None
        return np.broadcast_to(self.spread(self.bias, len(shape)), shape)


def linear_of(site: Any) -> Linear | None:
    """Return the operands of a `node` site, or None where the node is not linear or lacks an operand."""
    if site.kind != "node" or site.op_type not in LINEAR or len(site.inputs) < 2:
        return None
    names, arrays = list(site.inputs), list(site.inputs.values())
    scale = np.float64(1)
    if site.scales:
        scale = np.asarray(site.scales[names[0]], np.float64) * np.asarray(site.scales[names[1]], np.float64)
        if site.op_type == "ConvTranspose" and np.ndim(scale):
            scale = np.tile(scale, int(site.attributes["group"]))
    alpha = float(site.attributes.get("alpha", 1.0)) if site.op_type == "Gemm" else 1.0
    beta = float(site.attributes.get("beta", 1.0)) if site.op_type == "Gemm" else 1.0
    return Linear(
        op_type=site.op_type,
        x=arrays[0].astype(np.float64),
        w=arrays[1].astype(np.float64),
        bias=arrays[2].astype(np.float64) * beta if len(arrays) > 2 else None,
        scale=np.asarray(scale * alpha),
        attributes=dict(site.attributes),
    )


def convolution_of(site: Any) -> Linear | None:
    """Return the operands of a `node` site that is a convolution, else None."""
    return linear_of(site) if site.kind == "node" and site.op_type in ("Conv", "ConvTranspose") else None


def output_of(site: Any) -> tuple[str, Float64]:
    """Return the name of a site's output and its value before rounding."""
    name = next(iter(site.outputs))
    return name, site.exact[name].astype(np.float64)


def rounded(site: Any, name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return values in the type of an output, rounded as an honest kernel rounds."""
    old = site.outputs[name]
    with np.errstate(over="ignore", invalid="ignore"):
        new = np.asarray(values).astype(old.dtype)
    if site.precision == "bf16" and old.dtype == np.float32:
        new = dtypes.round_to(new, dtypes.BFLOAT16)
    return np.broadcast_to(new, old.shape) if new.size < old.size else new.reshape(old.shape)


def store(site: Any, name: str, values: NDArray[Any], where: NDArray[np.bool_] | None = None) -> None:
    """Put values into an output, rounded to its type as an honest kernel rounds; only `where`, if that is given.

    All other elements keep their bits.
    """
    new = rounded(site, name, values)
    site.outputs[name] = new.copy() if where is None else np.where(where, new, site.outputs[name])


def change(site: Any, linear: Linear, wrong: Linear | Terms | Float64) -> None:
    """Put the output that follows from a wrong sum in the place of the right one.

    The *difference* of the two sums is added to the value before rounding, so that elements whose sum is right keep their
    bits; where a sum is not finite, the wrong one takes its place.

    Parameters
    ----------
    site : Site
        Whose output changes.
    linear : Linear
        What was right.
    wrong : Linear, Terms, or ndarray of the output's shape
        The wrong operands, products, or sums without scale and bias.
    """
    total = wrong if isinstance(wrong, np.ndarray) else _total(wrong)
    name, exact = output_of(site)
    right = linear.total
    with np.errstate(over="ignore", invalid="ignore"):
        delta = total - right
        usual = np.isfinite(delta)
        noise = _SAME * linear.terms.length * _largest(linear.x) * _largest(linear.w)
        touched = np.where(usual, np.abs(delta) > noise, _differ(total, right))
        if not touched.any():
            return
        scale = linear.spread(linear.scale, total.ndim)
        values = exact + delta * scale
        if not usual.all():
            bias = linear.full_bias(exact.shape)
            values = np.where(usual, values, total * scale + (0.0 if bias is None else bias))
    store(site, name, values, touched)


def change_weights(site: Any, make: Callable[[Linear], Float64 | None]) -> None:
    """Put the output that follows from other weights in the place of the right one; None from `make` changes nothing."""
    linear = linear_of(site)
    weights = None if linear is None else make(linear)
    if linear is not None and weights is not None:
        change(site, linear, linear.with_weights(np.ascontiguousarray(weights)))


def _total(wrong: Linear | Terms) -> Float64:
    return wrong.total if isinstance(wrong, Linear) else wrong.total()


def _largest(values: Float64) -> float:
    size = np.abs(values)
    top = float(size.max(initial=0.0))
    return top if np.isfinite(top) else float(np.max(size, initial=0.0, where=np.isfinite(size)))


def _differ(one: Float64, other: Float64) -> NDArray[np.bool_]:
    return np.asarray((one != other) & ~(np.isnan(one) & np.isnan(other)))


def convolution(x: Float64, w: Float64, attributes: dict[str, Any], fill: float | str = 0.0) -> Terms:
    """Return the products of a convolution; `fill` is what it reads in its pads (`columns`)."""
    groups, rank = int(attributes["group"]), w.ndim - 2
    found = columns(x, attributes, fill)
    outputs = found.shape[2 + rank :]
    taps = found.reshape(x.shape[0], groups, -1, int(np.prod(outputs)))
    return Terms(
        taps, w.reshape(groups, w.shape[0] // groups, -1), (x.shape[0], w.shape[0], *outputs), turned=False
    )


def transposed(x: Float64, w: Float64, attributes: dict[str, Any]) -> Terms:
    """Return the products of a transposed convolution: a convolution of the spread-out input."""
    groups, rank = int(attributes["group"]), w.ndim - 2
    kernel, strides, dilations = (attributes[key] for key in ("kernel_shape", "strides", "dilations"))
    spread = np.zeros((*x.shape[:2], *((n - 1) * s + 1 for n, s in zip(x.shape[2:], strides, strict=True))))
    index = (slice(None), slice(None), *(slice(None, None, s) for s in strides))
    spread[index] = x
    reach = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    pads = attributes["pads"]
    begins = [r - p for r, p in zip(reach, pads[:rank], strict=True)]
    extra = attributes["output_padding"]
    ends = [r - p + e for r, p, e in zip(reach, pads[rank:], extra, strict=True)]
    grouped = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    flipped = np.flip(grouped, axis=tuple(range(3, 3 + rank)))
    turned = np.swapaxes(flipped, 1, 2).reshape(groups * w.shape[1], w.shape[0] // groups, *w.shape[2:])
    return convolution(spread, turned, {**attributes, "strides": [1] * rank, "pads": [*begins, *ends]})


def convolve(x: Float64, w: Float64, attributes: dict[str, Any]) -> Float64:
    """Return a convolution without bias, in float64."""
    return convolution(x, w, attributes).total()


def convolve_transposed(x: Float64, w: Float64, attributes: dict[str, Any]) -> Float64:
    """Return a transposed convolution without bias, in float64."""
    return transposed(x, w, attributes).total()


__all__ = [
    "LINEAR",
    "Linear",
    "Terms",
    "change",
    "change_weights",
    "convolution",
    "convolution_of",
    "convolve",
    "convolve_transposed",
    "linear_of",
    "output_of",
    "rounded",
    "store",
    "transposed",
    "windows",
]
