"""GPU classes and the GPUs of this machine."""

from pytest_trt.hardware.classes import GpuClass, classify, get, names
from pytest_trt.hardware.probe import DetectedGpu, detect

__all__ = ["DetectedGpu", "GpuClass", "classify", "detect", "get", "names"]
