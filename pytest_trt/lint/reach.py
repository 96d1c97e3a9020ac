"""Constants that float16 cannot hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pytest_trt.lint.advice import Advice
from pytest_trt.lint.registry import rule
from pytest_trt.lint.view import Place, View

# IEEE 754-2019, table 3.5: binary16 ends at 65504; below half of its least subnormal 2**-24 a value rounds to zero.
LARGEST = 65504.0
LEAST = 2.0**-25
# Unit roundoff of binary16 (ibid.), and a share of negligible values from which they are worth a word.
_ROUNDOFF = 2.0**-11
_SHARE = 0.01
# Where a constant is no operand: (operator, index); bounds may be infinite, a resize factor stays float32, TensorRT folds
# the parameters of a norm before it rounds them, a scale of Q/DQ is a parameter of the pair.
_NO_OPERANDS = {
    "Clip": (1, 2),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "BatchNormalization": (1, 2, 3, 4),
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "Pad": (2,),
    "Range": (0, 1, 2),
    "ConstantOfShape": (0,),
}
_MASKED = ("Add", "Sub", "Mul", "Where", "Max", "Min")
_CARRIES = (
    *_MASKED,
    "Reshape",
    "Expand",
    "Unsqueeze",
    "Squeeze",
    "Cast",
    "Slice",
    "Transpose",
    "Identity",
    "Div",
)
_STEPS = 8
# An epsilon is added here so that these do not see a zero.
_NEEDS_NONZERO = ("Sqrt", "Div", "Log", "Reciprocal", "Pow")


@rule("fp16-overflow", "fp16")
def find_overflow(view: View) -> Iterator[Advice]:
    """A weight beyond 65504 becomes infinite in float16."""
    for place, name, value in _operands(view):
        size = np.abs(value[np.isfinite(value)])
        beyond = int((size > LARGEST).sum())
        if not beyond or _is_mask(place, value):
            continue
        yield Advice(
            "fp16-overflow",
            "warning",
            f"{beyond} of {value.size} values of {name!r} are beyond the range of float16, up to {size.max():.3g}",
            f"float16 ends at {LARGEST:g}: they become infinite, or are held there, and the sums with them are wrong",
            f"keep {place.name!r} in float32, or scale the weights and the layer behind them against each other",
            place.name,
            name,
            {
                "beyond": beyond,
                "values": value.size,
                "share": beyond / value.size,
                "largest": float(size.max()),
            },
        )


@rule("fp16-vanish", "fp16")
def find_vanishing(view: View) -> Iterator[Advice]:
    """Weights below 3e-8 become zero in float16."""
    for place, name, value in _operands(view):
        if value.ndim == 0 or value.size == 1:
            continue  # an epsilon has a rule of its own
        size = np.abs(value[np.isfinite(value)])
        vanishing = size[(size <= LEAST) & (size > 0)]
        share = vanishing.size / value.size
        if share == 0.0:
            continue
        # Beside a weight 2048 times as large, a sum in float16 does not show it either.
        matters = bool(vanishing.max() > _ROUNDOFF * size.max())
        if not matters and share < _SHARE:
            continue
        yield Advice(
            "fp16-vanish",
            "warning" if matters else "advice",
            f"{100 * share:.3g} % of the values of {name!r} become zero in float16, the largest of them {vanishing.max():.2g}",
            f"the least that float16 has is 6e-08, and the largest value of this tensor is {size.max():.2g}"
            + ("" if matters else ": the sums will hardly show it"),
            f"scale the weights of {place.name!r} up and what follows down, or keep it in float32"
            if matters
            else "values that pruning left behind can be set to zero",
            place.name,
            name,
            {"gone": vanishing.size, "values": value.size, "share": share, "largest": float(size.max())},
        )


@rule("fp16-epsilon", "fp16")
def find_epsilons(view: View) -> Iterator[Advice]:
    """An epsilon that is zero in float16 no longer guards a division."""
    for place, name, value in _operands(view):
        if value.size != 1 or place.node.op_type not in ("Add", "Max", "Clip"):
            continue
        size = float(np.abs(value).max())
        if not 0.0 < size <= LEAST or not _reaches(
            place, _NEEDS_NONZERO, ("Sqrt", "Reshape", "Unsqueeze", "Cast")
        ):
            continue
        yield Advice(
            "fp16-epsilon",
            "warning",
            f"the epsilon {size:g} is zero in float16",
            "what it guards divides by zero, or takes its root or logarithm: inf or NaN for rows of equal values",
            "use 1e-5 or more, or keep the normalisation in float32",
            place.name,
            name,
            {"epsilon": size},
        )


@rule("fp16-mask", "fp16")
def find_masks(view: View) -> Iterator[Advice]:
    """A mask constant like -1e9 becomes -inf in float16, and a row of them NaN."""
    for place, name, value in _operands(view):
        if not _is_mask(place, value):
            continue
        low = float(value.min()) if float(value.min()) < -LARGEST else -float(np.abs(value).max())
        if low == -np.inf:
            continue  # meant, and the same in each type
        softmax = _reaches(place, ("Softmax", "LogSoftmax"), _CARRIES)
        yield Advice(
            "fp16-mask",
            "warning" if softmax else "advice",
            f"the mask value {low:g} of {name!r} is -inf in float16",
            "a Softmax over a row that is masked as a whole is NaN then, where float32 gives equal shares"
            if softmax
            else "a later sum of it with +inf, or its product with zero, is NaN",
            "mask with -65504 or -1e4",
            place.name,
            name,
            {"value": low},
        )


def _operands(view: View) -> Iterator[tuple[Place, str, np.ndarray]]:
    """Yield each float constant once, with the first node that computes with it, as float64."""
    seen: set[tuple[int, str]] = set()
    for place in view:
        for index, name in enumerate(place.node.input):
            if index in _NO_OPERANDS.get(place.node.op_type, ()) or (id(place.scope), name) in seen:
                continue
            value = place.scope.constant(name)
            if value is None or value.dtype not in (np.float32, np.float64) or not value.size:
                continue
            seen.add((id(place.scope), name))
            yield place, name, np.asarray(value, np.float64)


def _is_mask(place: Place, value: np.ndarray) -> bool:
    """Tell whether a constant is one large number, or that and zeros (ones for Mul), in an operator that masks."""
    if place.node.op_type not in _MASKED:
        return False
    large = value[np.abs(value) > LARGEST]
    rest = value[np.abs(value) <= LARGEST]
    return large.size > 0 and bool((large == large.flat[0]).all()) and bool((np.abs(rest) <= 1).all())


def _reaches(place: Place, targets: tuple[str, ...], through: tuple[str, ...]) -> bool:
    """Tell whether a node leads to one of some operators through others."""
    front, scope = list(place.node.output), place.scope
    for _ in range(_STEPS):
        nodes = [node for name in front for node in scope.readers.get(name, [])]
        if any(node.op_type in targets for node in nodes):
            return True
        front = [name for node in nodes if node.op_type in through for name in node.output]
    return False
