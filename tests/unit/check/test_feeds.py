from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from pytest_trt.check.feeds import check_feeds, draw_feeds, profile_for, scale_of, shapes_for
from pytest_trt.check.graph import Graph
from pytest_trt.errors import InputError, ProfileError
from pytest_trt.numerics.battery import Scale
from tests.unit.check.models import PROFILE, conv_model

GRAPH = Graph(conv_model())


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"z": np.zeros((1, 3, 6, 6), np.float32)}, "no input 'z'"),
        ({}, "no data for input 'x'"),
        ({"x": np.zeros((1, 3, 6, 6))}, "dtype float64, the model wants float32"),
        ({"x": np.zeros((1, 4, 6, 6), np.float32)}, r"shape \(1, 4, 6, 6\), the model wants \(N, 3, 6, 6\)"),
        ({"x": np.zeros((3, 6, 6), np.float32)}, "the model wants"),
    ],
)
def test_wrong_inputs_are_named(inputs, words):
    with pytest.raises(InputError, match=words):
        check_feeds(GRAPH, inputs)


def test_dynamic_dimensions_without_sizes_are_refused_with_the_way_out():
    with pytest.raises(InputError, match="dynamic dimensions") as caught:
        shapes_for(GRAPH, None, None)
    assert "profile={'x': (min, opt, max)}" in str(caught.value)


def test_shapes_come_from_the_call_then_the_profile():
    assert shapes_for(GRAPH, {"x": (7, 3, 6, 6)}, PROFILE) == {"x": (7, 3, 6, 6)}
    assert shapes_for(GRAPH, None, PROFILE) == {"x": (4, 3, 6, 6)}


def test_a_profile_is_made_around_the_inputs_with_batches_from_one():
    assert profile_for(GRAPH, {"x": (5, 3, 6, 6)}, None) == {"x": ((1, 3, 6, 6), (5, 3, 6, 6), (5, 3, 6, 6))}


def test_a_shape_outside_the_profile_is_refused():
    with pytest.raises(ProfileError, match=r"shape \(9, 3, 6, 6\), outside the profile"):
        profile_for(GRAPH, {"x": (9, 3, 6, 6)}, PROFILE)


def test_a_profile_for_no_input_is_refused():
    with pytest.raises(ProfileError, match="names 'z'"):
        profile_for(GRAPH, {"x": (1, 3, 6, 6)}, {"z": PROFILE["x"]})


def test_the_scale_is_that_of_the_weights():
    found = scale_of(GRAPH)
    weight = np.abs(GRAPH.constant("w").mid)
    assert found.gain == weight.sum(axis=(1, 2, 3)).max()


def test_no_data_is_invented_for_integer_inputs():
    model = conv_model()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(InputError, match="no data can be drawn"):
        draw_feeds(Graph(model), {"x": (1, 3, 6, 6)}, "normal", "fp32", Scale(), {}, np.random.default_rng(0))
