"""For each rule a model that it speaks about, alone, and one beside it about which every rule is silent."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

F16, F32, I8 = TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.INT8
IMAGE = [1, 32, 8, 8]


def build(nodes, constants=None, shape=IMAGE, kind=F32, opset=17, out_kind=F32, outputs=("y",), values=()):
    """Return a model from x to y; a node is (operator, inputs, outputs) or (operator, inputs, outputs, attributes)."""
    made = [helper.make_node(n[0], n[1].split(), n[2].split(), **(n[3] if len(n) > 3 else {})) for n in nodes]
    graph = helper.make_graph(
        made,
        "test",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(name, out_kind, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
        value_info=list(values),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def normal(*shape, kind=np.float32, scale=1.0):
    return (scale * np.random.default_rng(0).standard_normal(shape)).astype(kind)


W = normal(32, 32, 3, 3)


def weight(made=32, read=32, kind=np.float32):
    return normal(made, read, 3, 3, kind=kind)


def prelu(slope) -> ModelProto:
    return build([("Conv", "x w", "c"), ("PRelu", "c s", "y")], {"w": W, "s": np.asarray(slope, np.float32)})


def conv(made=32, read=32, **more) -> ModelProto:
    return build(
        [("Relu", "x", "r"), ("Conv", "r w", "y")], {"w": weight(made, read)}, [1, read, 8, 8], **more
    )


def through(*between, constants=None, **more) -> ModelProto:
    """Return Conv, some nodes from c to d, Relu."""
    nodes = [("Conv", "x w", "c"), *between, ("Relu", "d", "y")]
    return build(nodes, {"w": W, **(constants or {})}, **more)


def half(*nodes, constants=None) -> ModelProto:
    more = constants or {}
    return build(nodes, {"w": weight(kind=np.float16), **more}, kind=F16, out_kind=F16)


PAIR = {"s": np.float32(0.05), "z": np.int8(0)}


def pair(source, target, scale="s z"):
    return [
        ("QuantizeLinear", f"{source} {scale}", f"{target}_q"),
        ("DequantizeLinear", f"{target}_q {scale}", target),
    ]


def int8_weight(axis=0, scales=32, zero=np.int8, kind=np.int8, shape=(32, 32, 3, 3)):
    """Return nodes and constants of weights behind a DequantizeLinear."""
    stored = np.random.default_rng(0).integers(1, 9, shape).astype(kind)
    flat = scales is None
    scale = np.float32(0.01) if flat else np.full(scales, 0.01, np.float32)
    constants = {"w": stored, "ws": scale, "wz": np.zeros(scale.shape, zero)}
    attributes = {} if flat else {"axis": axis}
    return [("DequantizeLinear", "w ws wz", "wd", attributes)], constants


def quantized(
    *behind, operator="Conv", data=None, weights=None, constants=None, last="c", **more
) -> ModelProto:
    """Return x, a pair, an operator with INT8 weights, and what is behind it."""
    nodes, stored = weights or int8_weight()
    data = pair("x", "d") if data is None else data
    graph = [*data, *nodes, (operator, "d wd", "c" if behind else "y"), *behind]
    return build(graph, {**PAIR, **stored, **(constants or {})}, **more)


def residual(*other) -> ModelProto:
    """Return an INT8 convolution, padded, and an Add of x or of what `other` makes of it, called e."""
    nodes, stored = int8_weight()
    graph = [*pair("x", "d"), *nodes, ("Conv", "d wd", "c", {"pads": [1, 1, 1, 1]})]
    return build(
        [*graph, *other, ("Add", f"c {'e' if other else 'r'}", "a"), ("Relu", "a", "y")]
        if other
        else [("Sigmoid", "x", "r"), *graph, ("Add", "c r", "a"), ("Relu", "a", "y")],
        {**PAIR, **stored},
    )


def attention(value) -> ModelProto:
    return build(
        [("Add", "x m", "a"), ("Softmax", "a", "y", {"axis": -1})],
        {"m": np.asarray(value, np.float32)},
        [1, 4, 8, 8],
    )


def norm(epsilon) -> ModelProto:
    nodes = [
        ("ReduceMean", "x", "v", {"axes": [-1], "keepdims": 1}),
        ("Add", "v e", "a"),
        ("Sqrt", "a", "r"),
        ("Div", "x r", "y"),
    ]
    return build(nodes, {"e": np.float32(epsilon)})


def scaled(tiny, largest=1.0) -> ModelProto:
    w = W.copy() * np.float32(largest / np.abs(W).max())
    w = np.where(np.abs(w) < 0.1 * largest, np.float32(0.1 * largest), w)
    w[:, :, 0] = np.float32(tiny)
    return build([("Conv", "x w", "y")], {"w": w})


def huge(value) -> ModelProto:
    w = W.copy()
    w[3, 4, 0, 0] = value
    return build([("Conv", "x w", "y")], {"w": w})


def batch_norm(*, apart: bool) -> ModelProto:
    parts = {name: np.ones(32, np.float32) for name in ("g", "b", "m", "v")}
    nodes = [("Conv", "x w", "c"), ("BatchNormalization", "c g b m v", "y")]
    if apart:
        nodes = [("BatchNormalization", "x g b m v", "c"), ("Conv", "c w", "y")]
    return build(nodes, {"w": W, **parts})


def beside(gigabytes) -> ModelProto:
    """Return a product with weights that lie in a file which is not there."""
    model = build([("MatMul", "x w", "y")], {"w": normal(32, 32)}, [1, 32])
    tensor = model.graph.initializer[0]
    tensor.dims[:] = [32, gigabytes * 2**23]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return model


def unpaired() -> ModelProto:
    return build(
        [("QuantizeLinear", "x s z", "q"), ("Abs", "q", "i"), ("DequantizeLinear", "i s z", "y")], PAIR
    )


SMALL_Q = [("QuantizeLinear", "x s", "d_q"), ("DequantizeLinear", "d_q s", "d")]

POSITIVE = {
    "prelu-uniform": lambda: prelu(np.full((32, 1, 1), 0.25)),
    "prelu-per-channel": lambda: prelu(np.linspace(0.1, 0.4, 32).reshape(32, 1, 1)),
    "channels-off-multiple": lambda: conv(60, 60),
    "noop": lambda: through(("Identity", "c", "d")),
    "cast-removable": lambda: through(("Cast", "c", "d", {"to": F32})),
    "cast-rounds": lambda: build(
        [
            ("Exp", "x", "e"),
            ("Cast", "e", "l", {"to": F16}),
            ("Cast", "l", "h", {"to": F32}),
            ("Abs", "h", "y"),
        ]
    ),
    "cast-in-fusion": lambda: half(
        ("Conv", "x w", "c"),
        ("Cast", "c", "h", {"to": F32}),
        ("Relu", "h", "r"),
        ("Cast", "r", "y", {"to": F16}),
    ),
    "transpose-pair": lambda: build(
        [
            ("Relu", "x", "r"),
            ("Transpose", "r", "t", {"perm": [0, 2, 3, 1]}),
            ("Transpose", "t", "u", {"perm": [0, 3, 1, 2]}),
            ("Abs", "u", "y"),
        ]
    ),
    "batch-norm-unfolded": lambda: batch_norm(apart=False),
    "bias-apart": lambda: through(("Add", "c b", "d"), constants={"b": normal(1, 32, 1, 1)}),
    "opset-old": lambda: conv(opset=11),
    "dynamic-axis": lambda: build([("Conv", "x w", "y")], {"w": W}, ["N", 32, "H", 8]),
    "wide-input": lambda: build([("Cast", "x", "y", {"to": F32})], None, [1, 8], TensorProto.INT64),
    "weights-beside": lambda: beside(2),
    "fp16-overflow": lambda: huge(7e4),
    "fp16-vanish": lambda: scaled(1e-8, 1e-6),
    "fp16-epsilon": lambda: norm(1e-12),
    "fp16-mask": lambda: attention(np.where(np.tri(8), 0, -1e9)),
    "qdq-integer-operator": lambda: build(
        [("QLinearConv", "x s z w s z s z", "y")],
        {**PAIR, "w": np.ones((32, 32, 3, 3), np.int8)},
        kind=I8,
        out_kind=I8,
    ),
    "qdq-unpaired": unpaired,
    "qdq-zero-point": lambda: quantized(constants={"z": np.int8(3)}),
    "qdq-unsigned": lambda: quantized(data=SMALL_Q),
    "qdq-missing": lambda: build([*pair("x", "d"), ("Conv", "d w", "y")], {**PAIR, "w": W}),
    "qdq-weight-scale": lambda: quantized(weights=int8_weight(axis=1)),
    "qdq-no-int8-kernel": lambda: build([*pair("x", "d"), ("Softmax", "d", "c"), *pair("c", "y")], PAIR),
    "qdq-residual": residual,
    "qdq-before-fusion": lambda: quantized(*pair("c", "e"), ("Relu", "e", "y")),
}

# The nearest model that is as it should be.
NEGATIVE = {
    "prelu-uniform": lambda: build([("Conv", "x w", "c"), ("LeakyRelu", "c", "y")], {"w": W}),
    "prelu-per-channel": lambda: build([("Conv", "x w", "c"), ("Elu", "c", "y")], {"w": W}),
    "channels-off-multiple": lambda: conv(64, 64),
    "noop": lambda: build([("Identity", "x", "y")]),  # an output needs a node
    "cast-removable": lambda: half(
        ("Conv", "x w", "c"),
        ("Cast", "c", "h", {"to": F32}),
        ("Exp", "h", "e"),
        ("Cast", "e", "y", {"to": F16}),
    ),
    "cast-rounds": lambda: build(
        [("Cast", "x", "l", {"to": F16}), ("Exp", "l", "e"), ("Cast", "e", "y", {"to": F32})]
    ),
    "cast-in-fusion": lambda: half(("Conv", "x w", "c"), ("Relu", "c", "y")),
    "transpose-pair": lambda: build(
        [
            ("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}),
            ("Relu", "t", "r"),
            ("Transpose", "r", "y", {"perm": [0, 3, 1, 2]}),
        ]
    ),
    "batch-norm-unfolded": lambda: batch_norm(apart=True),
    "bias-apart": lambda: build([("Conv", "x w b", "c"), ("Relu", "c", "y")], {"w": W, "b": normal(32)}),
    "opset-old": lambda: conv(opset=13),
    "dynamic-axis": lambda: build([("Conv", "x w", "y")], {"w": W}, ["N", 32, 8, 8]),
    "wide-input": lambda: build([("Cast", "x", "y", {"to": F32})], None, [1, 8], TensorProto.INT32),
    "weights-beside": lambda: beside(1),
    "fp16-overflow": lambda: huge(6e4),
    "fp16-vanish": lambda: scaled(4e-8, 1e-6),
    "fp16-epsilon": lambda: norm(1e-5),
    "fp16-mask": lambda: attention(np.where(np.tri(8), 0, -1e4)),
    "qdq-integer-operator": quantized,
    "qdq-unpaired": lambda: build([*pair("x", "d"), ("Abs", "d", "y")], PAIR),
    "qdq-zero-point": lambda: quantized(("Relu", "c", "y")),
    "qdq-unsigned": lambda: build(
        [("QuantizeLinear", "x s", "d_q", {"output_dtype": I8}), ("DequantizeLinear", "d_q s", "y")],
        {"s": np.float32(0.05)},
        opset=21,
    ),
    "qdq-missing": lambda: build(
        [
            *pair("x", "d"),
            ("Reshape", "d n", "f"),
            *int8_weight(axis=1, shape=(2048, 32), scales=32)[0],
            ("MatMul", "f wd", "y"),
        ],
        {**PAIR, **int8_weight(shape=(2048, 32))[1], "n": np.array([1, 2048])},
    ),
    "qdq-weight-scale": lambda: quantized(operator="ConvTranspose", weights=int8_weight(axis=1)),
    "qdq-no-int8-kernel": lambda: build([*pair("x", "d"), ("Relu", "d", "c"), *pair("c", "y")], PAIR),
    "qdq-residual": lambda: residual(*pair("x", "e")),
    "qdq-before-fusion": lambda: quantized(("Relu", "c", "e"), *pair("e", "y")),
}
