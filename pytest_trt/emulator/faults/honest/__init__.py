"""Other correct kernels, bit for bit: each computes a node as its contract allows, and every check must let it pass.

Models of arithmetic that the measured kernels of public libraries follow: orders of summation, fused multiply-adds, tensor
cores that align and truncate, FP16 accumulators, orders of an INT8 epilogue, Winograd's algorithm, FFT, fused stores.
"""

from __future__ import annotations

from pytest_trt.emulator.faults.honest import cores, epilogue, half, integer, pointwise, sums, transforms

__all__ = ["cores", "epilogue", "half", "integer", "pointwise", "sums", "transforms"]
