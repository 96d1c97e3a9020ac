"""Where the times that a profiler reports come from: the host's clock, or a model that gives the same each time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.lowering import Step

# A device of round numbers. It stands for no GPU: what counts is that equal work takes equal time.
MULTIPLICATIONS_PER_SECOND = 1e12
BYTES_PER_SECOND = 1e11
SECONDS_PER_LAYER = 2e-6

Arrays = Mapping[str, NDArray[Any]]


class Clock:
    """The clock of one emulated device.

    As it is made it tells what the host measures. Inside `modelled` it tells what the work would take on a device of round
    numbers: nothing that runs beside it moves these times, so a comparison of two of them has one right answer.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._lock = threading.Lock()

    @property
    def is_modelled(self) -> bool:
        """True inside of `modelled`."""
        return self._depth > 0

    @contextmanager
    def modelled(self) -> Iterator[None]:
        """Let all times that are reported inside of the block follow from the work alone."""
        with self._lock:
            self._depth += 1
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1

    def seconds(self, step: Step, inputs: Arrays, outputs: Arrays, measured: float) -> float:
        """Return what a step took; `measured` is what the host saw."""
        if not self._depth:
            return measured
        moved = sum(array.nbytes for array in (*inputs.values(), *outputs.values()))
        compute = multiplications(step, inputs, outputs) / MULTIPLICATIONS_PER_SECOND
        return SECONDS_PER_LAYER + max(compute, moved / BYTES_PER_SECOND)


def multiplications(step: Step, inputs: Arrays, outputs: Arrays) -> int:
    """Return how many products a step adds up; the size of its outputs for other operators than the linear ones."""
    node = step.node
    made = sum(array.size for array in outputs.values())
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return made
    x, w = (inputs.get(step.sources.get(name, name)) for name in node.input[:2])
    if x is None or w is None or not w.ndim:
        return made
    if node.op_type == "ConvTranspose":
        return int(x.size * np.prod(w.shape[1:]))
    if node.op_type == "Conv":
        return int(made * np.prod(w.shape[1:]))
    columns = next(reversed(next(iter(outputs.values())).shape), 1)
    return int(made * max(1, w.size // max(1, columns * int(np.prod(w.shape[:-2])))))
