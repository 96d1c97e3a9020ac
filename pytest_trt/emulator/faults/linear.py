"""Convolutions and matrix products in numpy, from the arrays of a site: what a faulty kernel would have computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator import dtypes

LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")


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
    x: NDArray[np.float64]
    w: NDArray[np.float64]
    bias: NDArray[np.float64] | None
    scale: NDArray[np.float64]
    attributes: dict[str, Any]

    @property
    def channel_axis(self) -> int:
        """The axis of the output that holds channels."""
        return 1 if self.op_type in ("Conv", "ConvTranspose") else -1

    def spread(self, values: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
        """Return one number a channel, shaped to be broadcast over an output of this rank."""
        if values.ndim != 1 or self.channel_axis == -1:
            return values
        return values.reshape((1, -1) + (1,) * (rank - 2))

    def product(self) -> NDArray[np.float64]:
        """Return the output without bias."""
        attributes = self.attributes
        if self.op_type == "Conv":
            total = convolve(self.x, self.w, attributes)
        elif self.op_type == "ConvTranspose":
            total = convolve_transposed(self.x, self.w, attributes)
        else:
            x = self.x.T if attributes.get("transA") else self.x
            w = self.w.T if attributes.get("transB") else self.w
            total = np.matmul(x, w)
        return total * self.spread(self.scale, total.ndim)

    def with_pads(self, pads: Sequence[int]) -> Linear:
        """Return the same with other pads."""
        return replace(self, attributes={**self.attributes, "pads": list(pads)})

    def without_channels(self, keep: NDArray[np.bool_]) -> Linear:
        """Return the same with some entries of the reduction set to zero.

        Parameters
        ----------
        keep : ndarray of bool, shape (C,) or (K,)
            Input channels of a convolution, or the reduction of a matrix product.
        """
        if self.op_type in ("Conv", "ConvTranspose"):
            shape = (1, -1) + (1,) * (self.x.ndim - 2)
            return replace(self, x=self.x * keep.reshape(shape))
        keep_x = keep.reshape(-1, 1) if self.attributes.get("transA") else keep
        return replace(self, x=self.x * keep_x)

    @property
    def reduction(self) -> int:
        """Input channels of a convolution, or the length of the reduction of a matrix product."""
        if self.op_type in ("Conv", "ConvTranspose"):
            return int(self.x.shape[1])
        return int(self.x.shape[0] if self.attributes.get("transA") else self.x.shape[-1])


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


def output_of(site: Any) -> tuple[str, NDArray[np.float64]]:
    """Return the name of a site's output and its value before rounding."""
    name = next(iter(site.outputs))
    return name, site.exact[name].astype(np.float64)


def store(site: Any, name: str, values: NDArray[np.float64]) -> None:
    """Put values into an output, rounded to its type as an honest kernel rounds."""
    old = site.outputs[name]
    with np.errstate(over="ignore"):
        new = np.asarray(values).astype(old.dtype)
    if site.precision == "bf16":
        new = dtypes.round_to(new, dtypes.BFLOAT16)
    site.outputs[name] = new.reshape(old.shape)


def windows(x: NDArray[np.float64], attributes: dict[str, Any], fill: float = 0.0) -> NDArray[np.float64]:
    """Return the windows of a convolution or pool: shape (N, C, *outputs, *kernel)."""
    kernel, strides, dilations = (attributes[key] for key in ("kernel_shape", "strides", "dilations"))
    pads, rank = attributes["pads"], len(kernel)
    sides = [(max(0, pads[i]), max(0, pads[i + rank])) for i in range(rank)]
    padded = np.pad(x, [(0, 0), (0, 0), *sides], constant_values=fill)
    for axis in range(rank):
        low, high = -min(0, pads[axis]), padded.shape[axis + 2] + min(0, pads[axis + rank])
        padded = np.take(padded, range(low, high), axis=axis + 2)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=tuple(range(2, 2 + rank)))
    index: list[Any] = [slice(None), slice(None)]
    index += [slice(None, None, s) for s in strides] + [slice(None, None, d) for d in dilations]
    found: NDArray[np.float64] = view[tuple(index)]
    return found


def convolve(
    x: NDArray[np.float64], w: NDArray[np.float64], attributes: dict[str, Any]
) -> NDArray[np.float64]:
    """Return a convolution without bias, in float64."""
    groups, rank = int(attributes["group"]), w.ndim - 2
    view = windows(x, attributes)
    outputs = view.shape[2 : 2 + rank]
    taps = view.reshape(x.shape[0], groups, w.shape[1], *outputs, -1)
    taps = np.moveaxis(taps, 2, -2).reshape(x.shape[0], groups, int(np.prod(outputs)), -1)
    weights = w.reshape(groups, w.shape[0] // groups, -1)
    found: NDArray[np.float64] = np.einsum("ngpk,gmk->ngmp", taps, weights, optimize=True)
    return found.reshape(x.shape[0], w.shape[0], *outputs)


def convolve_transposed(
    x: NDArray[np.float64], w: NDArray[np.float64], attributes: dict[str, Any]
) -> NDArray[np.float64]:
    """Return a transposed convolution without bias, in float64: a convolution of the spread-out input."""
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
    plain = {**attributes, "strides": [1] * rank, "pads": [*begins, *ends]}
    return convolve(spread, turned, plain)
