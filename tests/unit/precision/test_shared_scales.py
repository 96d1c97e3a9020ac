"""One scale wherever data are only moved: Q and DQ commute, and nothing is requantised. Held against a real TensorRT-RTX."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pytest_trt.precision import measure_ranges, prepare
from pytest_trt.precision.int8 import _Inserter
from pytest_trt.records import Settings
from pytest_trt.runtime import BuildRequest, build_plan
from pytest_trt.runtime.load import find_builder
from pytest_trt.runtime.modules import RTX_COMMAND

from .models import build, value

C = 32
SQUARE = (C, C, 3, 3)


def conv(source, out, weight):
    return helper.make_node("Conv", [source, weight], [out], name=out, pads=[1, 1, 1, 1])


def relu(source, out):
    return helper.make_node("Relu", [source], [out], name=out)


def model_of(nodes, weights, size=8, out=8, others=()):
    rng = np.random.default_rng(0)
    constants = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in weights.items()}
    inputs, outputs = [value("x", [1, C, size, size])], [value("y", [1, C, out, out])]
    return build(nodes, inputs, outputs, {**constants, **dict(others)}, opset=17)


def concat():
    nodes = [conv("x", "a", "w0"), relu("a", "ra"), conv("x", "b", "w1"), relu("b", "rb")]
    nodes += [helper.make_node("Concat", ["ra", "rb"], ["c"], name="cat", axis=1), conv("c", "y", "w2")]
    return model_of(nodes, {"w0": SQUARE, "w1": SQUARE, "w2": (C, 2 * C, 3, 3)})


def resize(mode):
    middle = helper.make_node(
        "Resize",
        ["ra", "", "sizes"],
        ["r"],
        name="rs",
        mode=mode,
        coordinate_transformation_mode="asymmetric",
    )
    nodes = [conv("x", "a", "w0"), relu("a", "ra"), middle, conv("r", "y", "w1")]
    sizes = {"sizes": np.float32([1, 1, 2, 2])}
    return model_of(nodes, {"w0": SQUARE, "w1": SQUARE}, out=16, others=sizes)


def transpose():
    middle = helper.make_node("Transpose", ["ra"], ["t"], name="tr", perm=[0, 1, 3, 2])
    nodes = [conv("x", "a", "w0"), relu("a", "ra"), middle, conv("t", "y", "w1")]
    return model_of(nodes, {"w0": SQUARE, "w1": SQUARE})


def residual():
    nodes = [conv("x", "a", "w0"), relu("a", "ra"), conv("ra", "b", "w1")]
    nodes += [helper.make_node("Add", ["b", "ra"], ["s"], name="add"), relu("s", "t")]
    nodes += [helper.make_node("MaxPool", ["t"], ["m"], name="mp", kernel_shape=[2, 2], strides=[2, 2])]
    nodes += [conv("m", "y", "w2")]
    return model_of(nodes, {"w0": SQUARE, "w1": SQUARE, "w2": SQUARE}, out=4)


def ready(model, **ranges):
    feed = {"x": np.random.default_rng(1).standard_normal((1, C, 8, 8)).astype(np.float32)}
    return prepare(model, "int8", strong=True, ranges={**measure_ranges(model, [feed]), **ranges})


def test_what_is_concatenated_has_the_largest_range_of_all():
    scales = ready(concat(), ra=1.0, rb=3.0, c=2.0).scales
    assert scales["ra"] == scales["rb"] == scales["c"] == np.float32(3.0 / 127.0)


def test_every_part_of_a_split_shares_the_scale():
    nodes = [
        conv("x", "a", "w0"),
        helper.make_node("Split", ["a"], ["p", "q"], name="split", axis=1),
        conv("q", "b", "w1"),
        helper.make_node("Concat", ["p", "b"], ["y"], name="cat", axis=1),
    ]
    model = model_of(nodes, {"w0": SQUARE, "w1": (C // 2, C // 2, 3, 3)})
    scales = ready(model, a=1.0, q=4.0).scales
    assert scales["a"] == scales["q"] == np.float32(4.0 / 127.0)


@pytest.mark.parametrize(("model", "shared"), [(resize("nearest"), True), (resize("linear"), False)])
def test_interpolation_makes_values_of_its_own(model, shared):
    scales = ready(model, ra=1.0, r=2.0).scales
    assert (scales["ra"] == scales["r"]) == shared


def test_moved_data_keep_their_scale():
    scales = ready(transpose(), ra=1.0, t=2.0).scales
    assert scales["ra"] == scales["t"]


def test_an_input_without_a_pair_gets_none():
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["a"], name="sig"),
        helper.make_node("Concat", ["a", "x"], ["c"], name="cat", axis=1),
        conv("c", "y", "w0"),
    ]
    scales = ready(model_of(nodes, {"w0": (C, 2 * C, 3, 3)})).scales
    assert set(scales) == {"c", "w0", "y"}


@pytest.fixture(scope="module")
def rtx():
    found = find_builder(Settings(gpu="a10", log="VERBOSE"))
    if found is None:
        pytest.skip(f"TensorRT-RTX is not here: {RTX_COMMAND}")
    return found


def between(rtx, model, sm):
    """Return the layers of a real build that are neither products nor pools nor signals, first and last left out."""
    layers = build_plan(rtx, BuildRequest(model=ready(model).model.SerializeToString(), sm=sm)).layers
    return [layer for layer in layers if layer.kind == "kgen"][1:-1]


@pytest.mark.parametrize("sm", [80, 86, 89, 120])
@pytest.mark.parametrize(
    ("model", "count"), [(concat(), 1), (resize("nearest"), 1), (transpose(), 1), (residual(), 2)]
)
def test_a_real_build_has_one_kernel_between_products_and_requantises_nothing(rtx, model, count, sm):
    found = between(rtx, model, sm)
    assert len(found) == count, [layer.name for layer in found]
    for layer in found:
        assert set(layer.outputs) == {"int8"}
        # Rounding (`Roun`) is the last that happens to a value: behind it are only casts and what moves data.
        steps = layer.name.split("RounCast")
        assert "CastMul" not in steps[-1] and len(steps) - 1 == (2 if "Conc" in layer.name else 1), layer.name


def test_two_scales_at_a_concat_would_be_requantised(rtx, monkeypatch):
    monkeypatch.setattr(_Inserter, "_share_scales", lambda self: None)
    (layer,) = between(rtx, concat(), 80)
    assert "CastCastMul" in layer.name
