"""How far a correct kernel may be from the exact sum: contracts, accumulation bounds, the exactness certificate.

Notation as in Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., chapters 3 and 4: for terms t_1..t_n,
s is their exact sum, A the sum of their moduli, M = (A + |s|) / 2, u a unit roundoff.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from pytest_trt.numerics.formats import FORMATS, U32, Float64, lsb_exponent, round_to

BoolArray = np.ndarray


@dataclass(frozen=True)
class TensorCore:
    """Alignment behaviour of a tensor core: products summed at once and extra fraction bits kept.

    Source: Khattak & Mikaitis, Accurate Models of NVIDIA Tensor Cores, arXiv 2512.07004.
    """

    products: int
    extra_bits: int

    @property
    def factor(self) -> float:
        """c_arch of the bound 2**-24 n M c_arch: one truncation a product, one a block of products."""
        return float(2.0 ** (1 - self.extra_bits) * (1 + 1 / self.products) + 2 / self.products)


# By compute capability: 16-bit inputs, TF32 inputs. A kernel may also use CUDA cores, whose factor is 1: no row is below it.
_CORES: dict[int, tuple[TensorCore, TensorCore | None]] = {
    70: (TensorCore(4, 0), None),
    80: (TensorCore(8, 1), TensorCore(4, 1)),
    89: (TensorCore(8, 1), TensorCore(4, 1)),
    90: (TensorCore(16, 2), TensorCore(8, 2)),
    100: (TensorCore(16, 2), TensorCore(8, 2)),
}
_WORST = {"fp16": 3.0, "bf16": 1.375, "tf32": 1.75}


def arch_factor(sm: int | None, inputs: str) -> float | None:
    """Return c_arch for inputs `fp16`, `bf16` or `tf32` on a compute capability such as 75; the worst known if None.

    Capabilities that were not modelled in the source (Turing, GA10x, consumer Blackwell) take the worst known row. None for
    other inputs: no tensor core truncates their sums.
    """
    if inputs not in _WORST:
        return None
    row = _CORES.get(sm) if sm is not None else None
    if row is None:
        return _WORST[inputs]
    core = row[1] if inputs == "tf32" else row[0]
    return max(1.0, core.factor) if core else 1.0


@dataclass(frozen=True)
class Contract:
    """What was promised about the arithmetic of one engine.

    Attributes
    ----------
    tf32 : bool
        FP32 convolutions and matrix products may read their inputs with TF32's 10 fraction bits.
    sm : int or None
        Compute capability (75 for a T4); None means the worst known.
    fused : bool
        Tensors between a heavy operator and its pointwise epilogue stay in FP32 (the direct contract).
        False admits both: stored in their own type, or not.
    integer : bool
        INT8 products are summed in INT32 (exactly). False admits a float kernel on the dequantised values.
    weak : bool
        Weak typing: any tensor may be stored in the low type or in FP32.
    algorithm : str
        How sums of products may be formed: `direct`, or besides it `splitk`, `winograd` or `fft`.
    statistics : bool
        Standard deviations are worked out as well.
    accumulate : str
        `fp32`; `fp16`: partial sums of 16-bit products are kept in FP16; `fp8`: those of e4m3 products with the 13 fraction
        bits of Hopper's and Ada's tensor cores.
    ties : str
        `even`: an exact tie is rounded to the even neighbour; `any`: to either.
    flush : bool
        A subnormal number may come out, or be read, as zero.
    nan : str
        `propagate`: a NaN that a sum of products meets comes out as one; `any`: nothing is promised there.
    """

    tf32: bool = False
    sm: int | None = None
    fused: bool = True
    integer: bool = True
    weak: bool = False
    algorithm: str = "direct"
    statistics: bool = False
    accumulate: str = "fp32"
    ties: str = "even"
    flush: bool = False
    nan: str = "propagate"

    def unfused(self) -> Contract:
        """Return the contract of the rung `unfused`: the union of stored and not stored, integer and float."""
        return replace(self, fused=False, integer=False)

    def rung(self, name: str) -> Contract:
        """Return the contract of a rung of the ladder: `direct`, `unfused`, `splitk`, `winograd` or `fft`."""
        if name == "direct":
            return self
        loose = self.unfused()
        return loose if name == "unfused" else replace(loose, algorithm=name)


@dataclass
class Bound:
    """The admissible values of one tensor.

    Attributes
    ----------
    mid : float64 ndarray
        The exact value on the reference's inputs; infinities are values, and where it is NaN a NaN is required.
    low, high : float64 ndarray
        The admissible interval, ends included. Where `low` and `high` are the same objects as `mid` the tensor is exact.
    loose : bool ndarray or None
        Elements on which nothing is promised.
    kind : str
        Storage type: a key of `FORMATS`, or `int8`, `int32`, `int64`, `bool`, `fp64`.
    sigma, bias : float64 ndarray or None
        Standard deviation and bias of the error where they are known: of a sum of products, up to its output.
    scale : float64 ndarray or None
        For a dequantised tensor: the scale (broadcastable), `levels` being the integers behind it.
    """

    mid: Float64
    low: Float64
    high: Float64
    kind: str = "fp32"
    loose: BoolArray | None = None
    scale: Float64 | None = None
    sigma: Float64 | None = None
    bias: Float64 | None = None
    _lsb: list[int | None] = field(default_factory=list, repr=False)

    @classmethod
    def exact(cls, values: Float64, kind: str, scale: Float64 | None = None) -> Bound:
        """Return the bound of a tensor that is known exactly."""
        return cls(values, values, values, kind, scale=scale)

    @property
    def is_exact(self) -> bool:
        """True when every element has one admissible value, by construction."""
        return self.low is self.mid and self.high is self.mid

    @property
    def lsb(self) -> int | None:
        """Largest q with every value a multiple of 2**q (exact tensors only); None if all are zero."""
        if not self._lsb:
            self._lsb.append(lsb_exponent(self.mid))
        return self._lsb[0]

    @property
    def is_finite(self) -> bool:
        """True when neither a value nor an end of the interval is infinite or NaN, and nothing is loose."""
        return self.loose is None and bool(np.isfinite(self.low).all() and np.isfinite(self.high).all())

    def radius(self) -> Float64 | None:
        """Return an upper bound of |value - mid|, or None for an exact tensor."""
        if self.is_exact:
            return None
        with np.errstate(invalid="ignore"):
            r = np.maximum(self.high - self.mid, self.mid - self.low)
        return np.where(np.isnan(r), 0.0, r)


def sum_error(
    mid: Float64, magnitude: Float64, terms: int, factor: float | None, *, rounded_products: bool
) -> Float64:
    """Return the bound on the error of a sum in FP32, in any order.

    ([n - 1] u M + u A) / (1 - n u): any summation tree, each node's exact value at most M; the term u A only when products
    are rounded. With `factor`, a tensor core's c_arch, n u M c_arch: it truncates, also where it adds a single term.
    """
    middle = (magnitude + np.abs(mid)) * 0.5
    error = middle * (max(terms - 1, 0) * U32 if factor is None else terms * U32 * factor)
    if rounded_products:
        error = error + U32 * magnitude
    # The conversion and scaling of a float64 reference itself costs at most a few units of 2**-53.
    return error * (1.0 / (1.0 - terms * U32)) + magnitude * (terms + 2) * 2.0**-53


_SMALLEST_BLOCK = 4  # products that a tensor core adds at once, the least known


def sum_deviation(
    mid: Float64, squares: Float64, terms: int, *, truncating: bool, reading: float = 0.0
) -> tuple[Float64, Float64]:
    """Return the standard deviation and the largest bias of the error of a sum, for data that do not depend on the order.

    sigma**2 = eps**2 / 3 n (S2 / 6 + s**2 / 3) + u**2 / 3 S2: partial sums of a random order have the energy of sampling
    without replacement (S2: the sum of squared terms), and each FP32 product is rounded. Truncation doubles eps and adds a
    bias of 2**-24 n/k |s| and a path term (0.29 * 2**-24 n/k)**2 S2, k products being added at once.

    Theory: Higham & Mary, A new approach to probabilistic rounding error analysis, SISC 41(5), 2019, with the partial sums'
    energy in place of their bound.

    Parameters
    ----------
    reading : float
        Relative error with which each operand may be read (TF32), 0 for none.
    """
    step = 2 * U32 if truncating else U32
    variance = step**2 / 3 * terms * (squares / 6 + mid**2 / 3) + U32**2 / 3 * squares
    bias = np.zeros_like(mid)
    if truncating:
        blocks = terms / _SMALLEST_BLOCK
        bias = U32 * blocks * np.abs(mid)
        variance = variance + (0.29 * U32 * blocks) ** 2 * squares
    if reading:
        # Truncation of operands: uniform in [0, reading], half of it a bias towards zero.
        variance = variance + 2 * reading**2 / 12 * squares
        bias = bias + reading * np.abs(mid)
    return np.sqrt(variance), bias


def certified(magnitude: Float64, quantum: int | None, bits: int = 24) -> BoolArray:
    """Return where every partial sum is exactly representable: A <= 2**(bits + quantum), in every order.

    `quantum` is the exponent of which all terms are whole multiples; None (all terms are zero) certifies everything.
    """
    if quantum is None:
        return np.ones(magnitude.shape, dtype=bool)
    return np.asarray(magnitude <= np.ldexp(1.0, bits + quantum))


def input_error(kind: str, values: Float64) -> float:
    """Return the relative error with which a kernel may read inputs: TF32 truncation, 0 for representable values."""
    if kind != "tf32":
        return 0.0
    return 0.0 if np.array_equal(round_to(values, "tf32"), values, equal_nan=True) else 2.0**-10


def widen(bound: Bound, error: Float64 | float) -> Bound:
    """Return the bound with its interval made wider by `error` on both sides."""
    with np.errstate(invalid="ignore"):
        return replace(bound, low=bound.low - error, high=bound.high + error, _lsb=[])


def store(bound: Bound, kind: str, *, may_skip: bool = False) -> Bound:
    """Return the bound after the tensor is stored in a floating format.

    Parameters
    ----------
    kind : str
        A key of `FORMATS`.
    may_skip : bool
        The store may be left out by fusion: the hull of both is returned.
    """
    if kind not in FORMATS:
        return replace(bound, kind=kind, _lsb=list(bound._lsb))
    if bound.is_exact:
        rounded = round_to(bound.mid, kind)
        if may_skip and not np.array_equal(rounded, bound.mid, equal_nan=True):
            return replace(
                bound,
                kind=kind,
                low=np.minimum(rounded, bound.mid),
                high=np.maximum(rounded, bound.mid),
                _lsb=[],
            )
        return replace(bound, kind=kind, mid=rounded, low=rounded, high=rounded, _lsb=[])
    low, high = round_to(bound.low, kind), round_to(bound.high, kind)
    if may_skip:
        return replace(
            bound, kind=kind, low=np.minimum(low, bound.low), high=np.maximum(high, bound.high), _lsb=[]
        )
    return replace(bound, kind=kind, mid=round_to(bound.mid, kind), low=low, high=high, _lsb=[])
