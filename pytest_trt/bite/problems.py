"""Configurations of the pair score: one convolution or matrix product with what is fused behind it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from pytest_trt.emulator.faults.registry import CONTRACTS
from pytest_trt.numerics.bounds import Contract

# A configuration is drawn again until it lies within these: products of one sum, and elements of the output.
MOST_TERMS = 1024
MOST_OUTPUTS = 6000
LEAST_OUTPUTS = 24

_FORMS = ("plain", "grouped", "depthwise", "pointwise", "gemm")
_SHARES = (0.40, 0.17, 0.12, 0.13, 0.18)

_ACCUMULATE = {"fp16acc": "fp16", "fp8": "fp8"}
# The precision whose name the emulator's sites give: no runtime offers these two contracts.
_RUNS_AS = {"fp16acc": "fp16", "fp8": "fp16"}
_BF16_OPSET = 22  # ONNX Conv-22 and Gemm-13: the first with bfloat16 for both


@dataclass(frozen=True)
class Problem:
    """One configuration.

    Attributes
    ----------
    contract : str
        A member of `registry.CONTRACTS`.
    seed : tuple of int
        Of its data.
    x, w : tuple of int
        Shapes: (N, C, H, W) and (M, C/groups, kh, kw), or (N, K) and (M, K); weights of a Gemm with `transposed` False
        are stored as (K, M).
    bias, residual, relu : bool
        What is computed behind the product, in this order.
    dyadic : bool
        INT8: scales are powers of two.
    """

    contract: str
    seed: tuple[int, ...]
    x: tuple[int, ...]
    w: tuple[int, ...]
    groups: int = 1
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    bias: bool = True
    residual: bool = False
    relu: bool = False
    dyadic: bool = False
    transposed: bool = True

    @property
    def is_gemm(self) -> bool:
        """True for a matrix product."""
        return len(self.x) == 2

    @property
    def y(self) -> tuple[int, ...]:
        """Shape of the output."""
        if self.is_gemm:
            return (self.x[0], self.w[0])
        return (self.x[0], self.w[0], *_spatial(self.x, self.w, self.strides, self.dilations, self.pads))

    @property
    def terms(self) -> int:
        """Products of one sum."""
        return math.prod(self.w[1:])

    @property
    def precision(self) -> str:
        """The name under which a runtime computes it."""
        return _RUNS_AS.get(self.contract, self.contract)

    @property
    def promise(self) -> Contract:
        """The arithmetic that was promised; the architecture is not known, so its worst row holds."""
        return Contract(
            tf32=self.contract == "tf32",
            accumulate=_ACCUMULATE.get(self.contract, "fp32"),
            statistics=True,
        )

    @property
    def profile(self) -> dict[str, tuple[tuple[int, ...], ...]]:
        """(min, opt, max) of each input: the batch runs from 1 to this one, tuned for the half."""
        sizes = (1, max(1, self.x[0] // 2), self.x[0])
        table = {"x": tuple((size, *self.x[1:]) for size in sizes)}
        if self.residual:
            table["r"] = tuple((size, *self.y[1:]) for size in sizes)
        return table

    @property
    def text(self) -> str:
        """The configuration in one line; it ends in the seed and number that draw it again."""
        words = [self.contract, "gemm" if self.is_gemm else "conv", _by(self.x), "w" + _by(self.w)]
        if self.is_gemm:
            words += ["transB"] * self.transposed
        else:
            words += [f"g{self.groups}"] * (self.groups > 1)
            words += [f"s{_by(self.strides)}"] * (self.strides != (1, 1))
            words += [f"d{_by(self.dilations)}"] * (self.dilations != (1, 1))
            words += [f"p{','.join(map(str, self.pads))}"] * any(self.pads)
        flags = ("bias", "residual", "relu", "dyadic")
        words += [name for name in flags if getattr(self, name)]
        return " ".join([*words, f"[{':'.join(map(str, self.seed))}]"])


def _by(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _spatial(
    x: Sequence[int], w: Sequence[int], strides: Sequence[int], dilations: Sequence[int], pads: Sequence[int]
) -> tuple[int, int]:
    sizes = [
        (x[2 + i] + pads[i] + pads[i + 2] - dilations[i] * (w[2 + i] - 1) - 1) // strides[i] + 1
        for i in range(2)
    ]
    return sizes[0], sizes[1]


def available_contracts() -> tuple[str, ...]:
    """Return the contracts whose typed graphs this onnx can write: bfloat16 convolutions need operator set 22."""
    has_bf16 = onnx.defs.onnx_opset_version() >= _BF16_OPSET
    return tuple(name for name in CONTRACTS if name != "bf16" or has_bf16)


def draw_problem(contract: str, rng: np.random.Generator, seed: tuple[int, ...] = (0,)) -> Problem:
    """Return one configuration within the limits.

    Parameters
    ----------
    contract : str
    rng : numpy Generator
        Source of the configuration.
    seed : tuple of int
        Source of its data.
    """
    while True:
        form = str(rng.choice(_FORMS, p=_SHARES))
        product = _draw_gemm(contract, seed, rng) if form == "gemm" else _draw_conv(form, contract, seed, rng)
        problem = _with_tail(product, rng)
        y = problem.y
        if problem.terms <= MOST_TERMS and min(y) > 0 and LEAST_OUTPUTS <= math.prod(y) <= MOST_OUTPUTS:
            return problem


def number_problems(contracts: Sequence[str], count: int, seed: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Give (contract, seed) of `count` configurations, contract after contract in turn."""
    first = (seed,) if seed >= 0 else (-seed, 1)  # numpy takes no negative seeds
    for number in range(count):
        yield contracts[number % len(contracts)], (*first, number)


def make_problem(contract: str, seed: tuple[int, ...]) -> Problem:
    """Return the configuration that a seed draws for a contract."""
    return draw_problem(contract, np.random.default_rng([*seed, CONTRACTS.index(contract)]), seed)


def _with_tail(problem: Problem, rng: np.random.Generator) -> Problem:
    """Return a product with what is computed behind it."""
    return replace(
        problem,
        bias=bool(rng.random() < 0.8),
        residual=bool(rng.random() < 0.22),
        relu=bool(rng.random() < 0.5),
        dyadic=bool(rng.random() < 0.5) and problem.contract == "int8",
    )


def _pick(rng: np.random.Generator, *values: int) -> int:
    return int(rng.choice(values))


def _draw_gemm(contract: str, seed: tuple[int, ...], rng: np.random.Generator) -> Problem:
    rows = _pick(rng, 1, 2, 2, 3, 4)
    terms = _pick(rng, 7, 16, 33, 64, 100, 128, 200, 256, 384, 500, 512, 768, 1000, 1024)
    columns = _pick(rng, 24, 31, 40, 64, 100, 128, 200)
    transposed = contract == "int8" or bool(rng.random() < 0.5)
    return Problem(contract, seed, (rows, terms), (columns, terms), transposed=transposed)


def _draw_conv(form: str, contract: str, seed: tuple[int, ...], rng: np.random.Generator) -> Problem:
    batch = _pick(rng, 1, 2, 2, 3, 4)
    height, width = (int(v) for v in rng.integers(5, 15, 2))
    kernel = _draw_pair(rng, (1, 2, 3, 3, 3, 4, 5, 7)) if form != "pointwise" else (1, 1)
    groups, inner, outer = 1, _pick(rng, 1, 3, 4, 7, 8, 12, 16, 24, 31, 32, 48, 64), 1
    if form == "pointwise":
        inner = _pick(rng, 8, 16, 31, 32, 64, 96, 128, 200, 256, 384, 512, 1000, 1024)
    if form == "grouped":
        groups, inner, outer = _pick(rng, 2, 3, 4, 8), _pick(rng, 2, 3, 4, 8, 16), _pick(rng, 1, 2, 3, 4, 8)
    elif form == "depthwise":
        groups, inner, outer = _pick(rng, 5, 8, 12, 16, 24, 32), 1, _pick(rng, 1, 1, 2)
    else:
        outer = _pick(rng, 3, 5, 8, 10, 16, 20, 24, 31, 32)
    strides = _draw_pair(rng, (1, 2, 3)) if rng.random() < 0.35 else (1, 1)
    dilations = _draw_pair(rng, (1, 2, 3)) if rng.random() < 0.25 and max(kernel) > 1 else (1, 1)
    reach = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
    pads = (0, 0, 0, 0)
    draw = rng.random()
    if draw < 0.3:
        top, left, bottom, right = (int(v) for v in rng.integers(0, [reach[0] + 1, reach[1] + 1] * 2))
        pads = (top, left, bottom, right)
    elif draw < 0.8:
        pads = (reach[0] // 2, reach[1] // 2, reach[0] // 2, reach[1] // 2)
    return Problem(
        contract,
        seed,
        (batch, groups * inner, height, width),
        (groups * outer, inner, *kernel),
        groups,
        strides,
        dilations,
        pads,
    )


def _draw_pair(rng: np.random.Generator, values: Sequence[int]) -> tuple[int, int]:
    first = _pick(rng, *values)
    return (first, _pick(rng, *values)) if rng.random() < 0.4 else (first, first)
