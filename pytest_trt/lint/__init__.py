"""What in an ONNX graph will cost speed, precision or the build on a class of GPUs, found without any TensorRT."""

from __future__ import annotations

from pytest_trt.lint.advice import SEVERITIES, Advice, worst
from pytest_trt.lint.registry import RULES, Rule
from pytest_trt.lint.rewrite import Mended, mend
from pytest_trt.lint.run import lint

__all__ = ["RULES", "SEVERITIES", "Advice", "Mended", "Rule", "lint", "mend", "worst"]
