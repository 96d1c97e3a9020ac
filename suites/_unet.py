"""A small UNet with seeded weights, and images of plain surfaces: what the FP16 figures of TensorRT's FAQ are repeated on."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pytest_trt.precision.sessions import plain_session

SIZE, CHANNELS = 48, 24
# Shift of the batch normalisations, in standard deviations of the convolution: a channel detects something, so that it is on
# for few pixels, or off for few.
SHIFT = 2.0
# Grain of the surfaces, as a share of full brightness.
GRAIN = 0.02
_OBJECTS = 8


def images(seed: int = 0) -> np.ndarray:
    """Return one image, (1, 3, SIZE, SIZE) float32: plain surfaces with a little grain on them, and sharp edges between."""
    rng = np.random.default_rng(seed)
    page = np.broadcast_to(rng.uniform(0.4, 1, (3, 1, 1)), (3, SIZE, SIZE)).copy()
    for _ in range(_OBJECTS):
        top, left = rng.integers(0, SIZE - 4, 2)
        high, wide = rng.integers(6, SIZE // 2, 2)
        page[:, top : top + high, left : left + wide] = rng.uniform(0.1, 1, (3, 1, 1))
    grain = GRAIN * rng.standard_normal(page.shape)
    return (page + grain)[None].astype(np.float32)


class _Drawer:
    """Collects nodes and constants; a normalisation takes its statistics from the data that come to it."""

    def __init__(self, x: np.ndarray, shift: float, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 1])
        self.x, self.shift = x, shift
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def add(self, op: str, name: str, given: list[str], made: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, given, [made], name=name, **attributes))
        return made

    def block(self, number: int, source: str, width: int, *, centred: bool = False) -> str:
        """Add convolution, batch normalisation and ReLU; He initialisation (He et al., 2015, arXiv 1502.01852)."""
        w = self.rng.standard_normal((CHANNELS, width, 3, 3)) * np.sqrt(2 / (9 * width))
        if centred:  # A filter for edges: on a plain surface its terms cancel.
            w -= w.mean(axis=(1, 2, 3), keepdims=True)
        self.constants[f"w{number}"] = w.astype(np.float32)
        conv = self.add("Conv", f"conv{number}", [source, f"w{number}"], f"c{number}", pads=[1] * 4)
        seen = self.values(conv).astype(np.float64)
        sign = self.rng.choice([-1.0, 1.0], CHANNELS)
        statistics = {
            "scale": 1 + 0.1 * self.rng.standard_normal(CHANNELS),
            "shift": self.shift * sign * self.rng.uniform(0.75, 1.25, CHANNELS),
            "mean": seen.mean(axis=(0, 2, 3)),
            "variance": seen.var(axis=(0, 2, 3)),
        }
        names = [f"{name}{number}" for name in statistics]
        self.constants |= {
            name: value.astype(np.float32) for name, value in zip(names, statistics.values(), strict=True)
        }
        norm = self.add("BatchNormalization", f"bn{number}", [conv, *names], f"b{number}")
        return self.add("Relu", f"relu{number}", [norm], f"r{number}")

    def values(self, tensor: str) -> np.ndarray:
        """Return a tensor of the network so far."""
        session = plain_session(self.model(tensor))
        return np.asarray(session.run([tensor], {"x": self.x})[0])

    def model(self, output: str) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "unet",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.x.shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, None, None, None])],
            [numpy_helper.from_array(values, name) for name, values in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def unet(x: np.ndarray, *, shift: float = SHIFT, seed: int = 0) -> ModelProto:
    """Return an encoder and a decoder with a skip connection, `conv0` ... `conv3` each with `bn` and `relu`, and output `y`."""
    draw = _Drawer(x, shift, seed)
    skip = draw.block(1, draw.block(0, "x", 3, centred=True), CHANNELS)
    low = draw.add("MaxPool", "pool", [skip], "p", kernel_shape=[2, 2], strides=[2, 2])
    deep = draw.block(2, low, CHANNELS)
    draw.constants["by"] = np.array([1, 1, 2, 2], np.float32)
    up = draw.add(
        "Resize", "up", [deep, "", "by"], "u", mode="nearest", coordinate_transformation_mode="asymmetric"
    )
    both = draw.add("Concat", "skip", [up, skip], "s", axis=1)
    last = draw.block(3, both, 2 * CHANNELS)
    draw.constants["wh"] = (draw.rng.standard_normal((2, CHANNELS, 1, 1)) / np.sqrt(CHANNELS)).astype(
        np.float32
    )
    draw.add("Conv", "head", [last, "wh"], "y")
    return draw.model("y")


def loud(gain: float = 2.0**14) -> tuple[ModelProto, np.ndarray]:
    """Return a network that is finite in FP32 and leaves the range of FP16 in its first convolution, and an input.

    The convolution `conv` reaches a few times `gain`; an Inf survives `relu`, becomes NaN where `sub` takes it from itself, and
    nothing of it is left behind `sigmoid` of the other branch.
    """
    rng = np.random.default_rng(0)
    w = (gain * rng.standard_normal((4, 2, 3, 3))).astype(np.float32)
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="conv", pads=[1] * 4),
        node("Relu", ["c"], ["r"], name="relu"),
        node("Sub", ["r", "c"], ["d"], name="sub"),
        node("Sigmoid", ["c"], ["g"], name="sigmoid"),
        node("Mul", ["d", "tiny"], ["m"], name="mul"),
        node("Add", ["m", "g"], ["y"], name="add"),
    ]
    graph = helper.make_graph(
        nodes,
        "loud",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 16, 16])],
        [
            numpy_helper.from_array(w, "w"),
            numpy_helper.from_array(np.float32(2.0**-10).reshape(1, 1, 1, 1), "tiny"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model, rng.uniform(-1, 1, (1, 2, 16, 16)).astype(np.float32)
