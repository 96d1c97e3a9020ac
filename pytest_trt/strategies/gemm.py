"""Matrix products: Gemm with its transposes, and MatMul with and without a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hypothesis import strategies as st
from onnx import ModelProto

from pytest_trt.strategies import draws, weights
from pytest_trt.strategies.assemble import Assembly
from pytest_trt.strategies.case import Case, Shape

_WIDTHS = (*draws.CHANNELS, 127, 128, 129, 255, 256, 257, 512, 1000, 1024)


@dataclass(frozen=True, repr=False)
class GemmCase(Case):
    """One Gemm: alpha x W + beta b, with the batch as rows.

    Attributes
    ----------
    inner, outer : int
        Products in each sum; columns of the output.
    trans_a, trans_b : bool
        With `trans_a` the batch is the second axis of x, and the shapes are fixed.
    alpha, beta : int
        In quarters, so that 4 is one.
    bias : bool
    """

    inner: int
    outer: int
    trans_a: bool
    trans_b: bool
    alpha: int
    beta: int
    bias: bool

    families: ClassVar[tuple[str, ...]] = ("gemm",)
    keys: ClassVar[Mapping[str, str]] = {
        **Case.keys,
        "inner": "k",
        "outer": "o",
        "trans_a": "ta",
        "trans_b": "tb",
        "alpha": "al",
        "beta": "be",
        "bias": "b",
    }

    def flaw(self) -> str | None:
        """Return why the case has no model, None when it has one."""
        if min(self.inner, self.outer) < 1:
            return "a matrix product needs k and o of at least 1"
        if self.trans_a and self.span:
            return "with ta1 the batch is the second axis, and there is no profile"
        return super().flaw()

    @property
    def variant(self) -> str:
        """`transposed` (the data), `scaled` or `plain`."""
        if self.trans_a:
            return "transposed"
        return "scaled" if (self.alpha, self.beta) != (4, 4) else "plain"

    @property
    def input_shapes(self) -> dict[str, Shape]:
        """Input name to shape at the drawn batch."""
        return {"x": (self.inner, self.batch) if self.trans_a else (self.batch, self.inner)}

    def model(self) -> ModelProto:
        """Return the model: x, Gemm, y."""
        source = weights.Weights(self.weights, self.seed)
        assembly = Assembly(self.text)
        shape = (self.outer, self.inner) if self.trans_b else (self.inner, self.outer)
        axis = 0 if self.trans_b else 1
        names = ["x", assembly.constant("w", source.draw(shape, self.inner, axis=axis))]
        if self.bias:
            names.append(assembly.constant("b", source.bias((self.outer,))))
        attributes = {
            "transA": int(self.trans_a),
            "transB": int(self.trans_b),
            "alpha": self.alpha / 4,
            "beta": self.beta / 4,
        }
        assembly.node("Gemm", names, "y", **attributes)
        return assembly.model(self.input_shapes, {"y": (self.batch, self.outer)}, dynamic=bool(self.span))


@dataclass(frozen=True, repr=False)
class MatMulCase(Case):
    """One MatMul of x, shape (batch, rows, inner), or (batch, inner) when `rows` is 0.

    Attributes
    ----------
    rows, inner, outer : int
    both : bool
        The second operand is an input, shape (batch, inner, outer), rather than weights (inner, outer).
    """

    rows: int
    inner: int
    outer: int
    both: bool

    families: ClassVar[tuple[str, ...]] = ("matmul",)
    keys: ClassVar[Mapping[str, str]] = {**Case.keys, "rows": "m", "inner": "k", "outer": "o", "both": "i"}

    def flaw(self) -> str | None:
        """Return why the case has no model, None when it has one."""
        if min(self.inner, self.outer) < 1:
            return "a matrix product needs k and o of at least 1"
        if self.both and not self.rows:
            return "two inputs need m of at least 1"
        return super().flaw()

    @property
    def variant(self) -> str:
        """`batched` (two inputs), `stacked` (three axes, one weight) or `plain`."""
        if self.both:
            return "batched"
        return "stacked" if self.rows else "plain"

    @property
    def input_shapes(self) -> dict[str, Shape]:
        """Input name to shape at the drawn batch."""
        if not self.rows:
            return {"x": (self.batch, self.inner)}
        shapes: dict[str, Shape] = {"x": (self.batch, self.rows, self.inner)}
        if self.both:
            shapes["x2"] = (self.batch, self.inner, self.outer)
        return shapes

    def model(self) -> ModelProto:
        """Return the model: x and weights or x2, MatMul, y."""
        assembly = Assembly(self.text)
        other = "x2"
        if not self.both:
            source = weights.Weights(self.weights, self.seed)
            other = assembly.constant("w", source.draw((self.inner, self.outer), self.inner, axis=1))
        assembly.node("MatMul", ["x", other], "y")
        out = (self.batch, self.rows, self.outer) if self.rows else (self.batch, self.outer)
        return assembly.model(self.input_shapes, {"y": out}, dynamic=bool(self.span))


@st.composite
def gemm_cases(draw: st.DrawFn) -> GemmCase | MatMulCase:
    """Return a Gemm or a MatMul; shrinks to a Gemm of one by one by one."""
    batch = draw(st.sampled_from((1, 2, 3, 4, 7, 8, 9, 16, 17, 33)))
    inner = draw(st.sampled_from(_WIDTHS))
    kind = draw(st.sampled_from(("gemm", "matmul")))
    seed, fill = draw(weights.seeds()), draw(weights.kinds())
    # Everything is drawn for both operators, so that shrinking ends at Gemm.
    trans_a, trans_b = draw(st.booleans()), draw(st.booleans())
    alpha, beta = draw(st.sampled_from((4, 4, 2, 8))), draw(st.sampled_from((4, 4, 2, 8)))
    flag = draw(st.booleans())
    rows = draw(st.sampled_from((0, 1, 3, 8, 17)))
    span = draw(draws.spans(batch))
    if kind == "gemm":
        return GemmCase(
            family="gemm",
            batch=batch,
            weights=fill,
            seed=seed,
            span=() if trans_a else span,
            inner=inner,
            outer=draw(draws.at_most(_WIDTHS, draws.MAX_OUTPUTS // batch)),
            trans_a=trans_a,
            trans_b=trans_b,
            alpha=alpha,
            beta=beta if flag else 4,
            bias=flag,
        )
    return MatMulCase(
        family="matmul",
        batch=batch,
        weights=fill,
        seed=seed,
        span=span,
        rows=rows,
        inner=inner if rows < 3 else min(inner, 129),
        outer=draw(draws.at_most(_WIDTHS, min(129, draws.MAX_OUTPUTS // (batch * max(rows, 1))))),
        both=rows > 0 and flag,
    )
