"""Dynamic ranges of implicit INT8 (TensorRT 8.6 and 10.x): those of the request, or one dummy for every tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytest_trt.errors import UnsupportedError
from pytest_trt.runtime.constraints import check_implicit

if TYPE_CHECKING:
    from pytest_trt.runtime.load import Runtime
    from pytest_trt.runtime.request import BuildRequest

_FLOATING = ("FLOAT", "HALF", "BF16")


def set_ranges(
    rt: Runtime, network: Any, request: BuildRequest, refused: Callable[[str], UnsupportedError]
) -> None:
    """Set the ranges of a request on the tensors of a network.

    Parameters
    ----------
    refused : callable
        Makes the error that tells TensorRT's words.

    Raises
    ------
    UnsupportedError
        This TensorRT has no ranges, or does not take one.
    """
    dummy = None if request.strongly_typed else request.dummy_range  # strong typing: the graph has it
    given = request.dynamic_ranges or {}
    if not given and dummy is None:
        return
    check_implicit(rt, by_ranges=True)
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        tensors += [layer.get_output(slot) for slot in range(layer.num_outputs)]
    for tensor in tensors:
        if tensor is None:
            continue
        if tensor.name in given or (dummy is not None and tensor.dtype.name in _FLOATING):
            limit = float(given.get(tensor.name, 0.0) if dummy is None else dummy)
            if not tensor.set_dynamic_range(-limit, limit):
                raise refused(f"did not take the range {limit} of tensor {tensor.name!r}")
