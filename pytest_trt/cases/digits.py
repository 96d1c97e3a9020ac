"""A small classifier of handwritten digits, trained here: to measure what a bad INT8 calibration costs and who sees it.

The 1797 images of 8 x 8 pixels, 0 to 16, are those that scikit-learn ships: E. Alpaydin and C. Kaynak, "Optical Recognition of
Handwritten Digits", UCI Machine Learning Repository, 1998. Their file is found and read; scikit-learn is not imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.errors import ModelError
from pytest_trt.records import Missing

Array = NDArray[Any]
Weights = dict[str, Array]

CLASSES = 10
_REASON = "scikit-learn, which ships them, is not installed"
_MEND = 'pip install "scikit-learn>=1.1"'
_SIZE = 8
_CHANNELS = (8, 16)
_BATCH = 16  # larger ones make BLAS start threads, and take longer
# Adam, as D. P. Kingma and J. Ba give it (2015), with their constants.
_RATE, _FIRST, _SECOND, _TINY = 5e-3, 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Digits:
    """A trained classifier and its data.

    Attributes
    ----------
    model : ModelProto
        float32: input `x`, (N, 1, 8, 8), preprocessed; output `logits`, (N, 10).
    train, test : ndarray, shape (898 or 899, 1, 8, 8), float32
        Raw images, 0 to 16.
    train_labels, test_labels : ndarray, shape (898 or 899,), int64
    mean, std : float
        Of the training images over 16.
    """

    model: ModelProto
    train: Array
    train_labels: Array
    test: Array
    test_labels: Array
    mean: float
    std: float

    def preprocess(self, raw: Array) -> Array:
        """Return raw images as the model wants them: (raw / 16 - mean) / std, float32."""
        scaled = raw.astype(np.float32) / np.float32(16)
        made: Array = (scaled - np.float32(self.mean)) / np.float32(self.std)
        return made


def find_digits_lack() -> Missing | None:
    """Return what is missing for the digits and how to get it, None if nothing is."""
    return None if _find_file() else Missing("digits", _REASON, _MEND)


def _find_file() -> Path | None:
    spec = find_spec("sklearn")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            return path
    return None


def train_digits(seed: int, epochs: int = 20) -> Digits:
    """Return a classifier of digits, trained in numpy in a second or two.

    Parameters
    ----------
    seed : int
        Of the split in halves, the first weights and the order of the images; an odd one swaps the halves of the even one
        before it.
    epochs : int

    Raises
    ------
    ModelError
        scikit-learn is not installed.
    """
    path = _find_file()
    if path is None:
        raise ModelError(
            "the digits are not here, so no classifier can be trained",
            why=_REASON,
            mend=_MEND,
        )
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    images = table[:, :-1].reshape(-1, 1, _SIZE, _SIZE)
    labels = table[:, -1].astype(np.int64)
    order = np.random.default_rng(seed // 2).permutation(len(images))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    chosen, rest = halves if seed % 2 == 0 else halves[::-1]
    mean, std = float(images[chosen].mean() / 16), float(images[chosen].std() / 16)
    data = Digits(ModelProto(), images[chosen], labels[chosen], images[rest], labels[rest], mean, std)
    weights = _train(data.preprocess(data.train), data.train_labels, np.random.default_rng(seed), epochs)
    return Digits(_model(weights), data.train, data.train_labels, data.test, data.test_labels, mean, std)


def _train(x: Array, labels: Array, rng: np.random.Generator, epochs: int) -> Weights:
    first, second = _CHANNELS
    flat = second * (_SIZE // 4) ** 2
    shapes = {"w1": (first, 1, 3, 3), "w2": (second, first, 3, 3), "w3": (CLASSES, flat)}
    weights: Weights = {}
    for name, shape in shapes.items():
        fan = int(np.prod(shape[1:]))
        weights[name] = (rng.standard_normal(shape) * np.sqrt(2 / fan)).astype(np.float32)
        weights[name.replace("w", "b")] = np.zeros(shape[0], np.float32)
    moments = {name: (np.zeros_like(w), np.zeros_like(w)) for name, w in weights.items()}
    for steps, picked in enumerate(_batches(len(x), rng, epochs), 1):
        for name, gradient in _gradients(weights, x[picked], labels[picked]).items():
            m, v = moments[name]
            m += (1 - _FIRST) * (gradient - m)
            v += (1 - _SECOND) * (gradient**2 - v)
            ahead = np.sqrt(v / (1 - _SECOND**steps)) + _TINY
            weights[name] -= (_RATE * m / (1 - _FIRST**steps) / ahead).astype(np.float32)
    return weights


def _batches(count: int, rng: np.random.Generator, epochs: int) -> Iterator[Array]:
    for _ in range(epochs):
        order = rng.permutation(count)
        yield from (order[start : start + _BATCH] for start in range(0, count, _BATCH))


def _gradients(weights: Weights, x: Array, labels: Array) -> Weights:
    """Return the gradient of the mean cross-entropy in each weight."""
    columns1, a1 = _conv(x, weights["w1"], weights["b1"])
    p1, mask1 = _pool(a1)
    columns2, a2 = _conv(p1, weights["w2"], weights["b2"])
    p2, mask2 = _pool(a2)
    flat = p2.reshape(len(x), -1)
    logits = flat @ weights["w3"].T + weights["b3"]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    shares[np.arange(len(x)), labels] -= 1
    shares /= len(x)
    found = {"w3": shares.T @ flat, "b3": shares.sum(axis=0)}
    back = _unpool((shares @ weights["w3"]).reshape(p2.shape), mask2) * (a2 > 0)
    found["w2"] = np.einsum("nohw,nchwij->ocij", back, columns2, optimize=True)
    found["b2"] = back.sum(axis=(0, 2, 3))
    flipped = weights["w2"][:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    back, _ = _windows_times(back, flipped)
    back = _unpool(back, mask1) * (a1 > 0)
    found["w1"] = np.einsum("nohw,nchwij->ocij", back, columns1, optimize=True)
    found["b1"] = back.sum(axis=(0, 2, 3))
    return found


def _windows_times(x: Array, w: Array) -> tuple[Array, Array]:
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    columns = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", columns, w, optimize=True), columns


def _conv(x: Array, w: Array, b: Array) -> tuple[Array, Array]:
    y, columns = _windows_times(x, w)
    return columns, np.maximum(y + b[:, None, None], 0)


def _pool(x: Array) -> tuple[Array, Array]:
    n, c, h, w = x.shape
    tiles = x.reshape(n, c, h // 2, 2, w // 2, 2)
    best = tiles.max(axis=(3, 5), keepdims=True)
    return best[:, :, :, 0, :, 0], tiles == best


def _unpool(back: Array, mask: Array) -> Array:
    n, c, h, _, w, _ = mask.shape
    spread = back[:, :, :, None, :, None] * mask / mask.sum(axis=(3, 5), keepdims=True)
    made: Array = spread.reshape(n, c, 2 * h, 2 * w).astype(np.float32)
    return made


def _model(weights: Weights) -> ModelProto:
    pool: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["a1"], name="relu1"),
        helper.make_node("MaxPool", ["a1"], ["p1"], name="pool1", **pool),
        helper.make_node("Conv", ["p1", "w2", "b2"], ["c2"], name="conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["a2"], name="relu2"),
        helper.make_node("MaxPool", ["a2"], ["p2"], name="pool2", **pool),
        helper.make_node("Flatten", ["p2"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["logits"], name="classifier", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, _SIZE, _SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model
