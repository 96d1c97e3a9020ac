"""How the partial sums of a kernel are kept, and how far its sum may then be from the exact one.

Notation as in Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., chapters 3 and 4: for terms t_1..t_n,
s is their exact sum, A the sum of their moduli, M = (A + |s|) / 2, u a unit roundoff. Every node of any summation tree is the
sum of a subset of the terms, hence at most M in modulus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pytest_trt.numerics.formats import FORMATS, U32, Float64

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
# e4m3 on Hopper and Ada: products that are summed at once, with 13 fraction bits; wider on later ones. The fewer, the worse.
_FP8_PRODUCTS = {89: 16, 90: 32}
_FP8_WORST = 16


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
class Accumulator:
    """How partial sums are kept.

    Attributes
    ----------
    unit : float
        Unit roundoff of an addition.
    bits : int
        Significant bits that every partial sum has, for the certificate.
    smallest : int
        Exponent of the smallest number: a partial sum that is no multiple of 2**smallest loses bits.
    factor : float or None
        c_arch of a tensor core, which truncates; None: each addition of two numbers is rounded to nearest.
    rounds_products : bool
        Products are rounded before they are added.
    largest : float
        Partial sums beyond it overflow.
    """

    unit: float = U32
    bits: int = 24
    smallest: int = -149
    factor: float | None = None
    rounds_products: bool = False
    largest: float = np.inf

    def error(
        self, mid: Float64, magnitude: Float64, products: Float64, terms: int, *, reading: float = 0.0
    ) -> Float64:
        """Return the bound on the error of a sum in any order.

        ([n - 1] u M + u A_products) / (1 - n u), the second term only where products are rounded. With a tensor core's
        c_arch, n u M c_arch / (1 - n u): it truncates, also where it adds a single term.

        Parameters
        ----------
        mid, magnitude, products : float64 ndarray
            s, A, and the part of A that stems from products (the rest: bias).
        terms : int
            n, the bias included.
        reading : float
            Relative error with which the operands of a product may be read together (TF32), 0 for none.
        """
        per_middle, per_product, per_modulus = self.error_weights(terms)
        middle = (magnitude + np.abs(mid)) * 0.5
        error = middle * per_middle + products * per_product
        if self.unit != U32:
            # Short accumulators: gamma_n grows past any sum, n u A holds without a denominator (Jeannerod & Rump 2013).
            plain = terms * self.unit * (self.factor or 1.0) * magnitude
            error = np.minimum(plain, error) if terms * self.unit < 0.3 else plain
            if self.smallest > -149:
                error = error + terms * 2.0 ** (self.smallest - 1)
        error = error + magnitude * per_modulus
        return error * (1 + reading) + reading * products if reading else error

    def error_weights(self, terms: int) -> tuple[float, float, float]:
        """Return what M, A_products and A are multiplied by in the bound on the error of a sum."""
        spoilt = 1.0 - terms * self.unit if terms * self.unit < 0.5 else 0.5
        count = max(terms - 1, 0) if self.factor is None else terms * self.factor
        per_product = self.unit if self.rounds_products else 0.0
        # The conversion and scaling of a float64 reference itself costs at most a few units of 2**-53.
        return count * self.unit / spoilt, per_product / spoilt, (terms + 2) * 2.0**-53

    def deviation(
        self, mid: Float64, squares: Float64, terms: int, *, reading: float = 0.0
    ) -> tuple[Float64, Float64]:
        """Return the standard deviation and the largest bias of the error, for data that do not depend on the order.

        sigma**2 = eps**2 / 3 n (S2 / 6 + s**2 / 3) + u**2 / 3 S2: partial sums of a random order have the energy of sampling
        without replacement (S2: the sum of squared terms), and each product is rounded. Truncation doubles eps; it takes
        c_arch / 2 u of every partial sum on average, which is a bias of c_arch / 2 n u |s| at most and, since the path to s is
        random, adds its square times S2 / 12 to the variance.

        Parameters
        ----------
        reading : float
            Relative error with which each operand may be read (TF32), 0 for none.
        """
        per_square, per_sum, drift = self.variance_weights(terms, reading)
        deviation = np.sqrt(squares * per_square + mid * mid * per_sum)
        if self.smallest > -149:
            deviation = deviation + np.sqrt(terms / 12.0) * 2.0**self.smallest
        return deviation, np.abs(mid) * drift

    def variance_weights(self, terms: int, reading: float = 0.0) -> tuple[float, float, float]:
        """Return what S2 and s**2 are multiplied by in the variance of the error, and |s| in its bias."""
        step = self.unit if self.factor is None else 2 * self.unit
        per_square = step**2 / 3 * terms / 6 + self.unit**2 / 3
        per_sum = step**2 / 3 * terms / 3
        bias = 0.0
        if self.factor is not None:
            bias = 0.5 * self.factor * terms * self.unit
            per_square += bias**2 / 12
        # Truncation of operands: uniform in [0, reading], half of it a bias towards zero.
        return per_square + 2 * reading**2 / 12, per_sum, bias + reading

    def certified(self, magnitude: Float64, quantum: int | None) -> BoolArray:
        """Return where every partial sum is exactly representable, in every order: A <= 2**(bits + quantum).

        `quantum` is the exponent of which all terms are whole multiples; None (all terms are zero) certifies everything.
        """
        if quantum is None:
            return np.ones(magnitude.shape, dtype=bool)
        if quantum < self.smallest:
            return np.zeros(magnitude.shape, dtype=bool)
        return np.asarray((magnitude <= np.ldexp(1.0, self.bits + quantum)) & (magnitude <= self.largest))

    def may_overflow(self, magnitude: Float64, terms: int) -> BoolArray | None:
        """Return where a partial sum may overflow although the sum does not; None where none can."""
        if not np.isfinite(self.largest):
            return None
        beyond = magnitude * (1 + terms * self.unit) >= self.largest
        return beyond if beyond.any() else None


@dataclass(frozen=True)
class OpenSum:
    """A sum that is still in its accumulator: one more term may join it at any place.

    Attributes
    ----------
    keep : Accumulator
    mid, magnitude, products : float64 ndarray
        s, A, and the part of A that stems from products.
    squares : float64 ndarray or None
        S2, where the interval of standard deviations is asked for.
    terms : int
        n.
    quantum : int or None
        The exponent of which all terms are whole multiples; None: all are zero.
    is_exact : bool
        All terms are known exactly, and read as they are.
    reading : float
        Relative error with which operands may be read together.
    spare : float64 ndarray or float
        What comes on top of the error of the sum: the operands' own intervals.
    """

    keep: Accumulator
    mid: Float64
    magnitude: Float64
    products: Float64
    squares: Float64 | None
    terms: int
    quantum: int | None
    is_exact: bool
    reading: float
    spare: Float64 | float

    def join(
        self, term: Float64, quantum: int | None, *, is_exact: bool, sigmas: float
    ) -> tuple[Float64, Float64]:
        """Return the exact sum with one more term, and the bound on its error in any order.

        Parameters
        ----------
        term : float64 ndarray
            Broadcastable to the sum.
        quantum : int or None
            The exponent of which the term is a whole multiple.
        is_exact : bool
            The term is known exactly.
        sigmas : float
            How many standard deviations are allowed, where `squares` are known.
        """
        mid, magnitude, terms = self.mid + term, self.magnitude + np.abs(term), self.terms + 1
        error = self.keep.error(mid, magnitude, self.products, terms, reading=self.reading)
        if self.squares is not None:
            sigma, drift = self.keep.deviation(mid, self.squares + term**2, terms, reading=self.reading)
            error = np.minimum(error, sigmas * sigma + drift)
        if self.is_exact and is_exact:
            known = [q for q in (self.quantum, quantum) if q is not None]
            error = np.where(self.keep.certified(magnitude, min(known, default=None)), 0.0, error)
        return mid, error + self.spare


def accumulator_of(kind: str, sm: int | None, *, tf32: bool = False, accumulate: str = "fp32") -> Accumulator:
    """Return how sums of products of a kind of numbers may be kept.

    Parameters
    ----------
    kind : str
        Type of the operands: `fp32`, `fp16`, `bf16`, `fp64`.
    sm : int or None
        Compute capability; None means the worst known.
    tf32 : bool
        FP32 operands may be read as TF32, whose tensor cores truncate.
    accumulate : str
        `fp32`, `fp16` or `fp8` (see `bounds.Contract`).
    """
    if kind in ("fp16", "bf16"):
        if accumulate == "fp16" and kind == "fp16":
            half = FORMATS["fp16"]
            return Accumulator(half.roundoff, half.bits, -24, None, True, half.largest)
        if accumulate == "fp8" and (sm is None or sm < 100):
            k = _FP8_PRODUCTS.get(sm or 0, _FP8_WORST)
            # Each product and the accumulator truncated at 13 fraction bits of the largest, the sum at 23.
            return Accumulator(2.0**-14, 14, -149, 2 * (1 + 1 / k) + 2.0**-9 / k)
        return Accumulator(factor=arch_factor(sm, kind))
    return Accumulator(factor=arch_factor(sm, "tf32") if tf32 else None, rounds_products=True)


# Sums that no kernel keeps in less than FP32, and whose terms are not products.
SINGLE = Accumulator()
