"""A refused build leaves nothing of TensorRT's for the garbage collector.

It may run inside a logger callback, while TensorRT holds the lock that a builder's destructor takes: TensorRT-RTX 1.7.1 hung.
"""

from __future__ import annotations

import gc

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.errors import UnsupportedError
from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import find_builder


def one_node(operator: str) -> bytes:
    weights = numpy_helper.from_array(np.ones((16, 16), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (16, 16))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (16, 16))],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


def test_no_builder_outlives_its_refusal():
    builder = find_builder(Settings(gpu="t4"))
    if builder is None:
        pytest.skip('TensorRT-RTX is not installed; to get it: pip install "pytest-trt[rtx]"')
    trt = builder.trt
    kinds = (trt.Builder, trt.INetworkDefinition, trt.IBuilderConfig, trt.OnnxParser)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(UnsupportedError, match="FP32 GEMM is not supported") as caught:
            build_plan(builder, BuildRequest(model=one_node("MatMul")))
        alive = [thing for thing in gc.get_objects() if isinstance(thing, kinds)]
        in_frames = []
        step = caught.tb
        while step is not None:
            in_frames += [value for value in step.tb_frame.f_locals.values() if isinstance(value, kinds)]
            step = step.tb_next
    finally:
        gc.enable()
        # TensorRT-RTX 1.7.1 lets a refusal for Turing stain the next build of the process: this one.
        build_plan(builder, BuildRequest(model=one_node("Add")))
    assert alive == []
    assert in_frames == []
