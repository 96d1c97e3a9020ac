"""Whether two models give the same bits on drawn data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import ModelProto, ValueInfoProto

from pytest_trt.errors import ModelError
from pytest_trt.precision.sessions import plain_session

# Lengths that are tried for dynamic axes besides the batch, until ONNX Runtime runs the model.
_LENGTHS = (32, 8, 64, 224, 1)
_BATCH = 2
_ROUNDS = 3


def compare_outputs(
    got: ModelProto, want: ModelProto, shapes: Mapping[str, tuple[int, ...]], seed: int
) -> int:
    """Return how many output values of two models are equal, bit for bit, which is all of them.

    Raises
    ------
    ModelError
        A value differs (the message says by how much), or ONNX Runtime runs neither model on drawn data.
    """
    fixed = {tensor.name for tensor in want.graph.initializer}
    inputs = [value for value in want.graph.input if value.name not in fixed]
    rng = np.random.default_rng(seed)
    compared = 0
    try:
        before, after = plain_session(want), plain_session(got)
    except Exception as error:  # ONNX Runtime raises types of its own C++ half
        raise _unproven(str(error)) from error
    first, reason = None, ""
    for chosen in _shapes(inputs, shapes):
        try:
            feed = {value.name: _draw(rng, value, chosen[value.name]) for value in inputs}
            before.run(None, feed)
        except Exception as error:  # see above
            reason = str(error)
        else:
            first = chosen
            break
    if first is None:
        raise _unproven(reason)
    for _ in range(_ROUNDS):
        feed = {value.name: _draw(rng, value, first[value.name]) for value in inputs}
        names = [value.name for value in before.get_outputs()]
        for name, mine, theirs in zip(names, after.run(names, feed), before.run(names, feed), strict=True):
            compared += _held(name, np.asarray(mine), np.asarray(theirs))
    return compared


def _held(name: str, got: np.ndarray, want: np.ndarray) -> int:
    if got.dtype == want.dtype and got.shape == want.shape:
        if got.tobytes() == want.tobytes() or (got.dtype.kind == "O" and bool((got == want).all())):
            return int(want.size)
        with np.errstate(invalid="ignore"):
            gap = np.abs(got.astype(np.float64) - want.astype(np.float64))
        bad = int((got != want).sum())
        why = f"{bad} of {want.size} values differ, by up to {float(np.nanmax(gap, initial=0.0)):.3g}"
    else:
        why = f"got {got.dtype} {got.shape}, want {want.dtype} {want.shape}"
    raise ModelError(
        f"the rewritten model computes another output {name!r}", why=why, mend="nothing was written"
    )


def _unproven(words: str) -> ModelError:
    return ModelError(
        "the rewrite cannot be shown to compute the same",
        why=f"ONNX Runtime does not run the model on drawn data: {words.strip()[:500]}",
        mend="give the shapes of its inputs: --shape x=1x3x48x96",
    )


def _shapes(
    inputs: list[ValueInfoProto], given: Mapping[str, tuple[int, ...]]
) -> Iterator[dict[str, tuple[int, ...]]]:
    for length in _LENGTHS:
        yield {value.name: given.get(value.name) or _shape(value, length) for value in inputs}


def _shape(value: ValueInfoProto, length: int) -> tuple[int, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(
        dim.dim_value if dim.dim_value > 0 else (_BATCH if axis == 0 else length)
        for axis, dim in enumerate(dims)
    )


def _draw(rng: np.random.Generator, value: ValueInfoProto, shape: tuple[int, ...]) -> np.ndarray:
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    if kind.kind in "biu":
        return rng.integers(0, 2, shape).astype(kind)
    return np.asarray(rng.standard_normal(shape)).astype(kind)
