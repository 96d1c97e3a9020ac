"""Whether the packages that are installed can express a precision."""

from __future__ import annotations

import onnx
import onnxruntime

from pytest_trt.precision.sixteen import BF16_OPSET

# The first with kernels for that operator set; older ones refuse to load it.
_BF16_ONNXRUNTIME = (1, 21)


def find_lack(precision: str) -> tuple[str, str] | None:
    """Return what is missing for a precision and how to get it, None if nothing is."""
    if precision != "bf16":
        return None
    needs = f"bf16 needs ONNX operator set {BF16_OPSET}"
    if onnx.defs.onnx_opset_version() < BF16_OPSET:
        return f"{needs}, which onnx {onnx.__version__} lacks", 'pip install "onnx>=1.17"'
    if tuple(int(part) for part in onnxruntime.__version__.split(".")[:2]) < _BF16_ONNXRUNTIME:
        version = ".".join(map(str, _BF16_ONNXRUNTIME))
        return (
            f"{needs}, which onnxruntime {onnxruntime.__version__} lacks",
            f'pip install "onnxruntime>={version}"',
        )
    return None
