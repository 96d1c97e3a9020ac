"""A configuration on one kind of data: its typed ONNX graph with weights, and its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from pytest_trt.bite.eights import Eights
from pytest_trt.bite.floats import Floats
from pytest_trt.bite.graphs import ELEMS, STORED
from pytest_trt.bite.integers import Integers
from pytest_trt.bite.problems import Problem
from pytest_trt.emulator import dtypes
from pytest_trt.numerics.formats import Float64
from pytest_trt.records import DATA_KINDS

Arrays = dict[str, NDArray[Any]]

_MAKERS: dict[str, type[Floats]] = {"int8": Integers, "fp8": Eights}


@dataclass(frozen=True)
class Drawn:
    """One configuration on one kind of data.

    Attributes
    ----------
    model : ModelProto
        Typed; inputs `x` and, where there is a residual, `r`; output `y`; a symbolic batch.
    values : dict of str to float64 ndarray
        The inputs.
    """

    model: ModelProto
    values: dict[str, Float64]

    @cached_property
    def feeds(self) -> Arrays:
        """The inputs as they lie in an engine's buffers."""
        table = {value.name: value.type.tensor_type.elem_type for value in self.model.graph.input}
        with np.errstate(over="ignore"):
            return {
                name: dtypes.to_stored(values.astype(np.float32), table[name])
                for name, values in self.values.items()
            }


def draw(problem: Problem, kind: str, again: int = 0) -> Drawn:
    """Return the model and inputs of a configuration for one kind of data.

    Parameters
    ----------
    problem : Problem
    kind : str
        A member of `records.DATA_KINDS`.
    again : int
        Other inputs for the same weights and scales.
    """
    place = DATA_KINDS.index(kind)
    maker = _MAKERS.get(problem.contract, Floats)
    made = maker(problem, kind, np.random.default_rng([*problem.seed, 1, place]))
    sources = [np.random.default_rng([*problem.seed, 2, place, number]) for number in range(again + 1)]
    return Drawn(*made.drawn(sources))


def draw_model(problem: Problem, kind: str) -> ModelProto:
    """Return the typed graph of a configuration for one kind of data."""
    return draw(problem, kind).model


def carried(problem: Problem, stored: NDArray[Any]) -> NDArray[Any]:
    """Return a stored output as numbers."""
    return dtypes.to_carried(stored, ELEMS[STORED[problem.contract]])
