"""Tell from the layers of a built engine which type did the work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pytest_trt.records import LayerInfo

# What a working layer of a precision is allowed to read. TF32 shows as fp32 in layer lists.
_READS = {"fp32": ("fp32",), "tf32": ("fp32",), "fp16": ("fp16",), "bf16": ("bf16",), "int8": ("int8",)}
# `correlation` is what TensorRT-RTX calls a convolution.
_WORK = (
    "conv",
    "correlation",
    "gemm",
    "matmul",
    "matrix_multiply",
    "matrixmultiply",
    "fully",
    "runtime_fusion",
)


@dataclass(frozen=True)
class Proof:
    """What precision ran.

    Attributes
    ----------
    asked : str
        The precision asked for.
    ran : mapping of str to int
        Type to how many working layers (convolution, deconvolution, GEMM) read their data in it.
    fallback : tuple of str
        Names of working layers in another type than the one asked for.
    """

    asked: str
    ran: Mapping[str, int] = field(default_factory=dict)
    fallback: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """True when at least one layer worked and none of them in another type."""
        return bool(self.ran) and not self.fallback


def prove(layers: Iterable[LayerInfo], asked: str, *, quantized: bool = False) -> Proof:
    """Return which types the working layers of an engine ran in.

    Parameters
    ----------
    layers : iterable of LayerInfo
        From the inspector, or from the DETAILED build log.
    asked : str
        One of `records.PRECISIONS`.
    quantized : bool
        The model has Q/DQ of its own: INT8 is then what its graph asks for, at every precision.
    """
    admitted = {*_READS[asked], "int8"} if quantized else {*_READS[asked]}
    ran: Counter[str] = Counter()
    fallback = []
    for layer in layers:
        if not is_working(layer) or not layer.inputs:
            continue
        kind = layer.inputs[0]
        ran[kind] += 1
        if kind not in admitted:
            fallback.append(layer.name)
    return Proof(asked, dict(ran), tuple(fallback))


def is_working(layer: LayerInfo) -> bool:
    """Tell whether a layer multiplies and accumulates: convolution, deconvolution or matrix product."""
    text = layer.kind.lower()
    return any(word in text for word in _WORK)
