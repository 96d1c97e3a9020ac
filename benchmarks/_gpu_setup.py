"""Who computes, and the engines that are timed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import onnx
from _gpu_loops import HostCuda
from _gpu_measure import Report
from _gpu_networks import INPUT, make_deep, make_shallow

from pytest_trt.check.subject import Subject
from pytest_trt.precision import prepare
from pytest_trt.records import Settings
from pytest_trt.runtime.load import Discovery, Runtime, discover

ON_CUDA = "emulator over ONNX Runtime's CUDA provider, no TensorRT"
ON_CPU = "emulator over ONNX Runtime on the CPU, no TensorRT and no GPU"
# A GPU that takes fp16, for the emulator to play where there is none.
PLAYED = "h200"


@dataclass(frozen=True)
class Bench:
    """What the parts work with.

    Attributes
    ----------
    rt : Runtime
        The emulator.
    cuda : module
        `pycuda.driver`, or what stands for it on a CPU.
    ordinal : int or None
        Of the GPU; None on a CPU.
    report : Report
    quick : bool
        Small networks and few repetitions.
    batches : tuple of int
    size : int
        Height and width of the deep network's input.
    """

    rt: Runtime
    cuda: Any
    ordinal: int | None
    report: Report
    quick: bool
    batches: tuple[int, ...]
    size: int

    def make_deep(self) -> onnx.ModelProto:
        """Return the network that is measured in all batches; a narrow one in a quick run."""
        return (make_shallow if self.quick else make_deep)(self.size)


def find_settings(device: str, *faults: str) -> Settings:
    """Return the settings of an emulator on a device, with faults or without."""
    gpu = PLAYED if device == "cpu" else "auto"
    return Settings(runtime="emulator", gpu=gpu, device=device, faults=faults)


@contextmanager
def emulator_on(device: str, *faults: str) -> Iterator[Runtime]:
    """Give an emulated TensorRT of its own, for the length of the block."""
    found: Discovery = discover(find_settings(device, *faults))
    assert found.executor is not None
    try:
        yield found.executor
    finally:
        found.close()


def find_cuda(rt: Runtime) -> Any:
    """Return `pycuda.driver`, or what stands for it where the emulator computes on a CPU."""
    if rt.device == "cpu":
        return HostCuda(rt.trt.emulated_streams)
    return importlib.import_module("pycuda.driver")


def make_subject(rt: Runtime, model: onnx.ModelProto, batches: tuple[int, ...]) -> Subject:
    """Return a network ready to be built in fp16, for batches from 1 to the largest."""
    _, *rest = (d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)
    low, middle, high = ((batch, *rest) for batch in (1, sorted(batches)[len(batches) // 2], max(batches)))
    return Subject(rt, prepare(model, "fp16", strong=True), {INPUT: (low, middle, high)})


def lowered_model(engine: Any) -> bytes:
    """Return the ONNX model that the emulator hands to ONNX Runtime for an engine."""
    data: bytes = engine._core.program().whole_model().SerializeToString()
    return data
