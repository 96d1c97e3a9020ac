"""What FP32 values alone say of 16 bits: overflow, underflow, and where infinities go."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pytest_trt.check.graph import Graph
from pytest_trt.check.half_range import (
    activations,
    count_lost,
    forecast,
    measure_reach,
    twin_of,
    weight_reaches,
)
from tests.unit.check.models import make_model


def test_magnitudes_are_sorted_into_the_ranges_of_fp16():
    values = [0, 70000, -65504, 65505, 2.0**-25, -(2.0**-24), 2.0**-15, 2.0**-14, 1, np.inf, np.nan]
    reach = measure_reach("t", np.array(values, np.float32))
    assert (reach.total, reach.amax) == (11, 70000)
    assert (reach.overflow, reach.vanish, reach.subnormal) == (2, 1, 2)
    assert reach.share(reach.overflow) == 2 / 11


def test_bf16_reaches_as_far_as_fp32():
    values = np.array([70000, 1e38, 3.4e38, 2.0**-25, 1e-38, 0], np.float32)
    reach = measure_reach("t", values, "bf16")
    assert (reach.overflow, reach.vanish, reach.subnormal) == (1, 0, 1)


def test_an_empty_tensor_and_one_without_numbers_reach_nowhere():
    empty = measure_reach("t", np.zeros((0, 3), np.float32))
    assert (empty.total, empty.amax, empty.share(0)) == (0, 0.0, 0.0)
    assert measure_reach("t", np.array([np.nan, np.inf])).amax == 0.0


def model():
    nodes = [
        helper.make_node("Mul", ["w", "w"], ["ww"], name="constant"),
        helper.make_node("Mul", ["x", "ww"], ["a"], name="grow"),
        helper.make_node("Identity", ["a"], ["same"], name="identity"),
        helper.make_node("Relu", ["same"], ["r"], name="relu"),
        helper.make_node("Sub", ["r", "a"], ["d"], name="sub"),
        helper.make_node("Shape", ["d"], ["shape"], name="shape"),
        helper.make_node("Sigmoid", ["a"], ["s"], name="sigmoid"),
        helper.make_node("Reshape", ["s", "shape"], ["y"], name="reshape"),
    ]
    w = np.array([[300.0, -300.0, 1.0, 0.0]], np.float32)
    return make_model(nodes, (1, 4), {"w": w, "far": np.full(3, 1e5, np.float32)})


def test_activations_depend_on_inputs_and_are_read():
    assert activations(Graph(model())) == ("a", "r", "d", "s", "y")
    assert "ww" not in activations(Graph(model()))


def test_infinities_are_foreseen_where_they_go_and_where_they_end():
    x = np.array([[1.0, -1.0, 2.0, 3.0]], np.float32)
    seen = forecast(Graph(model()), {"x": x})
    assert np.isfinite([*seen.want["a"], *seen.want["d"]]).all()
    assert seen.stored["a"].tolist() == [[np.inf, -np.inf, 2.0, 0.0]]
    assert seen.stored["r"].tolist() == [[np.inf, 0.0, 2.0, 0.0]]
    assert np.isnan(seen.stored["d"][0, 0]) and seen.stored["d"][0, 1] == np.inf
    assert seen.stored["y"][0, :2].tolist() == [1.0, 0.0]
    lost = {name: count_lost(seen.stored[name], seen.want[name]) for name in ("a", "r", "d", "y")}
    assert lost == {"a": 2, "r": 1, "d": 2, "y": 0}


def test_a_store_rounds_and_computes_in_fp32():
    x = np.array([[1 + 2.0**-12, 0, 1 + 2.0**-11 + 2.0**-20, 0]], np.float32)
    stored = forecast(Graph(model()), {"x": x}).stored["a"]
    assert stored[0, 2] == 1 + 2.0**-10 and stored.dtype == np.float32


@pytest.mark.parametrize("precision", ["bf16"])
def test_bf16_loses_no_range(precision):
    seen = forecast(Graph(model()), {"x": np.ones((1, 4), np.float32)}, precision)
    assert np.isfinite(seen.stored["a"]).all() and seen.stored["a"][0, 0] == 90112.0


def test_constants_that_are_read_are_weighed():
    found = {reach.tensor: reach for reach in weight_reaches(Graph(model()))}
    assert set(found) == {"w"} and found["w"].amax == 300


def test_other_shapes_have_lost_nothing():
    assert count_lost(np.full(2, np.nan), np.ones(3)) == 0


@pytest.mark.parametrize(
    ("there", "twin"), [({"a"}, "a"), ({"a_fp32"}, "a_fp32"), ({"a", "a_fp32"}, "a"), ({"b"}, None)]
)
def test_a_tensor_is_found_by_its_name_in_the_typed_graph(there, twin):
    assert twin_of("a", there) == twin
