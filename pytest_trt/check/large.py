"""The admissible values of large sums of products, taken in FP32 by ONNX Runtime with their own error counted.

In float64 a large convolution costs several times what ONNX Runtime takes. Its FP32 sum is off by a bound of the same form
as the kernel's own, so that it serves as well wherever a result is inside the limits; where one is not, the verdict falls
back on float64. A sample of the sums is held against float64, so that the two references stay apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from pytest_trt.check.graph import Node
from pytest_trt.numerics.accumulators import Accumulator
from pytest_trt.numerics.bounds import Bound, term_quantum
from pytest_trt.numerics.formats import U32, Float64, lsb_exponent, round_to
from pytest_trt.numerics.judge import SIGMAS
from pytest_trt.numerics.linear import Window, patch_at
from pytest_trt.precision.sessions import plain_session

# Multiplications from which on a convolution is large: some milliseconds in float64 on one core.
LARGE = 2**25

Float32 = NDArray[np.float32]

_OPSET = 17
_CHUNK = 3 * 2**12  # elements that are worked on at once: temporaries stay in the cache
_TWELVE = np.float32(SIGMAS)
_SAMPLE = 2  # places at which sums are held against float64


class LargeSums:
    """The sums of one convolution on finite FP32 operands, their moduli and their squares.

    Parameters
    ----------
    node : Node
        A `Conv`; its bias is left out.
    x, w : float64 ndarray (N, C, *S), (M, C/g, *K)
    terms : int
        Products a sum has at most.
    rounds : bool
        Products of the operands are rounded in FP32.
    statistics : bool
        The squares are worked out as well.
    """

    def __init__(
        self, node: Node, x: Float64, w: Float64, terms: int, *, rounds: bool, statistics: bool
    ) -> None:
        session = _session(node.op, _frozen(node.attributes), x.ndim, w.ndim, statistics)
        self._feeds = {"x": x.astype(np.float32), "w": w.astype(np.float32)}
        self._terms = terms
        self._own = Accumulator(rounds_products=rounds)
        self.sums: Float32
        self.moduli: Float32
        self.squares: Float32 | None
        self.sums, self.moduli, self.squares = (*session.run(None, self._feeds), None)[:3]

    def agrees(self, window: Window, groups: int) -> bool:
        """Tell whether a sample of the sums is right: all channels at a few places are held against float64."""
        x, w = self._feeds["x"], self._feeds["w"]
        filters = w.reshape(groups, w.shape[0] // groups, -1).astype(np.float64)
        size = np.abs(filters)
        rng = np.random.default_rng(0)
        for _ in range(_SAMPLE):
            item, *place = (int(rng.integers(n)) for n in (self.sums.shape[0], *self.sums.shape[2:]))
            patch = patch_at(x[item], window, place).astype(np.float64).reshape(groups, -1, 1)
            exact = np.matmul(filters, patch).reshape(-1)
            moduli = np.matmul(size, np.abs(patch)).reshape(-1)
            at: Any = (item, slice(None), *place)
            room = self._slack(exact, moduli) + self._terms * 2.0**-149
            if not (np.abs(exact - self.sums[at]) <= room).all():
                return False
        return True

    def _slack(self, sums: Any, moduli: Any) -> Any:
        return self._own.error(sums, moduli, moduli, self._terms)

    def bound(
        self,
        kind: str,
        keep: Accumulator,
        bias: Bound | None,
        quantum: int | None,
        *,
        reading: float,
        likely: bool,
        stored: str | None,
    ) -> Bound:
        """Return the admissible values.

        Parameters
        ----------
        kind : str
            Storage type of the output.
        keep : Accumulator
            Of the kernel.
        bias : Bound or None
            Exact, shape (1, M, 1, ...).
        quantum : int or None
            For the certificate: the exponent of which all terms are whole multiples.
        reading : float
            Relative error with which operands may be read (TF32).
        likely : bool
            The interval of 12 standard deviations, where it is narrower.
        stored : str or None
            The format that the output is stored in for certain: the ends are rounded to it.
        """
        batch, filters = self.sums.shape[:2]
        shape = (batch, filters, self.sums[0, 0].size)
        mid, low, high = (np.empty(shape) for _ in range(3))
        # Deviations are asked for where outputs are wide enough to show errors.
        spread, drifts = (np.empty(mid.shape) if likely and kind == "fp32" else None for _ in range(2))
        flat = [a.reshape(mid.shape) for a in (self.sums, self.moduli)]
        squares = self.squares.reshape(mid.shape) if likely and self.squares is not None else None
        offset = None if bias is None else bias.mid.reshape(filters, 1)
        block = max(1, _CHUNK // mid.shape[2])
        grown = np.float32(1 + 1.01 * (self._terms + 64) * U32)  # the moduli's own error
        terms = self._terms + (bias is not None)
        certain = not reading and (quantum is None or quantum >= keep.smallest)
        # With t = A_products + |s|, at most 2 M: the bound on the kernel's error, and on that of these sums. Errors are worked
        # out in FP32; `grown` covers its roundings too.
        middle, product, modulus = keep.error_weights(terms)
        hard = np.float32((0.5 * middle + product + modulus) * (1 + reading) * grown)
        middle, product, modulus = self._own.error_weights(self._terms)
        own = np.float32((0.5 * middle + product + modulus) * grown)
        weights = keep.variance_weights(terms, reading)
        per_square, per_sum, per_size = (np.float32(weight * grown * grown) for weight in weights)
        smallest, read = np.float32(self._terms * 2.0**-149), np.float32(reading * grown)
        offset32 = None if offset is None else np.abs(offset).astype(np.float32)
        for item in range(batch):
            for start in range(0, filters, block):
                part = (item, slice(start, start + block))
                s, moduli = flat[0][part], flat[1][part] * grown
                size = np.abs(s)
                slack = (moduli + size) * own + smallest
                lost = moduli * read if reading else 0.0
                if offset is not None and offset32 is not None:
                    s = s + offset[part[1]]
                    moduli += offset32[part[1]]
                    size = np.abs(s).astype(np.float32)
                error = (moduli + size) * hard + lost
                if squares is not None:
                    energy = squares[part] * per_square
                    if offset32 is not None:
                        energy += offset32[part[1]] ** 2 * per_square
                    energy += size * size * per_sum
                    sigma = np.sqrt(energy)
                    size *= per_size
                    np.minimum(error, _TWELVE * sigma + size, out=error)
                    if spread is not None and drifts is not None:
                        spread[part], drifts[part] = sigma, size + slack
                error += slack
                if certain and (exact := keep.certified(moduli, quantum)).any():
                    error[exact] = 0.0
                mid[part] = s
                s = mid[part]
                if stored is None:
                    np.subtract(s, error, out=low[part])
                    np.add(s, error, out=high[part])
                else:
                    low[part], high[part] = round_to(s - error, stored), round_to(s + error, stored)
        whole = self.sums.shape
        made = Bound(mid.reshape(whole), low.reshape(whole), high.reshape(whole), kind)
        if spread is not None and drifts is not None:
            made.sigma, made.bias = spread.reshape(whole), drifts.reshape(whole)
        if stored is not None:
            made.place_on_grid(stored)
        return made


_REACH = 2.0**60


def takes(x: Bound, w: Bound, bias: Bound | None) -> bool:
    """Tell whether operands are exact, finite FP32 numbers whose products do not overflow."""
    return all(
        bound.is_exact
        and bound.scale is None
        and bound.loose is None
        and bound.kind != "fp64"
        and bool(bound.mid.min() > -_REACH)
        and bool(bound.mid.max() < _REACH)
        for bound in (x, w, *([] if bias is None else [bias]))
    )


def quantum_of(x: Bound, w: Bound, bias: Bound | None, smallest: float, bits: int) -> int | None:
    """Return the exponent of which all terms are whole multiples; a safe lower one where no sum could be certified.

    `smallest` is the smallest sum of moduli: if even a sample of the operands is too fine for it, no scan is needed.
    """
    if smallest > 0:
        fine = [lsb_exponent(b.mid.reshape(-1)[:: max(1, b.mid.size // 256)]) for b in (x, w)]
        if None not in fine and smallest > np.ldexp(1.0, bits + sum(q for q in fine if q is not None)):
            return -(10**4)
    return term_quantum(x, w, bias)


def _frozen(attributes: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((k, tuple(v) if isinstance(v, list) else v) for k, v in attributes.items()))


@lru_cache(maxsize=64)
def _session(
    op: str, attributes: tuple[tuple[str, Any], ...], rank_x: int, rank_w: int, statistics: bool
) -> Any:
    same = dict(attributes)
    squares = [
        helper.make_node("Mul", ["x", "x"], ["square_x"]),
        helper.make_node("Mul", ["w", "w"], ["square_w"]),
        helper.make_node(op, ["square_x", "square_w"], ["squares"], **same),
    ]
    graph = helper.make_graph(
        [
            helper.make_node(op, ["x", "w"], ["sums"], **same),
            helper.make_node("Abs", ["x"], ["size_x"]),
            helper.make_node("Abs", ["w"], ["size_w"]),
            helper.make_node(op, ["size_x", "size_w"], ["moduli"], **same),
            *(squares if statistics else []),
        ],
        "large",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * rank_x),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [None] * rank_w),
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in ("sums", "moduli", "squares")[: 3 if statistics else 2]
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    return plain_session(model)
