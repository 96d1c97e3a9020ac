"""Whether two models give the same bits on drawn data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto

from pytest_trt.errors import InputError, ModelError
from pytest_trt.precision.draw import draw_feed, find_shapes
from pytest_trt.precision.sessions import plain_session

_ROUNDS = 3


def compare_outputs(
    got: ModelProto, want: ModelProto, shapes: Mapping[str, tuple[int, ...]], seed: int
) -> int:
    """Return how many output values of two models are equal, bit for bit, which is all of them.

    Raises
    ------
    ModelError
        A value differs (the message says by how much), or ONNX Runtime runs one of the models on no data drawn.
    """
    try:
        chosen = find_shapes(want, shapes)
        before, after = plain_session(want), plain_session(got)
    except (InputError, ModelError) as error:
        raise ModelError(
            "the rewrite cannot be shown to compute the same",
            why=(error.what, *error.why),
            mend="give the shapes of its inputs: --shape x=1x3x48x96",
        ) from error
    except Exception as error:  # ONNX Runtime raises types of its own C++ half
        raise ModelError(
            "ONNX Runtime does not load the rewritten model", why=str(error).strip()[:500]
        ) from error
    rng = np.random.default_rng(seed)
    names = [value.name for value in before.get_outputs()]
    compared = 0
    for _ in range(_ROUNDS):
        feed = draw_feed(want, chosen, rng)
        for name, mine, theirs in zip(names, after.run(names, feed), before.run(names, feed), strict=True):
            compared += _held(name, mine, theirs)
    return compared


def _held(name: str, mine: Any, theirs: Any) -> int:
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):  # a sequence
        return sum(_held(name, one, other) for one, other in zip(mine, theirs, strict=True))
    got, want = np.asarray(mine), np.asarray(theirs)
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
