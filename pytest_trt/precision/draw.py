"""Inputs for a model of which only the graph is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import ModelProto, ValueInfoProto

from pytest_trt.errors import InputError, ModelError
from pytest_trt.precision.sessions import plain_session

# Lengths that are tried for dynamic axes besides the batch, until ONNX Runtime runs the model.
_LENGTHS = (32, 8, 64, 224, 1)
_BATCH = 2


def find_shapes(
    model: ModelProto, given: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, tuple[int, ...]]:
    """Return a shape for each input of a model, on which ONNX Runtime runs it.

    Parameters
    ----------
    model : ModelProto
    given : mapping of str to shape, optional
        Shapes that are known; the others are as the graph says, a batch of two and one of a few lengths.

    Raises
    ------
    ModelError
        ONNX Runtime does not load the model.
    InputError
        It runs with none of the shapes; its last words are in `why`.
    """
    try:
        session = plain_session(model)
    except Exception as error:  # ONNX Runtime raises types of its own C++ half
        raise ModelError("ONNX Runtime does not load the model", why=str(error).strip()[:500]) from error
    reason = ""
    for chosen in _shapes(model, given or {}):
        try:
            session.run(None, draw_feed(model, chosen, np.random.default_rng(0)))
        except Exception as error:  # see above; an element type that numpy has not is among them
            reason = str(error).strip()
        else:
            return chosen
    raise InputError("ONNX Runtime does not run the model on drawn data", why=reason[:500])


def draw_feed(
    model: ModelProto, shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return input name to data: normal numbers, zeros and ones where the type is of integers or truths."""
    return {value.name: _draw(rng, value, shapes[value.name]) for value in _inputs(model)}


def _inputs(model: ModelProto) -> list[ValueInfoProto]:
    fixed = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in fixed]


def _shapes(model: ModelProto, given: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, tuple[int, ...]]]:
    for length in _LENGTHS:
        yield {value.name: given.get(value.name) or _shape(value, length) for value in _inputs(model)}


def _shape(value: ValueInfoProto, length: int) -> tuple[int, ...]:
    return tuple(
        dim.dim_value if dim.dim_value > 0 else (_BATCH if axis == 0 else length)
        for axis, dim in enumerate(value.type.tensor_type.shape.dim)
    )


def _draw(rng: np.random.Generator, value: ValueInfoProto, shape: tuple[int, ...]) -> np.ndarray:
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    if kind.kind in "biu":
        return rng.integers(0, 2, shape).astype(kind)
    return np.asarray(rng.standard_normal(shape)).astype(kind)
