"""What was promised about an engine's arithmetic, and the admissible values of a tensor under it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from pytest_trt.numerics.accumulators import OpenSum
from pytest_trt.numerics.formats import FORMATS, Float64, lsb_exponent, round_to

BoolArray = np.ndarray


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
        Weak typing: any tensor may be stored in the low type or in FP32, and when constants are rounded is the builder's choice.
    obeyed : bool
        Weak typing with an order for every layer: tensors are stored in the low type, constants are as under `weak`.
    algorithm : str
        How sums of products may be formed: `direct`, or besides it `splitk`, `winograd` or `fft`.
    statistics : bool
        Standard deviations are worked out as well.
    likely : bool
        Intervals are those of 12 standard deviations where they are narrower: for data that do not depend on the order of
        summation.
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
    obeyed: bool = False
    algorithm: str = "direct"
    statistics: bool = False
    likely: bool = False
    accumulate: str = "fp32"
    ties: str = "even"
    flush: bool = False
    nan: str = "propagate"

    @property
    def may_stay_wide(self) -> bool:
        """True where a builder is free to store a 16-bit tensor in FP32."""
        return self.weak and not self.obeyed

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
    overflow : bool ndarray or None
        Elements that may as well be infinite or NaN: a partial sum may overflow.
    may_vanish : bool
        These may also be zero: a ReLU read them.
    requantised : float64 ndarray or None
        Behind an INT8 product: what a kernel that folds the output's scale into its own may round, also where the sum is exact.
    kind : str
        Storage type: a key of `FORMATS`, or `int8`, `int32`, `int64`, `bool`, `fp64`.
    sigma, bias : float64 ndarray or None
        Standard deviation and bias of the error where they are known: of a sum of products, up to its output.
    scale : float64 ndarray or None
        For a dequantised tensor: the scale (broadcastable), `levels` being the integers behind it.
    open_sum : OpenSum or None
        Where the tensor is a sum that need not have left its accumulator.
    """

    mid: Float64
    low: Float64
    high: Float64
    kind: str = "fp32"
    loose: BoolArray | None = None
    scale: Float64 | None = None
    sigma: Float64 | None = None
    bias: Float64 | None = None
    overflow: BoolArray | None = None
    may_vanish: bool = False
    requantised: Float64 | None = None
    open_sum: OpenSum | None = None
    _lsb: list[int | None] = field(default_factory=list, repr=False)
    # The format that every end is a number of, where it was stored just so: no copy with other ends inherits it.
    _grid: str | None = field(default=None, init=False, repr=False, compare=False)
    _counts: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

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
        return (
            self.loose is None
            and self.overflow is None
            and bool(np.isfinite(self.low).all() and np.isfinite(self.high).all())
        )

    @property
    def judged(self) -> int:
        """How many elements something is promised on."""
        return self._count("judged", lambda: self.mid.size - int(np.count_nonzero(self._open())))

    @property
    def certified(self) -> int:
        """How many elements have one admissible value."""
        return self._count("certified", lambda: int(np.count_nonzero(self.is_sharp())))

    def is_sharp(self) -> BoolArray:
        """Return where there is one admissible value."""
        sharp = self.low == self.high
        if self.mid.size and np.isnan(self.mid.min()):
            sharp |= np.isnan(self.mid)
        if self.loose is not None or self.overflow is not None:
            sharp &= ~self._open()
        return np.asarray(sharp)

    def _open(self) -> BoolArray:
        masks = [np.broadcast_to(m, self.mid.shape) for m in (self.loose, self.overflow) if m is not None]
        return np.asarray(np.logical_or.reduce(masks)) if masks else np.zeros((), dtype=bool)

    def _count(self, name: str, work_out: Callable[[], int]) -> int:
        if name not in self._counts:
            self._counts[name] = work_out()
        return self._counts[name]

    def is_on_grid(self, kind: str) -> bool:
        """Tell whether every end is known to be a number of a format already, so that storing changes nothing."""
        return self._grid is not None and (
            self._grid == kind or (kind == "fp32" and self._grid in ("fp16", "bf16"))
        )

    def place_on_grid(self, kind: str) -> None:
        """State that every end is a number of a format."""
        self._grid = kind

    def radius(self) -> Float64 | None:
        """Return an upper bound of |value - mid|, or None for an exact tensor."""
        if self.is_exact:
            return None
        with np.errstate(invalid="ignore"):
            r = np.maximum(self.high - self.mid, self.mid - self.low)
        return np.where(np.isnan(r), 0.0, r)


def term_quantum(x: Bound, w: Bound, bias: Bound | None) -> int | None:
    """Return the exponent of which all terms of a sum of products are whole multiples; None where all are zero."""
    quantum = None if x.lsb is None or w.lsb is None else x.lsb + w.lsb
    if bias is not None and bias.lsb is not None:
        quantum = bias.lsb if quantum is None else min(quantum, bias.lsb)
    return quantum


def either(mask: BoolArray | None, other: BoolArray) -> BoolArray:
    """Return where one of two masks is set; the first may be absent."""
    return other if mask is None else mask | other


def input_error(kind: str, values: Float64) -> float:
    """Return the relative error with which a kernel may read inputs: TF32 truncation, 0 for representable values."""
    if kind != "tf32":
        return 0.0
    return 0.0 if np.array_equal(round_to(values, "tf32"), values, equal_nan=True) else 2.0**-10


def sharpen(bound: Bound) -> Bound:
    """Return a float bound as exact by construction where each element has one admissible value, and a finite one."""
    free = (bound.loose, bound.overflow, bound.requantised, bound.scale)
    if bound.is_exact or bound.kind not in FORMATS or any(part is not None for part in free):
        return bound
    mid = bound.mid
    if (bound.low == mid).all() and (bound.high == mid).all() and np.isfinite(mid).all():
        return replace(bound, low=mid, high=mid, _lsb=[])
    return bound


def widen(bound: Bound, error: Float64 | float) -> Bound:
    """Return the bound with its interval made wider by `error` on both sides."""
    with np.errstate(invalid="ignore"):
        return replace(bound, low=bound.low - error, high=bound.high + error, _lsb=[])


# A nudge that moves an exact tie, and nothing else of 48 bits or fewer, to the neighbour on its other side.
_NUDGE = 2.0**-50


def store(
    bound: Bound, kind: str, *, may_skip: bool = False, ties: str = "even", flush: bool = False
) -> Bound:
    """Return the bound after the tensor is stored in a floating format.

    Parameters
    ----------
    kind : str
        A key of `FORMATS`.
    may_skip : bool
        The store may be left out by fusion: the hull of both is returned.
    ties : str
        `even`, or `any`: a tie may be rounded to either neighbour.
    flush : bool
        Subnormal numbers may be stored as zero.
    """
    if kind not in FORMATS:
        return replace(bound, kind=kind, _lsb=list(bound._lsb))
    if bound.is_on_grid(kind):
        return recast(bound, kind)
    if ties == "any":
        low, high = (end + sign * _NUDGE * np.abs(end) for end, sign in ((bound.low, -1), (bound.high, 1)))
        bound = replace(bound, low=low, high=high, _lsb=[])
    if flush:
        bound = _flushed(store(bound, kind, may_skip=may_skip), kind)
        return bound
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
    made = replace(bound, kind=kind, mid=round_to(bound.mid, kind), low=low, high=high, _lsb=[])
    made._grid = kind
    return made


def recast(bound: Bound, kind: str) -> Bound:
    """Return the same values as a tensor of another type, not rounded yet."""
    made = replace(bound, kind=kind, _lsb=[])
    made._grid = bound._grid
    return made


def _flushed(bound: Bound, kind: str) -> Bound:
    """Return a stored bound with zero admitted where a subnormal number is."""
    normal = 2.0 ** FORMATS[kind].emin
    small = (bound.low < normal) & (bound.high > -normal) & ((bound.low != 0) | (bound.high != 0))
    if not small.any():
        return bound
    low = np.where(small, np.minimum(bound.low, 0.0), bound.low)
    high = np.where(small, np.maximum(bound.high, 0.0), bound.high)
    return replace(bound, low=low, high=high, _lsb=[])
