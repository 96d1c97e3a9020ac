"""What a layer list and a calibration table say about an engine of implicit INT8, written as a Q/DQ graph."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.precision.implicit import Placement, find_placement, name_nodes, write_placement
from pytest_trt.precision.sessions import plain_session
from pytest_trt.records import LayerInfo

RNG = np.random.default_rng(0)
WEIGHTS = RNG.standard_normal((6, 4, 3, 3)).astype(np.float32)
LAST = RNG.standard_normal((6, 6, 1, 1)).astype(np.float32)
SCALES = {"x": np.float32(0.01), "c": np.float32(0.05), "r": np.float32(0.04), "s": np.float32(0.06)}


def network(*, names: bool = True):
    """A convolution with its activation, a residual Add and a second convolution."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "v"], ["d"]),
        helper.make_node("Add", ["d", "r"], ["s"]),
        helper.make_node("Sigmoid", ["s"], ["y"]),
    ]
    for node in nodes if names else ():
        node.name = f"{node.op_type.lower()}_{node.output[0]}"
    graph = helper.make_graph(
        nodes,
        "implicit",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4, 5, 5))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 6, 5, 5))],
        [numpy_helper.from_array(WEIGHTS, "w"), numpy_helper.from_array(LAST, "v")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def layer(nodes, reads, writes):
    """A layer as TensorRT lists it: what it computes, and names and types of its tensors."""
    return LayerInfo(
        name=" + ".join(nodes),
        kind="CaskConvolution",
        inputs=tuple(kind for _, kind in reads),
        outputs=tuple(kind for _, kind in writes),
        metadata="\x1e".join(f"[ONNX Layer: {name}]" for name in nodes),
        reads=tuple(name for name, _ in reads),
        writes=tuple(name for name, _ in writes),
    )


def test_int8_is_where_layers_read_and_write_it():
    layers = [
        layer(["conv_c", "relu_r"], [("x", "int8")], [("r", "int8")]),
        layer(["conv_d", "add_s"], [("r", "int8"), ("r", "int8")], [("s", "fp32")]),
        layer(["sigmoid_y"], [("s", "fp32")], [("y", "fp32")]),
    ]
    found = find_placement(network(), layers)
    assert found == Placement(
        {"conv_c": frozenset({0}), "conv_d": frozenset({0}), "add_s": frozenset({1})}, frozenset({"r"})
    )


def test_a_converted_input_is_known_by_its_position():
    layers = [
        layer(
            ["conv_c", "relu_r"], [("Reformatted Input Tensor 0 to conv_c + relu_r", "int8")], [("r", "fp32")]
        ),
        layer(["conv_d", "add_s"], [("Reformatted Input Tensor 0 to conv_d", "int8")], [("s", "fp32")]),
    ]
    found = find_placement(network(), layers)
    assert found.read == {
        "conv_c": frozenset({0}),
        "conv_d": frozenset({0}),
        "add_s": frozenset({1}),  # the same tensor, converted once for both
    }
    assert not found.stored


def test_nodes_that_no_layer_names_are_told():
    found = find_placement(network(), [layer(["conv_c", "relu_r"], [("x", "int8")], [("r", "fp32")])])
    assert found.untold == frozenset({"conv_d"})


def test_what_conversion_layers_write_is_no_storage():
    quantize = layer([], [("x", "fp32")], [("x", "int8")])
    assert not find_placement(network(), [quantize]).stored


def test_nodes_get_names():
    named = name_nodes(network(names=False))
    assert len({node.name for node in named.graph.node}) == 5 and all(n.name for n in named.graph.node)


def run(model, x):
    return plain_session(model).run(None, {"x": x})[0]


def levels(values, scale):
    return np.clip(np.rint(values / scale), -128, 127) * scale


def test_the_graph_computes_what_the_placement_says():
    placement = Placement({"conv_c": frozenset({0}), "conv_d": frozenset({0})}, frozenset({"r"}))
    model, scales = write_placement(network(), placement, SCALES)
    x = RNG.standard_normal((1, 4, 5, 5)).astype(np.float32)
    got = run(model, x)

    def rounded(weights):
        scale = (np.abs(weights).max(axis=(1, 2, 3)) / 127).astype(np.float32).reshape(-1, 1, 1, 1)
        return (np.clip(np.rint(weights / scale), -127, 127) * scale).astype(np.float32)

    plain = network()
    for tensor, weights in zip(plain.graph.initializer, (rounded(WEIGHTS), rounded(LAST)), strict=True):
        tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    inner = helper.make_model(
        helper.make_graph(
            plain.graph.node[:2],
            "head",
            plain.graph.input,
            [helper.make_empty_tensor_value_info("r")],
            [plain.graph.initializer[0]],
        ),
        opset_imports=plain.opset_import,
        ir_version=8,
    )
    r = levels(run(inner, levels(x, SCALES["x"])), SCALES["r"])
    s = np.einsum("nchw,oc->nohw", r, rounded(LAST)[:, :, 0, 0]) + r
    assert np.allclose(got, 1 / (1 + np.exp(-s)), rtol=0, atol=1e-5)
    assert set(scales) == {"x", "r", "w", "v"} and scales["w"].shape == (6,)


def test_tensors_keep_their_names():
    model, _ = write_placement(network(), Placement({}, frozenset({"r"})), SCALES)
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    assert makers["r"] == "DequantizeLinear" and makers["c"] == "Conv"


@pytest.mark.parametrize(
    "placement", [Placement({"conv_d": frozenset({0})}), Placement({}, frozenset({"d"}))]
)
def test_a_tensor_without_a_scale_stays_float(placement):
    model, scales = write_placement(network(), placement, {"x": SCALES["x"]})
    assert not scales and {node.op_type for node in model.graph.node} == {"Conv", "Relu", "Add", "Sigmoid"}
