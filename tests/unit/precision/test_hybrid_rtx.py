"""Hybrid networks as a real TensorRT-RTX builds them: INT8 in, the 16-bit type out; 16-bit where it has no INT8."""

from __future__ import annotations

import onnx
import pytest

from pytest_trt.precision import measure_ranges, prepare
from pytest_trt.precision.proof import prove
from pytest_trt.records import Settings
from pytest_trt.runtime import BuildRequest, build_plan
from pytest_trt.runtime.load import find_builder
from pytest_trt.runtime.modules import RTX_COMMAND
from suites._precision import networks
from tests.unit.precision.models import feed

SHAPES = {"conv": (2, 16, 8, 8), "gemm": (2, 32), "block": (2, 16, 8, 8)}


@pytest.fixture(scope="module")
def rtx():
    found = find_builder(Settings(gpu="a10", log="VERBOSE"))
    if found is None:
        pytest.skip(f"TensorRT-RTX is not here: {RTX_COMMAND}")
    return found


def layers(rtx, name, sm, hybrid="fp16"):
    model = networks()[name]
    ranges = measure_ranges(model, [feed(SHAPES[name])])
    ready = prepare(model, "int8", strong=True, ranges=ranges, hybrid=hybrid)
    return build_plan(rtx, BuildRequest(ready.model.SerializeToString(), sm=sm)).layers


@pytest.mark.parametrize("sm", [80, 86, 89, 120])
@pytest.mark.parametrize("name", SHAPES)
def test_every_product_is_in_int8(rtx, name, sm):
    found = layers(rtx, name, sm)
    assert prove(found, "int8").holds
    # Convolutions give their sums in FP32, and a kernel behind them rounds; matrix products give fp16 at once.
    outputs = {layer.kind: layer.outputs for layer in found if layer.kind in ("correlation", "gemm")}
    want = {"correlation": ("fp32",), "gemm": ("fp16",)}
    assert outputs and all(kinds == want[kind] for kind, kinds in outputs.items())


def test_bf16_stands_where_fp16_does(rtx):
    if onnx.defs.onnx_opset_version() < 22:
        pytest.skip("this onnx has no operator set 22")
    (gemm,) = [layer for layer in layers(rtx, "gemm", 80, "bf16") if layer.kind == "gemm"]
    assert (gemm.inputs, gemm.outputs) == (("int8",), ("bf16",))


def test_turing_has_convolutions_in_fp16_and_matrix_products_in_int8(rtx):
    """Of plain INT8 it refuses the matrix product, since FP32 GEMM is not supported there: hybrid is the way that works."""
    found = prove(layers(rtx, "block", 75), "int8", hybrid="fp16")
    assert dict(found.ran) == {"fp16": 3, "int8": 1} and not found.fallback
