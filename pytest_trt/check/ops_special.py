"""Limits of transcendental functions and the activations made of them.

Arithmetic is FP32 (16-bit tensors are widened first). How good an implementation of exp, log or erf is follows from no theory:
the constants here are data on implementations. Each is the larger of what ONNX Runtime's CPU kernels and numpy's float32
functions were measured to need (`benchmarks/operator_limits.py`) and of the maximum errors in the CUDA C Programming Guide,
appendix "Mathematical Functions", standard and intrinsic functions: one ulp there is up to two unit roundoffs U = 2**-24.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pytest_trt.check.interpret import Step, handles
from pytest_trt.check.ops_pointwise import any_loose, bent, monotone, shaped
from pytest_trt.numerics.bounds import Bound, either
from pytest_trt.numerics.formats import U32, Float64

FLUSHED = 2.0**-126
"""Smallest normal FP32 number: approximate instructions (`.ftz`) take and give zero below it."""


def _sigmoid_values(v: Float64) -> Float64:
    return np.asarray(1.0 / (1.0 + np.exp(-v)))


@handles("Sigmoid")
def _sigmoid(step: Step) -> list[Bound]:
    # As 1 / (1 + exp(-x)): 6 U p (1 + |x| p(-x)). As 1/2 + tanh(x / 2) / 2 or 1 - p(-x), which libraries use as well, the error
    # is absolute: half of tanh's 8 U and two roundings of numbers up to 1. Small p then lose their digits. ONNX Runtime's CPU
    # kernel is off by at most 2.8 U over [-100, 100] (5 million points).
    return [
        monotone(
            step,
            step.arg(0),
            _sigmoid_values,
            lambda v, p: 6 * U32 * p * (1 + np.abs(v) * _sigmoid_values(-v)) + 5 * U32,
        )
    ]


@handles("Tanh")
def _tanh(step: Step) -> list[Bound]:
    return [monotone(step, step.arg(0), np.tanh, lambda v, y: 8 * U32 * np.abs(y) + 2.0**-149)]


def exp_error(v: Float64) -> Float64:
    """Return the relative error of an exponential.

    CUDA: expf 2 ulp; __expf 2 + floor(1.173 |x|) ulp, an ex2.approx of a rounded product.
    """
    return np.asarray(U32 * (4 + 2.35 * np.abs(v)))


@handles("Exp")
def _exp(step: Step) -> list[Bound]:
    return [monotone(step, step.arg(0), np.exp, lambda v, y: y * exp_error(v) + FLUSHED)]


@handles("Sqrt")
def _sqrt(step: Step) -> list[Bound]:
    return [monotone(step, step.arg(0), lambda v: np.sqrt(v), lambda v, y: 2 * U32 * y)]


@handles("HardSigmoid")
def _hard_sigmoid(step: Step) -> list[Bound]:
    alpha = float(step.node.attributes.get("alpha", 0.2))
    beta = float(step.node.attributes.get("beta", 0.5))
    return [
        monotone(
            step,
            step.arg(0),
            lambda v: np.minimum(np.maximum(alpha * v + beta, 0.0), 1.0),
            lambda v, y: np.where((y > 0) & (y < 1), 3 * U32 * (np.abs(alpha * v) + abs(beta)), 3 * U32),
        )
    ]


@handles("HardSwish")
def _hard_swish(step: Step) -> list[Bound]:
    x = step.arg(0)
    mid = x.mid * np.minimum(np.maximum(x.mid / 6 + 0.5, 0.0), 1.0)
    error = 4 * U32 * np.abs(x.mid) * (1 + np.abs(x.mid) / 6)
    radius = x.radius()
    if radius is not None:
        error = error + 1.5 * radius  # the steepest slope of x clip(x/6 + 1/2, 0, 1)
    error = np.where(np.isfinite(mid), error, 0.0)
    return [Bound(mid, mid - error, mid + error, step.kind, loose=x.loose)]


def log_error(y: Float64) -> Float64:
    """Return the absolute error of a natural logarithm y.

    CUDA: logf 1 ulp; __logf 3 ulp, and 2**-21.41 between 1/2 and 2.
    """
    return np.asarray(U32 * (6 * np.abs(y) + 6.1))


@handles("Log")
def _log(step: Step) -> list[Bound]:
    x = step.arg(0)
    made = monotone(step, x, np.log, lambda v, y: log_error(y))
    # A subnormal number may be read as zero.
    low = np.where((x.low > 0) & (x.low < FLUSHED), -np.inf, made.low)
    return [replace(made, low=low, _lsb=[])]


@handles("Sin", "Cos")
def _sine(step: Step) -> list[Bound]:
    """CUDA: sinf and cosf 2 ulp; __sinf and __cosf 2**-21.41 near zero, growing with |x| as the argument is reduced in FP32."""
    x = step.arg(0)
    function = np.sin if step.node.op == "Sin" else np.cos
    mid = function(x.mid)
    error = U32 * (4 * np.abs(mid) + 8 + 2 * np.abs(x.mid))
    radius = x.radius()
    if radius is not None:
        error = error + radius
    error = np.where(np.isfinite(mid), np.minimum(error, 4.0), 0.0)
    return [Bound(mid, mid - error, mid + error, step.kind, loose=x.loose)]


def _each(function: object, values: Float64) -> Float64:
    """Return a function of Python floats on every element; numpy has no error function."""
    assert callable(function)
    flat = np.fromiter(map(function, values.reshape(-1).tolist()), np.float64, values.size)
    return flat.reshape(values.shape)


@handles("Erf")
def _erf(step: Step) -> list[Bound]:
    # CUDA: erff 2 ulp. Polynomials in FP32 add an absolute part where the result is a difference from 1.
    return [
        monotone(
            step, step.arg(0), lambda v: _each(math.erf, v), lambda v, y: U32 * 6 * np.abs(y) + 2.0**-149
        )
    ]


def _gelu_erf(v: Float64) -> Float64:
    return np.asarray(0.5 * v * _each(math.erfc, -v / math.sqrt(2.0)))


def _gelu_tanh(v: Float64) -> Float64:
    inner = math.sqrt(2.0 / math.pi) * (v + 0.044715 * v**3)
    return np.asarray(0.5 * v * (1.0 + np.tanh(inner)))


@handles("Gelu")
def _gelu(step: Step) -> list[Bound]:
    """Both of ONNX Gelu-20's forms; 1 + erf and 1 + tanh lose the digits of small values, hence the absolute part."""
    x = step.arg(0)
    is_tanh = step.node.attributes.get("approximate", b"none") == b"tanh"
    turn = -0.7524614 if is_tanh else -0.7517916  # the minimum, a root of the derivative
    made = bent(
        step,
        x,
        _gelu_tanh if is_tanh else _gelu_erf,
        lambda v, y: U32 * (6 * np.abs(y) + 8 * np.abs(v)),
        (turn,),
    )
    return [replace(made, loose=_infinite_is_open(x))]


def _infinite_is_open(x: Bound, *, below: bool = True, above: bool = False) -> np.ndarray | None:
    """Return what is loose with infinities added whose product with 0, or quotient, is the formula's and no limit's."""
    open_ = np.zeros(x.mid.shape, bool)
    if below:
        open_ |= np.isneginf(x.low)
    if above:
        open_ |= np.isposinf(x.high)
    if not open_.any():
        return x.loose
    return either(x.loose, open_)


def _softplus_values(v: Float64) -> Float64:
    return np.asarray(np.logaddexp(0.0, v))


def _softplus_error(v: Float64, y: Float64) -> Float64:
    """log(1 + e^x): the error of e^x, one rounding of the sum, a logarithm; as x + log(1 + e^-x) one rounding more."""
    least = -np.abs(v)  # of e^x and e^-x the smaller is what an accurate form adds to 1
    share = np.exp(least) / (1 + np.exp(least))
    naive = np.where(v > 0, _sigmoid_values(np.minimum(v, 80.0)) * exp_error(np.minimum(v, 80.0)), 0.0)
    return np.asarray(np.maximum(share * exp_error(v), naive) + U32 + log_error(y) + U32 * y)


@handles("Softplus")
def _softplus(step: Step) -> list[Bound]:
    return [monotone(step, step.arg(0), _softplus_values, _softplus_error)]


@handles("Softsign")
def _softsign(step: Step) -> list[Bound]:
    # x / (1 + |x|): a sum, a division good to 2 ulp.
    x = step.arg(0)
    made = monotone(step, x, lambda v: v / (1 + np.abs(v)), lambda v, y: 5 * U32 * np.abs(y))
    return [replace(made, loose=_infinite_is_open(x, above=True))]


@handles("Mish")
def _mish(step: Step) -> list[Bound]:
    """x tanh(softplus(x)), or x times a ratio of polynomials in e^x."""
    x = step.arg(0)

    def values(v: Float64) -> Float64:
        return np.asarray(v * np.tanh(_softplus_values(v)))

    def error(v: Float64, y: Float64) -> Float64:
        inner = _softplus_values(v)
        slope = 1 - np.tanh(inner) ** 2
        gate = _softplus_error(v, inner) * slope + np.tanh(inner) * (
            8 * U32 + 2 * exp_error(np.minimum(v, 20.0)) * slope
        )
        return np.asarray(np.abs(v) * gate + 2 * U32 * np.abs(y))

    made = bent(step, x, values, error, (-1.19240731,))
    return [replace(made, loose=_infinite_is_open(x))]


@handles("Elu", "Selu", "Celu")
def _elu(step: Step) -> list[Bound]:
    """gain x above 0, gain alpha (e^(x / width) - 1) below, whose difference loses digits near 0."""
    attributes, op = step.node.attributes, step.node.op
    # ONNX Selu-6 gives the defaults as FP32 numbers.
    alpha = float(attributes.get("alpha", 1.67326319217681884765625 if op == "Selu" else 1.0))
    gain = float(attributes.get("gamma", 1.05070102214813232421875)) if op == "Selu" else 1.0
    width = alpha if op == "Celu" else 1.0

    def values(v: Float64) -> Float64:
        return np.asarray(np.where(v >= 0, gain * v, gain * alpha * np.expm1(np.minimum(v, 0.0) / width)))

    def error(v: Float64, y: Float64) -> Float64:
        below = np.minimum(v, 0.0) / width
        power = np.exp(below)
        difference = power * (exp_error(below) + 2 * U32 * np.abs(below)) + 2 * U32
        above = 0.0 if gain == 1.0 else 2 * U32 * np.abs(y)
        return np.asarray(np.where(v >= 0, above, abs(gain * alpha) * difference + 3 * U32 * np.abs(y)))

    return [bent(step, step.arg(0), values, error, (0.0,))]


@handles("Pow")
def _pow(step: Step) -> list[Bound]:
    """x^y: CUDA's powf is good to 4 ulp (8 in older tables), and __powf, exp2(y log2 |x|), to that of its parts.

    Open: what has no logarithm (x = 0 with y <= 0, infinities, NaN), and negative x with an exponent that is not known exactly.
    """
    x, y = step.arg(0), step.arg(1)
    mid = np.asarray(np.power(x.mid, y.mid))
    reach = np.abs(y.mid * np.log(np.maximum(np.abs(x.mid), FLUSHED)))
    relative = U32 * (16 + 6 * reach + 3 * np.abs(y.mid))
    if x.is_exact and y.is_exact:
        low = high = mid
    else:
        ends = [np.asarray(np.power(p, q)) for p in (x.low, x.high) for q in (y.low, y.high)]
        low, high = np.minimum.reduce(ends), np.maximum.reduce(ends)
        touches = np.asarray((x.low <= 0) & (x.high >= 0))
        at_zero = np.asarray(np.power(0.0, y.mid))
        low = np.where(touches, np.minimum(low, at_zero), low)
        high = np.where(touches, np.maximum(high, at_zero), high)
    slack = relative * np.maximum(np.abs(low), np.abs(high)) + FLUSHED
    slack = np.where(np.isfinite(mid) & np.isfinite(slack), slack, 0.0)
    open_ = (x.mid == 0) & (y.mid <= 0) | ~np.isfinite(x.mid) | ~np.isfinite(y.mid)
    if not (x.is_exact and y.is_exact):
        open_ = open_ | (x.low <= 0) & (x.high >= 0) & (y.low < 0) | (x.low < 0) & (y.low != y.high)
    found = any_loose(x, y)
    loose = either(found, open_)
    return [
        Bound(mid, low - slack, high + slack, step.kind, loose=shaped(loose, mid) if loose.any() else None)
    ]
