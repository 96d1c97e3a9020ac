"""GPU classes and the GPUs of this machine."""

from pytest_trt.hardware.classes import GpuClass, classify, get, names
from pytest_trt.hardware.probe import DetectedGpu, detect

__all__ = ["DetectedGpu", "GpuClass", "classify", "detect", "find_gpu", "get", "names"]


def find_gpu(device: str) -> DetectedGpu | None:
    """Return the GPU that a device such as `cuda:0` names; None for `cpu`, and where no such GPU is detected."""
    kind, _, ordinal = device.partition(":")
    gpus = detect() if kind == "cuda" and ordinal.isdecimal() else ()
    return gpus[int(ordinal)] if gpus and int(ordinal) < len(gpus) else None
