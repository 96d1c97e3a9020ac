"""Each fault of the pair score changes the output where it applies, and nothing where it does not."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.emulator.faults import FAULTS
from pytest_trt.emulator.faults.registry import CONTRACTS

from .fault_subjects import Net, Run, changes, outputs

CONV = Net()
PLAIN = Net(kernel=(1, 1), pads=(0, 0, 0, 0))
GEMM = Net(op="Gemm", channels=40)
EIGHT = Net(channels=8, outputs=8)
HALF = Net(precision="fp16")
BF16 = Net(precision="bf16")
INT8 = Net(precision="int8", then=("QDQ",))
RELU = Net(then=("Relu",))
ADD = Net(then=("Add",))
ADD_RELU = Net(then=("Add", "Relu"))
GROUPS = Net(channels=6, outputs=4, group=2)
# 12 terms, small numbers: sums within 2**10 are exact in any order and in 11 bits.
EXACT16 = Net(precision="fp16", data="ints", channels=3, kernel=(2, 2))

# Fault: where it shows, and where it must not.
SUBJECTS = {
    "pad_off_by_one": (CONV, GEMM),
    "pad_off_by_one_w_only": (PLAIN, GEMM),
    "pad_asym_ignored": (CONV.but(pads=(0, 1, 2, 1)), CONV),
    "pads_swapped": (CONV.but(pads=(0, 1, 2, 1)), CONV),
    "dilation_ignored": (CONV.but(dilations=(2, 1)), CONV),
    "dilation_hw_swapped": (CONV.but(dilations=(2, 1)), CONV.but(dilations=(2, 2))),
    "stride_hw_swapped": (CONV.but(strides=(2, 1)), CONV.but(strides=(2, 2))),
    "kernel_flip_180": (CONV, PLAIN),
    "weight_layout_ohwi": (CONV, PLAIN),
    "input_nhwc_as_nchw": (CONV, CONV.but(channels=1)),
    "output_nhwc_as_nchw": (CONV, CONV.but(outputs=1)),
    "wrong_profile_row_pitch": (CONV, GEMM),
    "pad_hw_swapped": (CONV.but(pads=(0, 1, 0, 1)), CONV),
    "pad_value_one": (CONV, PLAIN),
    "pad_replicate": (CONV, PLAIN),
    "kernel_transposed": (CONV, CONV.but(kernel=(3, 2))),
    "group_mapping_shifted": (GROUPS, CONV),
    "group_weights_neighbour": (GROUPS, CONV),
    "input_hw_transposed": (CONV.but(size=(6, 6)), CONV),
    "last_input_channel_dropped": (CONV, None),
    "k_tail_mod8_dropped": (CONV, EIGHT),
    "k_tail_mod32_dropped": (CONV, Net(channels=32, kernel=(1, 1), pads=(0,) * 4)),
    "last_k_block32_missing": (CONV, PLAIN),
    "one_k_index_dropped": (CONV, None),
    "k_slice_added_twice": (CONV, None),
    "tile16_misses_last_kblock": (CONV, PLAIN),
    "accumulator_not_cleared_tile16": (CONV, None),
    "uninit_pad_channels_added": (CONV, EIGHT),
    "uninit_pad_channels_nan": (CONV, EIGHT),
    "cin_permuted": (CONV, CONV.but(channels=1)),
    "last_taps_of_large_kernel_dropped": (
        CONV.but(size=(14, 28), kernel=(14, 14), strides=(14, 14), pads=(0,) * 4, channels=1),
        CONV.but(size=(14, 28), kernel=(13, 13), strides=(13, 13), pads=(0,) * 4, channels=1),
    ),
    "bias_omitted": (CONV, CONV.but(bias=False)),
    "bias_added_twice": (CONV, CONV.but(bias=False)),
    "bias_channel_shifted": (CONV, CONV.but(outputs=1)),
    "bias_omitted_on_channel_tail": (CONV, EIGHT),
    "bias_cast_to_bf16": (CONV, CONV.but(data="ints")),
    "relu_added": (CONV, RELU),
    "scale_off_1pct": (CONV, INT8),
    "scale_off_0p1pct": (CONV, INT8),
    "two_output_channels_swapped": (CONV, CONV.but(outputs=1)),
    "relu_dropped": (RELU, CONV),
    "relu_before_bias": (RELU, RELU.but(bias=False)),
    "leaky_relu_0p01": (RELU, CONV),
    "relu6_instead_of_relu": (RELU, CONV),
    "residual_omitted": (ADD, RELU),
    "residual_of_other_item": (ADD, ADD.but(batch=1)),
    "residual_after_relu": (ADD_RELU, ADD),
    "stale_output_whole": (CONV, None),
    "last_batch_row_stale": (CONV, CONV.but(batch=1)),
    "last_item_not_computed": (CONV, CONV.but(batch=1)),
    "batch_over_opt_repeats_first": (CONV, CONV.but(batch=1)),
    "batch_items_swapped": (CONV, CONV.but(batch=1)),
    "last_row_stale": (CONV, CONV.but(size=(1, 9), kernel=(1, 3), pads=(0,) * 4)),
    "last_column_zero": (CONV, None),
    "channel_tail_mod8_zero": (CONV, EIGHT),
    "tile16_from_neighbour": (CONV, None),
    "race_1pct_other_context": (CONV, None),
    "race_one_element_other_context": (CONV, None),
    "one_element_zero": (CONV, None),
    "one_element_neighbour": (CONV, None),
    "one_weight_sign_flipped": (CONV, None),
    "one_weight_low_bit_flipped": (CONV, INT8),
    "one_element_plus_1pct": (CONV, None),
    "one_element_1ulp": (HALF, CONV),
    "one_element_4ulp": (BF16, CONV),
    "one_element_64ulp32": (CONV, HALF),
    "one_element_1lsb": (INT8, CONV),
    "tf32_where_fp32_strict": (CONV, CONV.but(data="ints")),
    "bf16_inputs_where_more_promised": (CONV.but(precision="tf32"), BF16),
    "fp16_inputs_where_fp32_promised": (CONV, CONV.but(precision="tf32")),
    "fp16_accumulate_where_fp32_promised": (HALF, EXACT16),
    "fp16_block_accumulate_tc16": (HALF, EXACT16),
    "bf16_inputs_where_fp16_promised": (HALF, BF16),
    "fp8_weights_where_16bit_promised": (HALF, EXACT16),
    "bf16_accumulate_where_fp32_promised": (BF16, HALF),
    "fp8_acc_8_bits": (HALF, CONV),
    "output_truncated_not_rounded": (HALF, CONV),
    "output_ties_away": (HALF.but(data="ties"), EXACT16),
    "output_double_rounded_via_9bits": (BF16, EXACT16),
    "overflow_clipped_to_65504": (HALF.but(data="big"), HALF),
    "large_finite_becomes_inf": (HALF.but(data="big"), HALF),
    "subnormal_outputs_flushed": (HALF.but(data="tiny"), EXACT16),
    "subnormal_inputs_flushed": (HALF.but(data="tiny", batch=8), EXACT16),
    "per_tensor_scale_where_per_channel": (INT8, INT8.but(per_channel=False)),
    "int8_scale_of_neighbour_channel": (INT8, INT8.but(per_channel=False)),
    "weight_scales_along_wrong_axis": (INT8, INT8.but(per_channel=False)),
    "sum_saturates_before_scale": (INT8, CONV),
    "scale_off_by_1pct": (INT8, CONV),
    "stale_calibration_scale_20pct": (INT8, INT8.but(then=())),
    "output_zero_point_off_by_one": (INT8, CONV),
    "input_zero_point_off_by_one": (INT8, CONV),
    "saturation_wraps": (INT8, INT8.but(step=2.0)),
    "requant_truncates": (INT8, CONV),
    "requant_ties_away": (INT8.but(dyadic=True, bias=False, step=0.25), INT8.but(step=0.25)),
    "clip_minus127": (INT8.but(step=0.1), INT8.but(step=2.0)),
    "scale_in_fp16": (INT8.but(step=2.0, batch=16), CONV),
    "fixed_point_multiplier_8bit": (INT8, CONV),
    "int16_saturating_pairs": (INT8, CONV),
    "uint8_reinterpretation": (INT8, CONV),
    "relu_after_wrong_zero": (INT8.but(then=("Relu", "QDQ")), INT8),
    "bias_not_rescaled": (INT8, INT8.but(bias=False)),
    "nan_swallowed_to_zero": (CONV.but(data="special"), CONV),
    "inf_becomes_nan": (CONV.but(data="special"), CONV),
    "inf_becomes_max_finite": (CONV.but(data="special"), CONV),
}  # fmt: skip

# The faults of the pair score as it was first measured; the others came later.
HUNDRED = set(SUBJECTS) - {
    "last_taps_of_large_kernel_dropped",
    "large_finite_becomes_inf",
    "weight_scales_along_wrong_axis",
    "sum_saturates_before_scale",
}


def test_the_hundred_faults_of_the_pair_score_are_registered():
    assert len(HUNDRED) == 100
    assert {name for name, entry in FAULTS.items() if entry.is_pair} == set(SUBJECTS)


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_fault_shows_where_it_applies(name):
    assert changes(SUBJECTS[name][0], FAULTS[name].call)


@pytest.mark.parametrize("name", [name for name, (_, silent) in SUBJECTS.items() if silent])
def test_a_fault_changes_no_bit_where_it_does_not_apply(name):
    assert not changes(SUBJECTS[name][1], FAULTS[name].call)


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_fault_leaves_type_and_shape_of_any_network(name):
    line = CONV.but(size=(9,), kernel=(3,), pads=(1, 1), strides=(1,), dilations=(1,))
    for net in (GEMM, CONV.but(op="ConvTranspose"), line, CONV.but(data="special"), BF16, INT8):
        changes(net, FAULTS[name].call, runs=2)


def test_every_fault_says_what_the_wrong_kernel_does():
    for entry in FAULTS.values():
        assert entry.call.__doc__ and entry.call.__doc__.strip().endswith("."), entry.name
        assert entry.contracts <= set(CONTRACTS)


TAILS = [("k_tail_mod8_dropped", 40), ("k_tail_mod32_dropped", 32), ("last_k_block32_missing", 13)]


@pytest.mark.parametrize(("name", "kept"), TAILS)
def test_the_tail_of_the_sum_is_dropped_and_nothing_else(name, kept):
    net = Net(channels=45, kernel=(1, 1), pads=(0,) * 4, data="ints")
    np.testing.assert_array_equal(outputs(net, FAULTS[name].call), _with_zeroed(net, kept))


def _with_zeroed(net, kept):
    seen = {}

    def spy(site):
        if site.kind == "node":
            seen.update(site.inputs)

    Run(net, spy)
    x = seen["x"].copy()
    x[:, kept:] = 0
    return np.einsum("nchw,mc->nmhw", x, seen["w"][:, :, 0, 0]) + seen["b"][:, None, None]


def test_elements_that_a_fault_does_not_touch_keep_their_bits():
    """What lies in the pads touches the border alone."""
    net = CONV.but(precision="fp16")
    honest, got = outputs(net), outputs(net, FAULTS["pad_value_one"].call)
    assert honest[:, :, 1:-1, 1:-1].tobytes() == got[:, :, 1:-1, 1:-1].tobytes()
    assert (honest != got)[:, :, 0].all()


@pytest.mark.parametrize("name", ["k_slice_added_twice", "pad_off_by_one", "cin_permuted", "kernel_flip_180"])
def test_a_wrong_sum_of_infinities_is_no_number_only_where_it_ought_to_be(name):
    """Channels without an infinity stay finite: 0 x inf is not computed where nothing is read."""
    net = CONV.but(data="special", batch=3)
    got = outputs(net, FAULTS[name].call)
    assert np.isfinite(got[2]).all() and not np.isfinite(got[0]).all()


@pytest.mark.parametrize(("name", "count"), [("race_one_element_other_context", 1), ("one_element_zero", 1),
                                              ("one_element_neighbour", 1), ("one_element_plus_1pct", 1)])  # fmt: skip
def test_one_element_is_one_element(name, count):
    for seed in range(5):
        got = outputs(CONV, FAULTS[name].call, seed=seed)
        assert np.count_nonzero(got != outputs(CONV, seed=seed)) == count


@pytest.mark.parametrize(("net", "name", "units"), [(HALF, "one_element_1ulp", 1), (HALF, "one_element_4ulp", 4),
                                                     (CONV, "one_element_64ulp32", 64)])  # fmt: skip
def test_one_element_is_off_by_so_many_units(net, name, units):
    honest, got = outputs(net), outputs(net, FAULTS[name].call)
    kind = (np.float16, np.int16) if net is HALF else (np.float32, np.int32)
    steps = np.abs(got.astype(kind[0]).view(kind[1]).astype(int) - honest.astype(kind[0]).view(kind[1]))
    assert sorted(steps[steps > 0]) == [units]


def test_a_stale_output_is_the_one_of_the_run_before():
    stale = FAULTS["stale_output_whole"].call
    assert not outputs(CONV, stale).any()
    second = outputs(CONV, lambda site: stale(site) if site.run_index else None, runs=2)
    np.testing.assert_array_equal(second, outputs(CONV))
