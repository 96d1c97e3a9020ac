"""Operators without products of their own: arithmetic, activations, reductions, normalisations, Resize, moves."""

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
from pytest_trt.strategies.recipes import RECIPES, Recipe, Site

_OPERATORS = {
    "relu": "Relu",
    "add": "Add",
    "mul": "Mul",
    "clip": "Clip",
    "batch_norm": "BatchNormalization",
    "concat": "Concat",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softmax": "Softmax",
}


@dataclass(frozen=True, repr=False)
class ElementwiseCase(Case):
    """One operator on x, shape (batch, *shape).

    Attributes
    ----------
    shape : tuple of int
        x without its batch; the first is the channels.
    form : int
        add, mul: 0 two inputs, 1 a constant for each channel, 2 one constant. clip: 0 both bounds, 1 the
        upper, 2 the lower. concat: channels of the second input. softmax: the axis. The families of `recipes`:
        as said there. Else 0.
    """

    shape: Shape
    form: int

    families: ClassVar[tuple[str, ...]] = (*_OPERATORS, *RECIPES)
    keys: ClassVar[Mapping[str, str]] = {**Case.keys, "shape": "c", "form": "f"}

    @property
    def operator(self) -> str:
        """ONNX's name of the operator; of a family of `recipes` that of the family."""
        return _OPERATORS.get(self.family, self.family)

    @property
    def recipe(self) -> Recipe | None:
        """How the model is put together, None for the families that this class knows itself."""
        return RECIPES.get(self.family)

    @property
    def input_shapes(self) -> dict[str, Shape]:
        """Input name to shape at the drawn batch."""
        shapes: dict[str, Shape] = {"x": (self.batch, *self.shape)}
        recipe = self.recipe
        if (self.family in ("add", "mul") and self.form == 0) or (recipe is not None and recipe.inputs == 2):
            shapes["x2"] = shapes["x"]
        if self.family == "concat":
            shapes["x2"] = (self.batch, self.form, *self.shape[1:])
        return shapes

    def flaw(self) -> str | None:
        """Return why the case has no model, None when it has one."""
        if not self.shape or min(self.shape) < 1:
            return f"shape {self.shape} has no elements"
        if self.family == "concat" and self.form < 1:
            return "concat needs the channels of its second input in f"
        if self.family == "softmax" and not 1 <= self.form <= len(self.shape):
            return f"softmax needs an axis from 1 to {len(self.shape)} in f"
        recipe = self.recipe
        if recipe is not None:
            if recipe.rank and len(self.shape) != recipe.rank:
                return f"{self.family} needs {recipe.rank} numbers in c"
            if self.form not in recipe.forms(self.shape):
                return f"{self.family} knows no form {self.form} for shape {self.shape}"
        return super().flaw()

    def model(self) -> ModelProto:
        """Return the model: inputs, the operator, y."""
        assembly = Assembly(self.text)
        source = weights.Weights(self.weights, self.seed)
        if (recipe := self.recipe) is not None:
            made = recipe.build(Site(assembly, source, (self.batch, *self.shape), self.form))
            return assembly.model(self.input_shapes, {"y": made}, dynamic=bool(self.span))
        names = list(self.input_shapes)
        out: Shape = (self.batch, *self.shape)
        attributes: dict[str, object] = {}
        channels = self.shape[0]
        if self.family in ("add", "mul") and self.form:
            wide = (channels, *(1 for _ in self.shape[1:])) if self.form == 1 else (1,)
            names.append(assembly.constant("c", source.bias(wide)))
        elif self.family == "clip":
            low = assembly.constant("low", np.float32(-1.0).reshape(())) if self.form != 1 else ""
            names += (
                [low, assembly.constant("high", np.float32(2.0).reshape(()))] if self.form != 2 else [low]
            )
        elif self.family == "batch_norm":
            names += add_batch_norm_constants(assembly, source, np.full(channels, np.inf), "bn")
        elif self.family == "concat":
            attributes["axis"] = 1
            out = (self.batch, channels + self.form, *self.shape[1:])
        elif self.family == "softmax":
            attributes["axis"] = self.form
        assembly.node(self.operator, names, "y", **attributes)
        return assembly.model(self.input_shapes, {"y": out}, dynamic=bool(self.span))


def add_batch_norm_constants(
    assembly: Assembly, source: weights.Weights, limit: np.ndarray, stem: str
) -> list[str]:
    """Add scale, bias, mean and variance of a BatchNormalization; return their names.

    `limit` bounds what mean and bias each move, in units of the input, one number a channel.
    """
    scale, variance = source.positive(limit.shape), source.positive(limit.shape)
    mean, shift = source.bias_within(limit), source.bias_within(limit * scale / np.sqrt(variance))
    return [
        assembly.constant(f"{stem}_scale", scale),
        assembly.constant(f"{stem}_bias", shift),
        assembly.constant(f"{stem}_mean", mean),
        assembly.constant(f"{stem}_var", variance),
    ]


@st.composite
def elementwise_cases(draw: st.DrawFn) -> ElementwiseCase:
    """Return one operator without products of its own; shrinks to the Relu of one element."""
    family = draw(st.sampled_from(ElementwiseCase.families))
    recipe = RECIPES.get(family)
    batch = draw(st.integers(1, 4))
    rank = recipe.rank - 1 if recipe is not None and recipe.rank else draw(st.sampled_from((1, 2, 3)))
    rest = draws.tuples(draw, rank, st.integers(1, 4))
    if recipe is not None and recipe.rows:
        # What puts elements in relation to others needs some.
        rest = (*rest[:-1], draw(st.sampled_from((3, 4, 7, 8, 17, 33))))
    affordable = draws.MAX_OUTPUTS // 2 // (batch * draws.volume(rest) * (recipe.grows if recipe else 1))
    channels = draw(draws.at_most(draws.CHANNELS, affordable))
    form = 0
    if family in ("add", "mul", "clip"):
        form = draw(st.sampled_from((0, 1, 2)))
    elif family == "concat":
        form = draw(draws.at_most(draws.CHANNELS, affordable))
    elif family == "softmax":
        form = draw(st.sampled_from((1, len(rest) + 1)))
        # Over one element a softmax is 1 whatever the input is.
        if form == 1:
            channels = max(channels, 2)
        else:
            rest = (*rest[:-1], max(rest[-1], 2))
    elif recipe is not None:
        channels = max(channels, 3) if recipe.rows else channels
        form = draw(st.sampled_from(recipe.forms((channels, *rest))))
    return ElementwiseCase(
        family=family,
        batch=batch,
        weights=draw(weights.kinds()),
        seed=draw(weights.seeds()),
        span=draw(draws.spans(batch)),
        shape=(channels, *rest),
        form=form,
    )
