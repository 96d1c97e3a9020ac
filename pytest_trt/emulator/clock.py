"""Where device times come from: the host's clock, or a model that gives the same each time.

The model: a layer takes the longest of three. Its start takes 2 microseconds, which overlap with the work of the layer
before. Its products are added up in waves: 8 multiprocessors hold 2,048 outputs each, and a wave that is not full takes as long
as a full one; TF32 is twice as fast as float32, 16-bit types four times, INT8 eight times. Its operands and results pass the
memory once, in the bytes of its type. A run takes the sum of its layers. So a convolution of 4,096 outputs a frame takes the
same time at batch 1 to 4, where a wave is full: the time per frame falls up to there, and is the same at every full wave
beyond.

Copies take no modelled time. Each stream has a time of its own, which its runs alone move on, so that the order of
threads changes nothing; that several streams share one device is not modelled.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.lowering import Step

# A device of round numbers. It stands for no GPU: what counts is that equal work takes equal time.
MULTIPLICATIONS_PER_SECOND = 1e12  # in float32
BYTES_PER_SECOND = 1e11
SECONDS_PER_LAYER = 2e-6
MULTIPROCESSORS = 8
OUTPUTS_PER_WAVE = MULTIPROCESSORS * 2048
# How many times faster products are added up than in float32.
SPEEDUPS: Mapping[str, int] = {"fp32": 1, "tf32": 2, "fp16": 4, "bf16": 4, "fp8": 8, "int8": 8}
_ITEM_BYTES = {"fp16": 2, "bf16": 2, "fp8": 1, "int8": 1}

Arrays = Mapping[str, NDArray[Any]]


class Clock:
    """The clock of one emulated device.

    As it is made, times are what the host measures. Inside `modelled` they are what the work would take on a device of round
    numbers: nothing that runs beside it moves these times, so a comparison of two of them has one right answer. What is
    enqueued inside of the block counts, also where it is done later.
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


def modelled_seconds(step: Step, inputs: Arrays, outputs: Arrays) -> float:
    """Return what a step takes on the modelled device."""
    width = _ITEM_BYTES.get(step.working, 8)
    moved = sum(array.size * min(array.itemsize, width) for array in (*inputs.values(), *outputs.values()))
    made = max(1, sum(array.size for array in outputs.values()))
    waves = -(-made // OUTPUTS_PER_WAVE)
    products = multiplications(step, inputs, outputs) / made * waves * OUTPUTS_PER_WAVE
    speed = MULTIPLICATIONS_PER_SECOND * SPEEDUPS.get(step.working, 1)
    return max(SECONDS_PER_LAYER, products / speed, moved / BYTES_PER_SECOND)


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
