"""Weights for drawn models: chosen so that faults show in the bits."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

KINDS = ("int", "real", "grid")
# Integer sums up to 2**11 are exact in every float format from fp16 up.
_EXACT_SUM = 2048


class Weights:
    """Draws the constants of one model, in order, from its kind and seed.

    Parameters
    ----------
    kind : str
        `int`, `real` or `grid`, see `Case.weights`.
    seed : int
    """

    def __init__(self, kind: str, seed: int) -> None:
        self.kind = kind
        self._rng = np.random.default_rng(seed)

    def draw(self, shape: tuple[int, ...], fan_in: int, axis: int = 0) -> np.ndarray:
        """Return weights, float32.

        Parameters
        ----------
        shape : tuple of int
        fan_in : int
            Products summed in one output.
        axis : int
            The axis of output channels; a `grid` has +127/128 or -127/128 in each.

        Notes
        -----
        `int` has no zeros, so that a dropped channel shows, and stays so small that `fan_in` products with
        inputs of one keep within 2**11. `real` is normal with variance 2 / fan_in (He et al. 2015).
        """
        if self.kind == "real":
            return _single(self._rng.standard_normal(shape) * np.sqrt(2.0 / fan_in))
        signs = self._rng.choice([-1.0, 1.0], shape)
        if self.kind == "int":
            top = int(np.clip(_EXACT_SUM // fan_in, 1, 7))
            return _single(self._rng.integers(1, top + 1, shape) * signs)
        steps = np.moveaxis(self._rng.integers(1, 128, shape), axis, 0)
        first = steps.reshape(steps.shape[0], -1)
        first[:, 0] = 127
        return _single(np.moveaxis(first.reshape(steps.shape), 0, axis) * signs / 128.0)

    def bias(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return additive constants, float32, none of them zero when they are integers."""
        if self.kind == "real":
            return _single(self._rng.standard_normal(shape))
        steps = self._rng.integers(1, 8, shape) * self._rng.choice([-1.0, 1.0], shape)
        return _single(steps if self.kind == "int" else steps / 8.0)

    def bias_within(self, limit: np.ndarray) -> np.ndarray:
        """Return additive constants of magnitude at most `limit`, one for each of its elements.

        For what stands before an activation: a larger one would hold it at one end whatever the input is. Where the
        limit lies below the step of integers the constant is zero.
        """
        free = np.clip(self.bias(limit.shape), -limit, limit)
        step = {"int": 1.0, "grid": 0.125}.get(self.kind)
        return _single(free if step is None else np.trunc(free / step) * step)

    def positive(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return positive constants near one, float32; powers of two unless `real`."""
        if self.kind == "real":
            return _single(self._rng.uniform(0.5, 2.0, shape))
        return _single(self._rng.choice([0.5, 1.0, 2.0, 4.0], shape))


def _single(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, dtype=np.float32)


def kinds() -> st.SearchStrategy[str]:
    """Return a strategy for kinds of weights; shrinks to `int`."""
    return st.sampled_from(KINDS)


def seeds() -> st.SearchStrategy[int]:
    """Return a strategy for seeds of weights; shrinks to 0."""
    return st.integers(0, 9999)
