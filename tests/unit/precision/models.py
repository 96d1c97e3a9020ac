"""Small models that the tests of the precision room share."""

from __future__ import annotations

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def build(nodes, inputs, outputs, constants=(), opset=17) -> ModelProto:
    """Return a model; `constants` maps name to array."""
    graph = helper.make_graph(
        nodes,
        "test",
        inputs,
        outputs,
        [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(constants).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def conv_relu(filters=4, channels=3, opset=17) -> ModelProto:
    """Return Conv and Relu on x, shape (N, channels, 5, 5); weights normal, seed 0."""
    rng = np.random.default_rng(0)
    return build(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["y"], name="relu"),
        ],
        [value("x", ["N", channels, 5, 5])],
        [value("y", ["N", filters, 5, 5])],
        {
            "w": rng.standard_normal((filters, channels, 3, 3)).astype(np.float32),
            "b": rng.standard_normal(filters).astype(np.float32),
        },
        opset,
    )


def feed(shape=(2, 3, 5, 5), name="x", seed=0):
    return {name: np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}


def run(model, feeds):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return dict(zip([v.name for v in session.get_outputs()], session.run(None, feeds), strict=True))


def evaluate(model, feeds):
    """Return outputs by ONNX's own reference in numpy.

    ONNX Runtime on CPU removes the rounding around operators that it has in float32 alone.
    """
    names = [v.name for v in model.graph.output]
    return dict(zip(names, ReferenceEvaluator(model).run(None, feeds), strict=True))


def kinds(model) -> list[str]:
    return [node.op_type for node in model.graph.node]


def node(model, output) -> NodeProto:
    return next(n for n in model.graph.node if output in n.output)


def constant(model, name) -> np.ndarray:
    return numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name))
