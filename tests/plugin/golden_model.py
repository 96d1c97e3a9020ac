"""A test file with goldens: the sums of whole numbers are exact, those of others are not."""

MODEL = """
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

def gemm(seed=0, deep=False):
    weights = np.random.RandomState(seed).randint(-3, 4, (64, 48)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "v"], ["y"])]
    nodes = nodes if deep else [helper.make_node("MatMul", ["x", "w"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [24, 64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [24, 48])
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(weights, "w")])
    if deep:
        graph.initializer.append(numpy_helper.from_array(np.eye(48, dtype=np.float32), "v"))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

WHOLE = {"x": np.random.RandomState(1).randint(-4, 5, (24, 64)).astype(np.float32)}
REAL = {"x": np.random.RandomState(1).uniform(-1, 1, (24, 64)).astype(np.float32)}
"""
TESTS = (
    MODEL
    + """
@pytest.mark.parametrize("kind", ["whole", "real"])
def test_it(trt_golden, kind):
    trt_golden(kind, model=gemm(), inputs=WHOLE if kind == "whole" else REAL)
"""
)
MACHINE = ("--gpu=t4", "--trt-runtime=emulator")
FAULTS = "--trt-fault=pytest_trt.emulator.faults:"
