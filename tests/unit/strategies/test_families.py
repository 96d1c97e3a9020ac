"""Every drawn case is a valid model whose shapes are the ones that the case says."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, Phase, find, given, seed, settings
from onnx import numpy_helper

from pytest_trt.strategies import (
    batch_cases,
    conv_cases,
    conv_transpose_cases,
    draws,
    elementwise_cases,
    gemm_cases,
    motif_cases,
    pool_cases,
)

STRATEGIES = {
    "conv": conv_cases,
    "conv_transpose": conv_transpose_cases,
    "pool": pool_cases,
    "gemm": gemm_cases,
    "elementwise": elementwise_cases,
    "motif": motif_cases,
    "batch": batch_cases,
}
SMALLEST = {
    "conv": "conv1d-n1-c1-o1-i1-k1-t1-p0x0-d1-g1-b0-w_int-s0",
    "conv_transpose": "conv_transpose1d-n1-c1-o1-i1-k1-t1-p0x0-d1-g1-b0-e0-w_int-s0",
    "pool": "max_pool1d-n1-c1-i1-k1-t1-p0x0-z0-y0-w_int-s0",
    "gemm": "gemm-n1-k1-o1-ta0-tb0-al4-be4-b0-w_int-s0",
    "elementwise": "relu-n1-c1x1-f0-w_int-s0",
    "motif": "conv_bn_relu-n1-c1-o1-i1x1-k1-lo0-hi1-w_int-s0",
    "batch": "conv2d-n1-c1-o1-i1x1-k1x1-t1x1-p0x0x0x0-d1x1-g1-b0-q1x1x1-w_int-s0",
}


def drawn(strategy, count, number=0):
    """Return cases of a strategy, without shrinking; a filter that wastes draws is an error."""
    cases = []

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(strategy)
    def collect(case):
        cases.append(case)

    collect()
    assert cases
    return cases


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


@pytest.mark.parametrize("name", STRATEGIES)
def test_models_are_valid_and_have_the_shapes_of_their_case(name):
    for case in drawn(STRATEGIES[name](), 60):
        model = case.model()
        onnx.checker.check_model(model, full_check=True)
        rng = np.random.default_rng(0)
        data = {k: rng.standard_normal(s).astype(np.float32) for k, s in case.input_shapes.items()}
        out = session(model).run(None, data)[0]
        said = [d.dim_value or d.dim_param for d in model.graph.output[0].type.tensor_type.shape.dim]
        assert [case.batch if d == "N" else d for d in said] == list(out.shape), case
        assert case.flaw() is None
        assert 1 <= out.size <= 2 * draws.MAX_OUTPUTS, case
        assert np.isfinite(out).all(), case


@pytest.mark.parametrize("name", STRATEGIES)
def test_it_shrinks_to_the_smallest_case(name):
    small = find(STRATEGIES[name](), lambda case: True, settings=settings(database=None, derandomize=True))
    assert small.text == SMALLEST[name]


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_profile_holds_the_batch(name):
    spans = [case.span for case in drawn(STRATEGIES[name](), 60) if case.span]
    assert spans
    for case in drawn(STRATEGIES[name](), 60):
        if case.span:
            low, opt, high = case.span
            assert low <= case.batch <= high and low <= opt <= high


class TestCoverage:
    """What the families promise to reach, within one run at the standard budget."""

    @pytest.fixture
    def convs(self):
        return drawn(conv_cases(), 300, number=1)

    def test_each_number_of_dimensions_and_each_variant(self, convs):
        assert {case.dims for case in convs} == {1, 2, 3}
        wanted = {"plain", "pointwise", "dilated", "grouped", "depthwise", "patch"}
        assert {case.variant for case in convs} == wanted

    def test_dims_can_be_chosen(self):
        assert {case.dims for case in drawn(conv_cases(dims=(2,)), 20)} == {2}
        assert {case.dims for case in drawn(pool_cases(dims=(3,)), 20)} == {3}
        assert {case.dims for case in drawn(conv_transpose_cases(dims=(1,)), 20)} == {1}

    def test_geometry(self, convs):
        assert any(len(set(case.stride)) > 1 for case in convs), "unequal strides"
        half = [(case.pads[: case.dims], case.pads[case.dims :]) for case in convs]
        assert any(begin != end for begin, end in half), "asymmetric pads"
        assert any(case.kernel == case.stride and case.kernel[0] == 14 for case in convs)
        assert any(case.stride[0] > 1 and case.dilation[0] > 1 for case in convs)
        assert {case.bias for case in convs} == {True, False}
        assert {case.weights for case in convs} == {"int", "real", "grid"}

    def test_channels_around_vector_widths(self, convs):
        channels = Counter(case.channels // case.groups for case in convs)
        filters = Counter(case.filters for case in convs)
        for around in (8, 16, 32, 64):
            assert {around - 1, around, around + 1} & (channels.keys() | filters.keys())

    def test_cost_is_bounded(self, convs):
        for case in convs:
            assert case.fan_in <= draws.MAX_SUM
            assert draws.volume(case.output_shape) <= draws.MAX_OUTPUTS

    def test_deconvolutions_with_output_padding_and_with_stride_and_dilation_at_once(self):
        cases = drawn(conv_transpose_cases(), 200, number=1)
        assert any(any(case.output_padding) for case in cases)
        assert any(max(case.stride) > 1 and max(case.dilation) > 1 for case in cases)
        assert {case.dims for case in cases} == {1, 2, 3}
        for case in cases:
            assert all(e < s for e, s in zip(case.output_padding, case.stride, strict=True))

    def test_pools(self):
        cases = drawn(pool_cases(), 300, number=1)
        assert {case.operator for case in cases} == {"MaxPool", "AveragePool", "GlobalAveragePool"}
        assert {case.variant for case in cases} == {"plain", "padded", "ceil"}
        floor = [case.replace(ceil=False) for case in cases if case.ceil]
        grown = [a for a, b in zip(floor, (c for c in cases if c.ceil), strict=True) if a != b]
        assert any(a.output_shape != a.replace(ceil=True).output_shape for a in grown), "ceil_mode matters"
        assert any(case.include and any(case.pads) for case in cases)

    def test_no_pool_window_lies_in_padding_alone(self):
        for case in drawn(pool_cases(), 200, number=2):
            for a, (i, k, s) in enumerate(zip(case.extents, case.kernel, case.stride, strict=False)):
                start = (case.output_shape[2 + a] - 1) * s - case.pads[a]
                assert start < i and k - case.pads[a] > 0, case

    def test_matrix_products(self):
        cases = drawn(gemm_cases(), 300, number=1)
        variants = {(case.family, case.variant) for case in cases}
        assert variants == {
            ("gemm", "plain"),
            ("gemm", "scaled"),
            ("gemm", "transposed"),
            ("matmul", "plain"),
            ("matmul", "stacked"),
            ("matmul", "batched"),
        }
        assert any(getattr(case, "trans_b", False) for case in cases)

    def test_elementwise_operators_and_motifs(self):
        kinds = {case.family for case in drawn(elementwise_cases(), 2400, number=3)}
        assert kinds == set(drawn(elementwise_cases(), 1)[0].families)
        motifs = {case.family for case in drawn(motif_cases(), 200, number=1)}
        assert motifs == set(drawn(motif_cases(), 1)[0].families)

    def test_batches(self):
        cases = drawn(batch_cases(), 200, number=1)
        assert {case.batch for case in cases} == {1, 7, 8, 9, 31, 32, 33, 39, 40, 41, 64}
        assert any(case.span[0] < case.batch < case.span[2] for case in cases)
        assert any(len(set(case.span)) == 3 for case in cases)


@pytest.mark.parametrize("name", ["conv", "conv_transpose"])
def test_no_output_is_made_of_padding_alone(name):
    for case in drawn(STRATEGIES[name](), 400, number=11):
        model = case.replace(weights="int", bias=False, channels=case.groups, filters=case.groups).model()
        shape = (case.batch, case.groups, *case.extents)
        data = {"x": np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)}
        assert np.any(session(model).run(None, data)[0] != 0), case


def test_gemm_weights_lie_as_the_transpose_says():
    for case in drawn(gemm_cases(), 100):
        if case.family == "gemm":
            wide = numpy_helper.to_array(case.model().graph.initializer[0]).shape
            assert wide == ((case.outer, case.inner) if case.trans_b else (case.inner, case.outer))


def test_no_softmax_runs_over_one_element():
    cases = [case for case in drawn(elementwise_cases(), 600, number=77) if case.family == "softmax"]
    assert cases
    assert all(case.shape[case.form - 1] > 1 for case in cases)


@pytest.mark.parametrize("amplitude", [1.0, 8.0])
def test_no_motif_is_dead(amplitude):
    for case in drawn(motif_cases(), 300, number=5):
        wide = case.replace(batch=64, span=())
        rng = np.random.default_rng(0)
        data = rng.uniform(-amplitude, amplitude, wide.input_shapes["x"]).astype(np.float32)
        out = session(wide.model()).run(None, {"x": data})[0]
        assert np.any(out != out.reshape(-1)[0]), case
