"""Pools: the largest or the mean of a window, 1-D to 3-D."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hypothesis import strategies as st
from onnx import ModelProto

from pytest_trt.strategies import draws
from pytest_trt.strategies.assemble import Assembly
from pytest_trt.strategies.case import Case, Shape

_OPERATORS = {
    "max_pool": "MaxPool",
    "average_pool": "AveragePool",
    "global_average_pool": "GlobalAveragePool",
}


@dataclass(frozen=True, repr=False)
class PoolCase(Case):
    """One pool.

    Attributes
    ----------
    channels : int
    extents, kernel, stride : tuple of int
        One number a spatial dimension. A global pool has no kernel and no stride.
    pads : tuple of int
        ONNX order: all begins, then all ends, each below the kernel.
    ceil : bool
        `ceil_mode`: a last window may reach beyond the input.
    include : bool
        `count_include_pad`: the divisor counts padding.
    """

    channels: int
    extents: Shape
    kernel: Shape
    stride: Shape
    pads: Shape
    ceil: bool
    include: bool

    families: ClassVar[tuple[str, ...]] = tuple(f"{name}{rank}d" for name in _OPERATORS for rank in (1, 2, 3))
    keys: ClassVar[Mapping[str, str]] = {
        **Case.keys,
        "channels": "c",
        "extents": "i",
        "kernel": "k",
        "stride": "t",
        "pads": "p",
        "ceil": "z",
        "include": "y",
    }

    @property
    def operator(self) -> str:
        """ONNX's name of the operator."""
        return _OPERATORS[self.family[:-2]]

    @property
    def variant(self) -> str:
        """`ceil`, `padded` or `plain`."""
        if self.ceil:
            return "ceil"
        return "padded" if any(self.pads) else "plain"

    @property
    def input_shapes(self) -> dict[str, Shape]:
        """Input name to shape at the drawn batch."""
        return {"x": (self.batch, self.channels, *self.extents)}

    @property
    def output_shape(self) -> Shape:
        """Shape of the output at the drawn batch."""
        if not self.kernel:
            return (self.batch, self.channels, *(1 for _ in self.extents))
        half = len(self.kernel)
        out = []
        for a, (i, k, s) in enumerate(zip(self.extents, self.kernel, self.stride, strict=True)):
            room = i + self.pads[a] + self.pads[a + half] - k
            out.append((-(-room // s) if self.ceil else room // s) + 1)
        return (self.batch, self.channels, *out)

    def flaw(self) -> str | None:
        """Return why the case has no model, None when it has one."""
        rank = 0 if self.operator.startswith("Global") else self.dims
        if (len(self.kernel), len(self.stride), len(self.pads)) != (rank, rank, 2 * rank):
            return f"this pool needs {rank} numbers in k and t, and {2 * rank} in p"
        if len(self.extents) != self.dims or min(self.channels, *self.extents) < 1:
            return f"a {self.dims}-D pool needs channels and {self.dims} extents, none of them 0"
        if min((*self.kernel, *self.stride), default=1) < 1 or min(self.output_shape) < 1:
            return f"the output would have shape {self.output_shape}"
        return super().flaw()

    def model(self) -> ModelProto:
        """Return the model: x, pool, y."""
        attributes: dict[str, object] = {}
        if self.kernel:
            attributes = {
                "kernel_shape": list(self.kernel),
                "strides": list(self.stride),
                "pads": list(self.pads),
                "ceil_mode": int(self.ceil),
            }
        if self.operator == "AveragePool":
            attributes["count_include_pad"] = int(self.include)
        assembly = Assembly(self.text)
        assembly.node(self.operator, ["x"], "y", **attributes)
        return assembly.model(self.input_shapes, {"y": self.output_shape}, dynamic=bool(self.span))


@st.composite
def pool_cases(draw: st.DrawFn, dims: tuple[int, ...] = (1, 2, 3)) -> PoolCase:
    """Return a pool; shrinks to a 1-D MaxPool of one element.

    Notes
    -----
    A window never lies in padding alone: what it means there differs between frameworks. Nor does one that
    `ceil_mode` lets reach beyond the padded input come with `count_include_pad`: whether the part beyond
    counts was settled only in ONNX operator set 19.
    """
    name = draw(st.sampled_from(tuple(_OPERATORS)))
    rank = draw(st.sampled_from(dims))
    batch = draw(st.integers(1, 3))
    # Everything is drawn for each operator, so that shrinking ends at the plainest.
    out = draws.output_extents(draw, rank, small=False)
    kernel = draws.tuples(draw, rank, st.integers(1, 5 if rank < 3 else 3))
    stride = draws.tuples(draw, rank, st.integers(1, 3))
    ceil = draw(st.booleans())
    include = draw(st.booleans()) and name == "average_pool"
    extents, pads = _input_extents(draw, out, kernel, stride, overhang=ceil and not include)
    pixels = batch * draws.volume(out)
    if name == "global_average_pool":
        extents, kernel, stride, pads, ceil = out, (), (), (), False
    return PoolCase(
        family=f"{name}{rank}d",
        batch=batch,
        weights="int",
        seed=0,
        span=draw(draws.spans(batch)),
        channels=draw(draws.at_most(draws.CHANNELS, max(1, draws.MAX_OUTPUTS // 2 // pixels))),
        extents=extents,
        kernel=kernel,
        stride=stride,
        pads=pads,
        ceil=ceil,
        include=include,
    )


def _input_extents(
    draw: st.DrawFn, out: Shape, kernel: Shape, stride: Shape, *, overhang: bool
) -> tuple[Shape, Shape]:
    extents, begins, ends = [], [], []
    for o, k, s in zip(out, kernel, stride, strict=True):
        covered = (o - 1) * s + k
        begins.append(draw(st.integers(0, min(k - 1, covered - 1))))
        ends.append(draw(st.integers(0, min(k - 1, covered - 1 - begins[-1]))))
        inside = covered - begins[-1] - ends[-1]
        # Windows that hang over leave at least one element of the last window inside the input.
        spare = min(s - 1, k - ends[-1] - 1, inside - 1) if overhang and o > 1 else 0
        extents.append(inside - draw(st.integers(0, spare)))
    return tuple(extents), (*begins, *ends)
