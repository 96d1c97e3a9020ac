"""How the models of single operators are put together, and which forms each has.

A form is a number in a case's text; what it means is said at each family. Operators whose input must be positive get |x|.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pytest_trt.strategies.assemble import Assembly
from pytest_trt.strategies.case import Shape
from pytest_trt.strategies.weights import Weights


@dataclass(frozen=True)
class Site:
    """What a recipe works with.

    Attributes
    ----------
    assembly : Assembly
    source : Weights
    shape : tuple of int
        Of x, the batch included.
    form : int
    """

    assembly: Assembly
    source: Weights
    shape: Shape
    form: int

    def per_channel(self, values: np.ndarray, name: str) -> str:
        """Add a constant with one number a channel, broadcastable to x; return its name."""
        return self.assembly.constant(name, values.reshape(-1, *(1 for _ in self.shape[2:])))


Build = Callable[[Site], Shape]


@dataclass(frozen=True)
class Recipe:
    """One family.

    Attributes
    ----------
    build : callable(site) -> shape
        Adds the nodes from `x` (and `x2`) to `y`; returns y's shape.
    forms : callable(shape) -> sequence of int
        Forms that an x without its batch allows.
    inputs : int
        1, or 2 of one shape.
    rank : int
        Dimensions that x must have without its batch; 0: any.
    grows : int
        How many times larger y may be than x.
    rows : bool
        Elements are put in relation to others: extents below 3 say nothing.
    """

    build: Build
    forms: Callable[[Shape], tuple[int, ...]] = field(default=lambda shape: (0,))
    inputs: int = 1
    rank: int = 0
    grows: int = 1
    rows: bool = False


def _one(operator: str, before: str = "", **attributes: Any) -> Recipe:
    """One node; `before` is an operator in front of it."""

    def build(site: Site) -> Shape:
        name = site.assembly.node(before, ["x"], "inner") if before else "x"
        site.assembly.node(operator, [name], "y", **attributes)
        return site.shape

    return Recipe(build)


def _shifted(operator: str, kind: str, constant: float) -> Recipe:
    """One node behind an exact operation with a constant, so that data between 0 and 1 have more than one result."""

    def build(site: Site) -> Shape:
        site.assembly.constant("c", np.float32(constant).reshape(()))
        site.assembly.node(kind, ["x", "c"], "inner")
        site.assembly.node(operator, ["inner"], "y")
        return site.shape

    return Recipe(build)


def _two(operator: str) -> Recipe:
    def build(site: Site) -> Shape:
        site.assembly.node(operator, ["x", "x2"], "y")
        return site.shape

    return Recipe(build, inputs=2)


EXPONENTS = (2.0, 3.0, 0.5, -1.0, 1.75, -0.5)


def _pow(site: Site) -> Shape:
    """The form is a place in `EXPONENTS`; the two first take negative numbers."""
    base = "x" if site.form < 2 else site.assembly.node("Abs", ["x"], "inner")
    exponent = site.assembly.constant("c", np.float32(EXPONENTS[site.form]).reshape(()))
    site.assembly.node("Pow", [base, exponent], "y")
    return site.shape


def _prelu(site: Site) -> Shape:
    slope = site.per_channel(site.source.bias((site.shape[1],)), "slope")
    site.assembly.node("PRelu", ["x", slope], "y")
    return site.shape


def _where(site: Site) -> Shape:
    """x where it exceeds a constant of its channel, x2 elsewhere."""
    limit = site.per_channel(site.source.bias((site.shape[1],)) / np.float32(8), "limit")
    site.assembly.node("Greater", ["x", limit], "test")
    site.assembly.node("Where", ["test", "x", "x2"], "y")
    return site.shape


def _gelu(site: Site) -> Shape:
    """0.5 x (1 + erf(x / sqrt(2))) as PyTorch exports it below operator set 20."""
    add = site.assembly
    for name, value in (("root", np.sqrt(2.0)), ("one", 1.0), ("half", 0.5)):
        add.constant(name, np.float32(value).reshape(()))
    add.node("Div", ["x", "root"], "scaled")
    add.node("Erf", ["scaled"], "erf")
    add.node("Add", ["erf", "one"], "gate")
    add.node("Mul", ["x", "gate"], "double")
    add.node("Mul", ["double", "half"], "y")
    return site.shape


def _silu(site: Site) -> Shape:
    site.assembly.node("Sigmoid", ["x"], "gate")
    site.assembly.node("Mul", ["x", "gate"], "y")
    return site.shape


def _mish(site: Site) -> Shape:
    site.assembly.node("Softplus", ["x"], "inner")
    site.assembly.node("Tanh", ["inner"], "gate")
    site.assembly.node("Mul", ["x", "gate"], "y")
    return site.shape


def _reduced_axes(form: int, rank: int) -> tuple[tuple[int, ...], bool]:
    return tuple(axis for axis in range(1, rank) if form // 2 >> (axis - 1) & 1), bool(form % 2)


def _reduce(operator: str) -> Recipe:
    """The form is 2 m + k: bit a - 1 of m for axis a, k for `keepdims`."""

    def build(site: Site) -> Shape:
        axes, keep = _reduced_axes(site.form, len(site.shape))
        names, attributes = ["x"], {"keepdims": int(keep)}
        if (
            operator == "ReduceSum"
        ):  # ReduceSum-13 reads its axes, the others in this operator set have an attribute
            names.append(site.assembly.constant("axes", np.array(axes, np.int64)))
            site.assembly.node(operator, names, "y", **attributes)
        else:
            site.assembly.node(operator, names, "y", axes=list(axes), **attributes)
        return tuple(
            1 if axis in axes else d for axis, d in enumerate(site.shape) if keep or axis not in axes
        )

    return Recipe(build, lambda shape: tuple(range(2, 2 ** (len(shape) + 1))), rows=True)


def _axes(shape: Shape) -> tuple[int, ...]:
    return tuple(range(1, len(shape) + 1))


def _along(operator: str, **attributes: Any) -> Recipe:
    """The form is the axis."""

    def build(site: Site) -> Shape:
        site.assembly.node(operator, ["x"], "y", axis=site.form, **attributes)
        return site.shape

    return Recipe(build, _axes, rows=True)


def _layer_norm(site: Site) -> Shape:
    """The form is the first normalised axis."""
    inner = site.shape[site.form :]
    names = [
        site.assembly.constant("scale", site.source.positive(inner)),
        site.assembly.constant("bias", site.source.bias(inner)),
    ]
    site.assembly.node("LayerNormalization", ["x", *names], "y", axis=site.form, epsilon=1e-5)
    return site.shape


def _instance_norm(site: Site) -> Shape:
    channels = (site.shape[1],)
    names = [
        site.assembly.constant("scale", site.source.positive(channels)),
        site.assembly.constant("bias", site.source.bias(channels)),
    ]
    site.assembly.node("InstanceNormalization", ["x", *names], "y", epsilon=1e-5)
    return site.shape


def _lrn(site: Site) -> Shape:
    site.assembly.node("LRN", ["x"], "y", size=3, alpha=0.25, beta=0.75, bias=1.0)
    return site.shape


# mode, coordinates, rule of nearest, factors of height and width
RESIZES: tuple[tuple[str, str, str, tuple[float, float]], ...] = (
    ("nearest", "asymmetric", "floor", (2.0, 2.0)),
    ("nearest", "half_pixel", "round_prefer_floor", (2.0, 3.0)),
    ("nearest", "half_pixel", "ceil", (3.0, 1.0)),
    ("linear", "half_pixel", "", (2.0, 2.0)),
    ("linear", "align_corners", "", (2.0, 3.0)),
    ("linear", "asymmetric", "", (3.0, 2.0)),
    ("linear", "pytorch_half_pixel", "", (2.0, 1.5)),
    ("cubic", "half_pixel", "", (2.0, 2.0)),
)


def _resize(site: Site) -> Shape:
    """The form is a place in `RESIZES`."""
    mode, coordinates, rule, factors = RESIZES[site.form]
    scales = site.assembly.constant("scales", np.array([1.0, 1.0, *factors], np.float32))
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if rule:
        attributes["nearest_mode"] = rule
    site.assembly.node("Resize", ["x", "", scales], "y", **attributes)
    return (*site.shape[:2], *(int(d * f) for d, f in zip(site.shape[2:], factors, strict=True)))


def _tile(site: Site) -> Shape:
    repeats = site.assembly.constant("repeats", np.array([1, 2, *(1 for _ in site.shape[2:])], np.int64))
    site.assembly.node("Tile", ["x", repeats], "y")
    return (site.shape[0], 2 * site.shape[1], *site.shape[2:])


def _gather(site: Site) -> Shape:
    """Three channels: the last, the first, the middle one."""
    last = site.shape[1] - 1
    index = site.assembly.constant("index", np.array([last, 0, last // 2], np.int64))
    site.assembly.node("Gather", ["x", index], "y", axis=1)
    return (site.shape[0], 3, *site.shape[2:])


def _space_to_depth(site: Site) -> Shape:
    """Pixels to channels and, with form 1, back in the order of columns (CRD)."""
    n, c, h, w = site.shape
    pads = site.assembly.constant("pads", np.array([0, 0, 0, 0, 0, 0, h % 2, w % 2], np.int64))
    site.assembly.node("Pad", ["x", pads], "even")
    h, w = h + h % 2, w + w % 2
    if site.form == 0:
        site.assembly.node("SpaceToDepth", ["even"], "y", blocksize=2)
        return (n, 4 * c, h // 2, w // 2)
    site.assembly.node("SpaceToDepth", ["even"], "deep", blocksize=2)
    site.assembly.node("DepthToSpace", ["deep"], "y", blocksize=2, mode="CRD")
    return (n, c, h, w)


RECIPES: Mapping[str, Recipe] = {
    "sub": _two("Sub"),
    "div": _two("Div"),
    "max": _two("Max"),
    "min": _two("Min"),
    "sum": _two("Sum"),
    "mean": _two("Mean"),
    "pow": Recipe(_pow, lambda shape: tuple(range(len(EXPONENTS)))),
    "where": Recipe(_where, inputs=2),
    "prelu": Recipe(_prelu),
    "leaky_relu": _one("LeakyRelu", alpha=0.125),
    "thresholded_relu": _one("ThresholdedRelu", alpha=0.25),
    "elu": _one("Elu"),
    "selu": _one("Selu"),
    "softplus": _one("Softplus"),
    "softsign": _one("Softsign"),
    "hard_sigmoid": _one("HardSigmoid"),
    "hard_swish": _one("HardSwish"),
    "erf": _one("Erf"),
    "gelu": Recipe(_gelu),
    "silu": Recipe(_silu),
    "mish": Recipe(_mish),
    "exp": _one("Exp"),
    "log": _one("Log", before="Abs"),
    "sqrt": _one("Sqrt", before="Abs"),
    "reciprocal": _one("Reciprocal"),
    "sin": _one("Sin"),
    "cos": _one("Cos"),
    "neg": _one("Neg"),
    "abs": _one("Abs"),
    "floor": _shifted("Floor", "Mul", 8.0),
    "ceil": _shifted("Ceil", "Mul", 8.0),
    "round": _shifted("Round", "Mul", 8.0),
    "sign": _shifted("Sign", "Sub", 0.5),
    "reduce_sum": _reduce("ReduceSum"),
    "reduce_mean": _reduce("ReduceMean"),
    "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"),
    "reduce_l1": _reduce("ReduceL1"),
    "reduce_l2": _reduce("ReduceL2"),
    "reduce_sum_square": _reduce("ReduceSumSquare"),
    "log_softmax": _along("LogSoftmax"),
    "lp_normalization": _along("LpNormalization", p=2),
    "layer_norm": Recipe(_layer_norm, _axes, rows=True),
    "instance_norm": Recipe(_instance_norm, rows=True),
    "lrn": Recipe(_lrn, rank=3),
    "resize": Recipe(_resize, lambda shape: tuple(range(len(RESIZES))), rank=3, grows=6),
    "tile": Recipe(_tile, grows=2),
    "gather": Recipe(_gather, grows=3),
    "space_to_depth": Recipe(_space_to_depth, lambda shape: (0, 1), rank=3, grows=4),
}
