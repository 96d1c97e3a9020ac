"""Small nets in the shapes that builders fuse, and where public wrong results came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from hypothesis import strategies as st
from onnx import ModelProto

from pytest_trt.strategies import draws, weights
from pytest_trt.strategies.assemble import Assembly
from pytest_trt.strategies.case import Case, Shape
from pytest_trt.strategies.elementwise import add_batch_norm_constants


@dataclass(frozen=True, repr=False)
class MotifCase(Case):
    """One fusion motif on x, shape (batch, channels, *extents), or (batch, channels) for `matmul_add_clip`.

    Attributes
    ----------
    channels, filters : int
        Of the input, and of the convolutions.
    extents : tuple of int
        Two spatial extents; kept by every convolution.
    side : int
        Kernel of the convolutions, odd.
    low, high : int
        Bounds of the Clip, where there is one.

    Notes
    -----
    `conv_add_relu` is residual. `matmul_add_clip` is NVIDIA/TensorRT issue 4606, the upper bound lost;
    `concat_views` is issue 4854, where the addend of a residual Add is a view into the Concat behind it.
    """

    channels: int
    filters: int
    extents: Shape
    side: int
    low: int
    high: int

    families: ClassVar[tuple[str, ...]] = (
        "conv_bn_relu",
        "conv_add_relu",
        "conv_clip",
        "depthwise_separable",
        "concat_views",
        "matmul_add_clip",
    )
    keys: ClassVar[Mapping[str, str]] = {
        **Case.keys,
        "channels": "c",
        "filters": "o",
        "extents": "i",
        "side": "k",
        "low": "lo",
        "high": "hi",
    }

    @property
    def input_shapes(self) -> dict[str, Shape]:
        """Input name to shape at the drawn batch."""
        return {"x": (self.batch, self.channels, *self.extents)}

    def flaw(self) -> str | None:
        """Return why the case has no model, None when it has one."""
        rank = 0 if self.family == "matmul_add_clip" else 2
        if len(self.extents) != rank or min(self.channels, self.filters, *self.extents) < 1:
            return f"this motif needs channels, filters and {rank} extents, none of them 0"
        if self.side % 2 == 0:
            return f"the kernel {self.side} is even, and the extents have to be kept"
        return super().flaw()

    def model(self) -> ModelProto:
        """Return the model: x, the motif, y."""
        builder = _Motif(self)
        filters = getattr(builder, self.family)()
        return builder.assembly.model(
            self.input_shapes, {"y": (self.batch, filters, *self.extents)}, dynamic=bool(self.span)
        )


class _Motif:
    """Builds one motif; each method ends at y and returns its channels."""

    def __init__(self, case: MotifCase) -> None:
        self.case = case
        self.assembly = Assembly(case.text)
        self.source = weights.Weights(case.weights, case.seed)
        # A quarter of the output's deviation on unit inputs: what offsets may be before an activation.
        self.reach: dict[str, np.ndarray] = {}

    def conv_bn_relu(self) -> int:
        case = self.case
        out = self._conv("x", case.channels, case.filters, "c")
        names = add_batch_norm_constants(self.assembly, self.source, self.reach["c"], "bn")
        self.assembly.node("Relu", [self.assembly.node("BatchNormalization", [out, *names], "n")], "y")
        return case.filters

    def conv_add_relu(self) -> int:
        case = self.case
        out = self._conv("x", case.channels, case.channels, "c")
        self.assembly.node("Relu", [self.assembly.node("Add", [out, "x"], "a")], "y")
        return case.channels

    def conv_clip(self) -> int:
        case = self.case
        out = self._conv("x", case.channels, case.filters, "c")
        self.assembly.node("Clip", [out, *self._bounds()], "y")
        return case.filters

    def depthwise_separable(self) -> int:
        case = self.case
        out = self._conv("x", case.channels, case.channels, "c", groups=case.channels)
        out = self.assembly.node("Relu", [out], "r")
        last = self._conv(out, case.channels, case.filters, "d", side=1, rising=True)
        self.assembly.node("Relu", [last], "y")
        return case.filters

    def concat_views(self) -> int:
        case = self.case
        left = self._conv("x", case.channels, case.filters, "l", side=1)
        right = self._conv("x", case.channels, case.filters, "r", side=1)
        inner = self.assembly.node("Relu", [self._conv(right, case.filters, case.filters, "c")], "i")
        total = self.assembly.node("Add", [inner, right], "a")
        self.assembly.node("Concat", [left, right, total], "y", axis=1)
        return 3 * case.filters

    def matmul_add_clip(self) -> int:
        case = self.case
        shape = (case.channels, case.filters)
        drawn = self.source.draw(shape, case.channels, axis=1)
        factor = self.assembly.constant("w", drawn)
        out = self.assembly.node("MatMul", ["x", factor], "m")
        offset = self.assembly.constant("b", self.source.bias_within(np.sqrt((drawn**2).sum(axis=0)) / 4))
        out = self.assembly.node("Add", [out, offset], "a")
        self.assembly.node("Clip", [out, *self._bounds()], "y")
        return case.filters

    def _bounds(self) -> list[str]:
        return [
            self.assembly.constant("low", np.float32(self.case.low).reshape(())),
            self.assembly.constant("high", np.float32(self.case.high).reshape(())),
        ]

    def _conv(
        self,
        data: str,
        channels: int,
        filters: int,
        out: str,
        *,
        groups: int = 1,
        side: int | None = None,
        rising: bool = False,
    ) -> str:
        """Add a convolution that keeps the extents; a `rising` one has a positive weight in each filter.

        Behind a Relu a filter of negative weights alone is dead before the next one.
        """
        side = self.case.side if side is None else side
        shape = (filters, channels // groups, side, side)
        drawn = self.source.draw(shape, channels // groups * side * side)
        if rising:
            drawn[:, 0] = np.abs(drawn[:, 0])
        self.reach[out] = np.sqrt((drawn**2).sum(axis=(1, 2, 3))) / 4
        factor = self.assembly.constant(f"{out}_w", drawn)
        offset = self.assembly.constant(f"{out}_b", self.source.bias_within(self.reach[out]))
        pad = side // 2
        return self.assembly.node(
            "Conv", [data, factor, offset], out, kernel_shape=[side, side], pads=[pad] * 4, group=groups
        )


@st.composite
def motif_cases(draw: st.DrawFn) -> MotifCase:
    """Return a fusion motif; shrinks to Conv, BatchNormalization and Relu of one pixel."""
    family = draw(st.sampled_from(MotifCase.families))
    batch = draw(st.integers(1, 3))
    # Everything is drawn for each motif, so that shrinking ends at the first.
    extents = draws.tuples(draw, 2, st.integers(1, 6))
    side = draw(st.sampled_from((1, 3, 5)))
    if family == "matmul_add_clip":
        extents, side = (), 1
    pixels = batch * draws.volume(extents)
    afford = max(1, draws.MAX_OUTPUTS // (3 * pixels))
    # The widest sum runs over the filters in `concat_views` and over the channels elsewhere.
    widest = max(1, draws.MAX_SUM // (side * side))
    return MotifCase(
        family=family,
        batch=batch,
        weights=draw(weights.kinds()),
        seed=draw(weights.seeds()),
        span=draw(draws.spans(batch)),
        channels=draw(draws.at_most(draws.CHANNELS, min(widest, afford))),
        filters=draw(draws.at_most(draws.CHANNELS, min(widest, afford))),
        extents=extents,
        side=side,
        low=draw(st.sampled_from((0, -1))),
        high=draw(st.sampled_from((1, 2, 6))),
    )
