from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from pytest_trt.check.feeds import check_feeds, check_profile, draw_feeds, profile_for, scale_of, shapes_for
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
        ([np.zeros((1, 3, 6, 6), np.float32)], "inputs of type list cannot be used"),
        (np.zeros((1, 3, 6, 6), np.float32), "inputs of type ndarray cannot be used"),
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
        check_profile(GRAPH, PROFILE | {"z": PROFILE["x"]})


def test_the_scale_is_that_of_the_weights():
    found = scale_of(GRAPH)
    weight = np.abs(GRAPH.constant("w").mid)
    assert found.gain == weight.sum(axis=(1, 2, 3)).max()


def test_no_data_is_invented_for_integer_inputs():
    model = conv_model()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(InputError, match="no data can be drawn"):
        draw_feeds(Graph(model), {"x": (1, 3, 6, 6)}, "normal", "fp32", Scale(), {}, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"z": (1, 3, 6, 6)}, "shapes name 'z', which is no input"),
        ({"x": (1, 4, 6, 6)}, r"shape \(1, 4, 6, 6\) of input 'x' is not the model's \(N, 3, 6, 6\)"),
        ({"x": (3, 6, 6)}, "is not the model's"),
    ],
)
def test_wrong_shapes_are_named(shapes, words):
    with pytest.raises(InputError, match=words):
        shapes_for(GRAPH, shapes, PROFILE)


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ({"z": PROFILE["x"]}, "names 'z'"),
        ({"x": PROFILE["x"][:2]}, r"needs \(min, opt, max\)"),
        ({"x": (1, 2, 3)}, r"needs \(min, opt, max\)"),
        ([PROFILE], "a profile of type list"),
        ({"x": PROFILE["x"][::-1]}, "is not min <= opt <= max"),
    ],
)
def test_a_wrong_profile_is_told_before_anything_is_made_of_it(profile, words):
    with pytest.raises(ProfileError, match=words):
        check_profile(GRAPH, profile)


def test_a_profile_of_lists_is_read():
    assert check_profile(GRAPH, {"x": [list(shape) for shape in PROFILE["x"]]}) == PROFILE
    assert check_profile(GRAPH, None) is None


def test_an_empty_batch_makes_a_profile_that_is_in_order():
    assert profile_for(GRAPH, {"x": (0, 3, 6, 6)}, None) == {"x": ((0, 3, 6, 6),) * 3}


def typed(kind):
    model = conv_model()
    model.graph.input[0].type.tensor_type.elem_type = kind
    return Graph(model)


def test_bfloat16_is_fed_as_float32_on_its_grid():
    graph = typed(TensorProto.BFLOAT16)
    given = check_feeds(graph, {"x": np.full((1, 3, 6, 6), 1 + 2.0**-9, np.float32)})["x"]
    assert given.dtype == np.float32 and np.all(given == 1)
    rng = np.random.default_rng(0)
    drawn = draw_feeds(graph, {"x": (1, 3, 6, 6)}, "uniform11", "fp32", Scale(), {}, rng)["x"]
    assert drawn.dtype == np.float32 and not np.any(drawn.view(np.uint32) & 0xFFFF)


def test_drawn_scalars_are_arrays():
    model = conv_model()
    del model.graph.input[0].type.tensor_type.shape.dim[:]
    drawn = draw_feeds(Graph(model), {"x": ()}, "uniform11", "fp32", Scale(), {}, np.random.default_rng(0))[
        "x"
    ]
    assert isinstance(drawn, np.ndarray) and drawn.shape == ()
