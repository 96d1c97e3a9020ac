from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_trt.errors import SettingsError
from pytest_trt.strategies import (
    Case,
    ConvCase,
    MotifCase,
    batch_cases,
    conv_cases,
    conv_transpose_cases,
    elementwise_cases,
    gemm_cases,
    motif_cases,
    pool_cases,
)

CONV = "conv2d-n2-c3-o4-i8x9-k3x3-t1x2-p0x1x1x0-d1x1-g1-b1-w_int-s7"
anything = st.one_of(
    conv_cases(),
    conv_transpose_cases(),
    pool_cases(),
    gemm_cases(),
    elementwise_cases(),
    motif_cases(),
    batch_cases(),
)


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(anything)
def test_a_case_and_its_text_say_the_same(case):
    assert case.text.isascii() and " " not in case.text
    again = Case.parse(case.text)
    assert again == case and type(again) is type(case) and again.text == case.text


@settings(max_examples=30, deadline=None, database=None, derandomize=True)
@given(anything)
def test_equal_cases_give_equal_bytes(case):
    assert case.model().SerializeToString() == Case.parse(case.text).model().SerializeToString()


def test_a_text_is_read_field_by_field():
    case = Case.parse(CONV)
    assert isinstance(case, ConvCase)
    assert (case.family, case.dims, case.batch, case.channels, case.filters) == ("conv2d", 2, 2, 3, 4)
    assert (case.extents, case.kernel, case.stride, case.pads) == ((8, 9), (3, 3), (1, 2), (0, 1, 1, 0))
    assert (case.bias, case.weights, case.seed, case.span, case.profile) == (True, "int", 7, (), None)
    assert case.text == CONV


def test_negative_numbers_survive():
    case = Case.parse("conv_clip-n1-c1-o1-i1x1-k1-lom1-hi6-w_int-s0")
    assert isinstance(case, MotifCase) and case.low == -1
    assert "-lom1-" in case.text


def test_the_profile_follows_the_span():
    case = Case.parse(CONV.replace("-w_int", "-q1x2x8-w_int"))
    assert case.profile == {"x": ((1, 3, 8, 9), (2, 3, 8, 9), (8, 3, 8, 9))}
    assert case.model().graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert case.model().graph.output[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert Case.parse(CONV).model().graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2


def test_a_failing_test_prints_the_line_that_replays_it():
    assert repr(Case.parse(CONV)) == f"Case.parse({CONV!r})"


def test_a_field_can_be_changed():
    assert Case.parse(CONV).replace(seed=8).text == CONV.replace("s7", "s8")


class TestRefusals:
    def test_an_unknown_family_names_the_nearest(self):
        with pytest.raises(SettingsError, match="no case family 'conf2d'") as caught:
            Case.parse("conf2d-n1")
        assert "did you mean 'conv2d'?" in str(caught.value) and "matmul" in str(caught.value)

    def test_nothing_like_a_family(self):
        with pytest.raises(SettingsError, match="no case family ''"):
            Case.parse("")

    @pytest.mark.parametrize("part", ["zz9", "c", "c_", "C3", "c3.5"])
    def test_a_part_that_the_family_does_not_have(self, part):
        with pytest.raises(SettingsError, match="conv2d"):
            Case.parse(CONV + "-" + part)

    def test_a_missing_part(self):
        with pytest.raises(SettingsError, match="part 'c' is missing"):
            Case.parse(CONV.replace("-c3", ""))

    @pytest.mark.parametrize(
        "text, why",
        [
            (CONV.replace("-k3x3", ""), "2 numbers in i, k, t, d"),
            (CONV.replace("-c3", "-c0"), "start at 1"),
            (CONV.replace("-g1", "-g2"), "do not divide into 2 groups"),
            (CONV.replace("-i8x9", "-i1x1"), "the output would have extents"),
            (CONV.replace("n2", "n0"), "the batch is empty"),
            (CONV.replace("w_int", "w_odd"), "one of int, real, grid, not 'odd'"),
            (CONV.replace("-w_int", "-q3x2x1-w_int"), "is not min <= opt <= max"),
            ("conv_transpose1d-n1-c1-o1-i1-k1-t1-p0x0-d1-g1-b0-e0x0-w_int-s0", "1 numbers in e"),
            ("max_pool1d-n1-c1-i1-k1-t1-p0-z0-y0-w_int-s0", "2 in p"),
            ("max_pool1d-n1-c1-i1x1-k1-t1-p0x0-z0-y0-w_int-s0", "1 extents"),
            ("max_pool1d-n1-c1-i1-k4-t1-p0x0-z0-y0-w_int-s0", "the output would have shape"),
            ("gemm-n1-k0-o1-ta0-tb0-al4-be4-b0-w_int-s0", "at least 1"),
            ("gemm-n1-k1-o1-ta1-tb0-al4-be4-b0-q1x1x1-w_int-s0", "there is no profile"),
            ("matmul-n1-m0-k1-o1-i1-w_int-s0", "two inputs need m"),
            ("matmul-n1-m0-k0-o1-i0-w_int-s0", "at least 1"),
            ("relu-n1-c0x1-f0-w_int-s0", "has no elements"),
            ("concat-n1-c1-f0-w_int-s0", "channels of its second input"),
            ("softmax-n1-c1-f2-w_int-s0", "an axis from 1 to 1"),
            ("conv_clip-n1-c1-o1-i1x1-k2-lo0-hi1-w_int-s0", "is even"),
            ("conv_clip-n1-c1-o1-k1-lo0-hi1-w_int-s0", "2 extents"),
        ],
    )
    def test_a_case_without_a_model_says_why(self, text, why):
        with pytest.raises(SettingsError, match="is not possible") as caught:
            Case.parse(text)
        assert why in str(caught.value)

    @pytest.mark.parametrize("old, new", [("-c3", "-c3x4"), ("-w_int", "-w3"), ("-k3x3", "-k_three")])
    def test_a_value_of_another_kind(self, old, new):
        with pytest.raises(SettingsError, match="value of the wrong kind"):
            Case.parse(CONV.replace(old, new))
