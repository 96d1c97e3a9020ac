"""Convolutions and deconvolutions, 1-D to 3-D."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hypothesis import strategies as st
from onnx import ModelProto

from pytest_trt.strategies import draws, weights
from pytest_trt.strategies.assemble import Assembly
from pytest_trt.strategies.case import Case, Shape

_STYLES = ("small", "wide", "grouped", "depthwise", "patch")


@dataclass(frozen=True, repr=False)
class ConvCase(Case):
    """One convolution.

    Attributes
    ----------
    channels, filters : int
        Input and output channels, all groups together.
    extents, kernel, stride, dilation : tuple of int
        One number a spatial dimension; `extents` are the input's.
    pads : tuple of int
        ONNX order: all begins, then all ends.
    groups : int
    bias : bool
    """

    channels: int
    filters: int
    extents: Shape
    kernel: Shape
    stride: Shape
    pads: Shape
    dilation: Shape
    groups: int
    bias: bool

    families: ClassVar[tuple[str, ...]] = ("conv1d", "conv2d", "conv3d")
    keys: ClassVar[Mapping[str, str]] = {
        **Case.keys,
        "channels": "c",
        "filters": "o",
        "extents": "i",
        "kernel": "k",
        "stride": "t",
        "pads": "p",
        "dilation": "d",
        "groups": "g",
        "bias": "b",
    }

    @property
    def input_shapes(self) -> dict[str, Shape]:
        """Input name to shape at the drawn batch."""
        return {"x": (self.batch, self.channels, *self.extents)}

    @property
    def output_shape(self) -> Shape:
        """Shape of the output at the drawn batch."""
        return (self.batch, self.filters, *self.output_extents)

    @property
    def output_extents(self) -> Shape:
        """Spatial extents of the output."""
        half = len(self.kernel)
        return tuple(
            (i + self.pads[a] + self.pads[a + half] - (k - 1) * d - 1) // s + 1
            for a, (i, k, s, d) in enumerate(
                zip(self.extents, self.kernel, self.stride, self.dilation, strict=True)
            )
        )

    @property
    def variant(self) -> str:
        """`depthwise`, `grouped`, `dilated`, `pointwise`, `patch` or `plain`."""
        if self.groups > 1:
            return "depthwise" if self.groups == self.channels else "grouped"
        if max(self.dilation) > 1:
            return "dilated"
        if max(self.kernel) == 1:
            return "pointwise"
        return "patch" if self.kernel == self.stride and max(self.kernel) >= 7 else "plain"

    @property
    def fan_in(self) -> int:
        """Products summed in one output."""
        return self.channels // self.groups * draws.volume(self.kernel)

    def flaw(self) -> str | None:
        """Return why the case has no model, None when it has one."""
        lengths = {len(self.extents), len(self.kernel), len(self.stride), len(self.dilation)}
        if lengths != {self.dims} or len(self.pads) != 2 * self.dims:
            return f"a {self.dims}-D convolution needs {self.dims} numbers in i, k, t, d and twice that in p"
        if min(self.channels, self.filters, self.groups, *self.kernel, *self.stride, *self.dilation) < 1:
            return "channels, filters, groups, kernel, stride and dilation start at 1"
        if self.channels % self.groups or self.filters % self.groups:
            return (
                f"{self.channels} channels and {self.filters} filters do not divide into {self.groups} groups"
            )
        if min(self.output_extents) < 1:
            return f"the output would have extents {self.output_extents}"
        return super().flaw()

    def model(self) -> ModelProto:
        """Return the model: x, Conv, y."""
        source = weights.Weights(self.weights, self.seed)
        assembly = Assembly(self.text)
        shape = (self.filters, self.channels // self.groups, *self.kernel)
        names = ["x", assembly.constant("w", source.draw(shape, self.fan_in))]
        if self.bias:
            names.append(assembly.constant("b", source.bias((self.filters,))))
        assembly.node("Conv", names, "y", **self._attributes())
        return assembly.model(self.input_shapes, {"y": self.output_shape}, dynamic=bool(self.span))

    def _attributes(self) -> dict[str, object]:
        return {
            "kernel_shape": list(self.kernel),
            "strides": list(self.stride),
            "pads": list(self.pads),
            "dilations": list(self.dilation),
            "group": self.groups,
        }


@dataclass(frozen=True, repr=False)
class ConvTransposeCase(ConvCase):
    """One deconvolution; `output_padding` has one number a spatial dimension, each below the stride."""

    output_padding: Shape

    families: ClassVar[tuple[str, ...]] = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
    keys: ClassVar[Mapping[str, str]] = {**ConvCase.keys, "output_padding": "e"}

    @property
    def output_extents(self) -> Shape:
        """Spatial extents of the output."""
        half = len(self.kernel)
        return tuple(
            (i - 1) * s + (k - 1) * d + 1 + e - self.pads[a] - self.pads[a + half]
            for a, (i, k, s, d, e) in enumerate(
                zip(self.extents, self.kernel, self.stride, self.dilation, self.output_padding, strict=True)
            )
        )

    def flaw(self) -> str | None:
        """Return why the case has no model, None when it has one."""
        if len(self.output_padding) != self.dims:
            return f"a {self.dims}-D deconvolution needs {self.dims} numbers in e"
        return super().flaw()

    def model(self) -> ModelProto:
        """Return the model: x, ConvTranspose, y."""
        source = weights.Weights(self.weights, self.seed)
        assembly = Assembly(self.text)
        shape = (self.channels, self.filters // self.groups, *self.kernel)
        names = ["x", assembly.constant("w", source.draw(shape, self.fan_in, axis=1))]
        if self.bias:
            names.append(assembly.constant("b", source.bias((self.filters,))))
        attributes = {**self._attributes(), "output_padding": list(self.output_padding)}
        assembly.node("ConvTranspose", names, "y", **attributes)
        return assembly.model(self.input_shapes, {"y": self.output_shape}, dynamic=bool(self.span))


@st.composite
def conv_cases(draw: st.DrawFn, dims: tuple[int, ...] = (1, 2, 3)) -> ConvCase:
    """Return a convolution; shrinks to one channel, one filter, one pixel, kernel 1.

    Parameters
    ----------
    dims : tuple of int
        Numbers of spatial dimensions to draw from; the first is the simplest.

    Notes
    -----
    Valid by construction: the output's extents are drawn first, and the input's follow from them. At most
    6,000 outputs and 1,024 products in each.
    """
    rank = draw(st.sampled_from(dims))
    style = draw(st.sampled_from(_STYLES))
    batch = draw(st.integers(1, 3))
    # Everything is drawn in each style, so that the plain one is also the one that shrinking ends at.
    side = draw(st.sampled_from({1: (4, 7, 14, 16), 2: (4, 7, 14, 16), 3: (2, 4, 7)}[rank]))
    kernel = draws.tuples(draw, rank, st.integers(1, 5 if rank < 3 else 3))
    stride = draws.tuples(draw, rank, st.integers(1, 3))
    dilation = tuple(draw(st.integers(1, 3)) if k > 1 else 1 for k in kernel)
    out = draws.output_extents(draw, rank, small=style in ("wide", "patch"))
    if style == "patch":
        kernel = stride = (side,) * rank
        dilation = (1,) * rank
        out = tuple(min(o, 2) for o in out)
    extents, pads = _input_extents(draw, out, kernel, stride, dilation)
    groups, channels, filters = _channels(draw, style, kernel, batch * draws.volume(out))
    return ConvCase(
        family=f"conv{rank}d",
        batch=batch,
        weights=draw(weights.kinds()),
        seed=draw(weights.seeds()),
        span=draw(draws.spans(batch)),
        channels=channels,
        filters=filters,
        extents=extents,
        kernel=kernel,
        stride=stride,
        pads=pads,
        dilation=dilation,
        groups=groups,
        bias=draw(st.booleans()),
    )


@st.composite
def conv_transpose_cases(draw: st.DrawFn, dims: tuple[int, ...] = (1, 2, 3)) -> ConvTransposeCase:
    """Return a deconvolution, also strided and dilated at once; shrinks to one pixel and kernel 1."""
    rank = draw(st.sampled_from(dims))
    style = draw(st.sampled_from(_STYLES[:4]))
    batch = draw(st.integers(1, 2))
    most = {1: 16, 2: 5, 3: 3}[rank]
    extents = draws.tuples(draw, rank, st.integers(1, 2 if style == "wide" else most))
    kernel = draws.tuples(draw, rank, st.integers(1, 4 if rank < 3 else 3))
    stride = draws.tuples(draw, rank, st.integers(1, 3 if rank < 3 else 2))
    dilation = tuple(draw(st.integers(1, 2)) if k > 1 else 1 for k in kernel)
    extra = tuple(draw(st.integers(0, s - 1)) for s in stride)
    begins, ends = [], []
    for i, k, s, d, e in zip(extents, kernel, stride, dilation, extra, strict=True):
        spare = (i - 1) * s + (k - 1) * d + e
        begin = draw(st.integers(0, min((k - 1) * d, spare)))
        end = draw(st.integers(0, min((k - 1) * d, spare - begin)))
        # The same for the far side: where no product falls into the output there is only the bias.
        last = spare - begin - end
        falling = {a * s + t * d - begin for a in range(i) for t in range(k)} & set(range(last + 1))
        if not falling:
            begin = end = 0
        begins.append(begin)
        ends.append(end)
    out = [
        (i - 1) * s + (k - 1) * d + 1 + e - p - q
        for i, k, s, d, e, p, q in zip(extents, kernel, stride, dilation, extra, begins, ends, strict=True)
    ]
    groups, channels, filters = _channels(draw, style, kernel, batch * draws.volume(out))
    return ConvTransposeCase(
        family=f"conv_transpose{rank}d",
        batch=batch,
        weights=draw(weights.kinds()),
        seed=draw(weights.seeds()),
        span=draw(draws.spans(batch)),
        channels=channels,
        filters=filters,
        extents=extents,
        kernel=kernel,
        stride=stride,
        pads=(*begins, *ends),
        dilation=dilation,
        groups=groups,
        bias=draw(st.booleans()),
        output_padding=extra,
    )


@st.composite
def batch_cases(draw: st.DrawFn) -> ConvCase:
    """Return a small 2-D convolution whose batch lies at a place where kernels change, inside a profile.

    The profile is min <= opt <= max with the batch between its ends; shrinks to batch 1 in (1, 1, 1).
    """
    batch = draw(st.sampled_from(draws.BATCHES))
    low = draw(draws.at_most(draws.BATCHES, batch))
    high = draw(st.sampled_from([value for value in draws.BATCHES if value >= batch]))
    opt = draw(st.sampled_from([value for value in draws.BATCHES if low <= value <= high]))
    side = draw(st.integers(1, 3))
    extents, pads = _input_extents(
        draw, draws.tuples(draw, 2, st.integers(1, 4)), (side, side), (1, 1), (1, 1)
    )
    return ConvCase(
        family="conv2d",
        batch=batch,
        weights=draw(weights.kinds()),
        seed=draw(weights.seeds()),
        span=(low, opt, high),
        channels=draw(draws.at_most(draws.CHANNELS, 9)),
        filters=draw(draws.at_most(draws.CHANNELS, 9)),
        extents=extents,
        kernel=(side, side),
        stride=(1, 1),
        pads=pads,
        dilation=(1, 1),
        groups=1,
        bias=draw(st.booleans()),
    )


def _input_extents(
    draw: st.DrawFn, out: Shape, kernel: Shape, stride: Shape, dilation: Shape
) -> tuple[Shape, Shape]:
    """Return input extents and pads that give the wanted output; some input at the far end may go unread."""
    extents, begins, ends = [], [], []
    for o, k, s, d in zip(out, kernel, stride, dilation, strict=True):
        reach = (k - 1) * d
        covered = (o - 1) * s + reach + 1
        begin = draw(st.integers(0, min(reach, covered - 1)))
        end = draw(st.integers(0, min(reach, covered - 1 - begin)))
        unread = draw(st.integers(0, s - 1))
        inside = covered - begin - end
        # Dilated windows can step over a short input; an output of padding alone would prove nothing.
        reading = [any(0 <= w * s - begin + t * d < inside for t in range(k)) for w in range(o)]
        if 2 * sum(reading) < o:
            begin, end, inside = 0, 0, covered
        begins.append(begin)
        ends.append(end)
        extents.append(inside + (0 if end else unread))
    return tuple(extents), (*begins, *ends)


def _channels(draw: st.DrawFn, style: str, kernel: Shape, pixels: int) -> tuple[int, int, int]:
    """Return groups, channels and filters within the limits of cost."""
    taps = draws.volume(kernel)
    affordable = max(1, draws.MAX_OUTPUTS // pixels)
    if style == "depthwise":
        groups = draw(draws.at_most(draws.CHANNELS, affordable))
        multiplier = draw(draws.at_most((1, 2, 3), affordable // groups))
        return groups, groups, groups * multiplier
    groups = draw(draws.at_most((2, 3, 4, 8), affordable)) if style == "grouped" else 1
    limit = 1024 if style in ("wide", "patch") else 17
    each = draw(draws.at_most(draws.CHANNELS, min(limit, max(1, draws.MAX_SUM // taps))))
    filters = draw(draws.at_most(draws.CHANNELS, min(limit, affordable // groups)))
    return groups, groups * each, groups * filters
