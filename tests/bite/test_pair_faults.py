"""Every fault of the pair score, at each precision whose contract forbids it, is refused by a check with a name."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest
from onnx import helper

from pytest_trt.check.workbench import Workbench
from pytest_trt.emulator.faults import FAULTS
from pytest_trt.records import PRECISIONS, Settings
from pytest_trt.runtime.load import discover
from tests.unit.check.models import make_model


@cache
def network(name):
    """Return a convolution and what follows it: `SUBJECTS` says how it differs from 11 channels, 3 x 3, integers."""
    made = {
        "channels": 11, "outputs": 11, "size": (6, 6), "kernel": (3, 3), "integer": True, "relu": False,
        "residual": False, "spread": False, "bias": 8, "own_scales": False, **SUBJECTS[name],
    }  # fmt: skip
    rng, kernel, group = np.random.default_rng(0), made["kernel"], made.get("group", 1)
    shape = (made["outputs"], made["channels"] // group, *kernel)
    w = rng.integers(1, 4, shape) * rng.choice([-1, 1], shape)
    b = rng.integers(min(1, made["bias"]), made["bias"] + 1, made["outputs"])
    if not made["integer"]:
        w, b = rng.standard_normal(shape) / 5, rng.standard_normal(made["outputs"]) * made["bias"]
    if made["spread"]:  # scales that differ from channel to channel
        w = w * rng.uniform(0.2, 3, (made["outputs"], 1, 1, 1))
    named = ("pads", "strides", "dilations", "group")
    attributes = {"pads": [k // 2 for k in kernel] * 2} | {key: made[key] for key in named if key in made}
    constants = {"w": w.astype(np.float32), "b": b.astype(np.float32)}
    nodes = [helper.make_node("Conv", ["x", *constants], ["c"], name="conv", **attributes)]
    if made["residual"]:
        nodes.append(helper.make_node("Add", ["c", "x"], ["s"], name="add"))
    if made["relu"]:
        nodes.append(helper.make_node("Relu", [nodes[-1].output[0]], ["r"], name="relu"))
    if made["own_scales"]:
        return _requantised(nodes, constants, made)
    nodes[-1].output[0] = "y"
    item = (made["channels"], *made["size"])
    return make_model(nodes, ("N", *item), constants), {"x": ((1, *item), (4, *item), (8, *item))}


def _requantised(nodes, constants, made):
    """Return the network with Q/DQ of its own, whose scales are powers of two: quotients are exact, ties are decided."""
    scales = {
        "sx": np.float32(2**-7),
        "sw": np.ones(made["outputs"], np.float32),
        "sy": np.float32(0.25),
        "z": np.int8(0),
    }
    constants = {"w": constants["w"].astype(np.int8), "b": constants["b"], **scales}
    nodes[0].input[:] = ["xd", "wd", "b"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "z"], ["xq"], name="qx"),
        helper.make_node("DequantizeLinear", ["xq", "sx", "z"], ["xd"], name="dqx"),
        helper.make_node("DequantizeLinear", ["w", "sw"], ["wd"], name="dqw", axis=0),
        *nodes,
        helper.make_node("QuantizeLinear", [nodes[-1].output[0], "sy", "z"], ["yq"], name="qy"),
        helper.make_node("DequantizeLinear", ["yq", "sy", "z"], ["y"], name="dqy"),
    ]
    item = (made["channels"], *made["size"])
    return make_model(nodes, ("N", *item), constants), {"x": ((1, *item), (4, *item), (8, *item))}


SUBJECTS = {
    "plain": {},
    "floats": {"integer": False},
    "large bias": {"integer": False, "bias": 100},
    "one-sided": {"pads": [1, 0, 0, 1]},
    "rows padded": {"pads": [1, 0, 1, 0]},
    "dilated": {"dilations": [2, 1], "size": (8, 8)},
    "strided": {"strides": [2, 1]},
    "groups": {"channels": 6, "outputs": 10, "group": 2},
    "patches": {"channels": 1, "outputs": 4, "size": (28, 28), "kernel": (14, 14), "strides": [14, 14], "pads": [0] * 4},
    "relu": {"relu": True},
    "residual": {"residual": True},
    "residual relu": {"residual": True, "relu": True},
    "spread": {"spread": True},
    "no bias": {"integer": False, "bias": 0},
    "scales of its own": {"own_scales": True},
}  # fmt: skip

EXACT = ("certificate",)
LIMITS = ("certificate", "interval")
DEFAULT = ("plain", "int_small", EXACT)
# Fault: network, data, the checks of which one catches it; for all others `DEFAULT`.
ROWS = {
    "pad_asym_ignored": ("one-sided", "int_small", EXACT),
    "pads_swapped": ("one-sided", "int_small", EXACT),
    "pad_hw_swapped": ("rows padded", "int_small", EXACT),
    "dilation_ignored": ("dilated", "int_small", EXACT),
    "dilation_hw_swapped": ("dilated", "int_small", EXACT),
    "stride_hw_swapped": ("strided", "int_small", EXACT),
    "group_mapping_shifted": ("groups", "int_small", EXACT),
    "group_weights_neighbour": ("groups", "int_small", EXACT),
    "uninit_pad_channels_nan": ("plain", "int_small", ("nan",)),
    "last_taps_of_large_kernel_dropped": ("patches", "int_small", EXACT),
    "scale_off_0p1pct": ("floats", "uniform11", LIMITS),
    "bias_cast_to_bf16": ("large bias", "uniform11", LIMITS),
    "relu_dropped": ("relu", "int_small", EXACT),
    "leaky_relu_0p01": ("relu", "uniform11", LIMITS),
    "relu6_instead_of_relu": ("relu", "int_small", EXACT),
    "relu_before_bias": ("relu", "int_small", EXACT),
    "residual_omitted": ("residual", "int_small", EXACT),
    "residual_of_other_item": ("residual", "int_small", EXACT),
    "residual_after_relu": ("residual relu", "uniform11", LIMITS),
    "int8_scale_of_neighbour_channel": ("spread", "uniform11", LIMITS),
    "per_tensor_scale_where_per_channel": ("spread", "uniform11", LIMITS),
    "weight_scales_along_wrong_axis": ("spread", "uniform11", LIMITS),
    "sum_saturates_before_scale": ("spread", "uniform11", LIMITS),
    "scale_in_fp16": ("spread", "uniform11", LIMITS),
    "fixed_point_multiplier_8bit": ("spread", "uniform11", LIMITS),
    "saturation_wraps": ("scales of its own", "uniform11", EXACT),
    "requant_ties_away": ("scales of its own", "uniform11", EXACT),
    "clip_minus127": ("scales of its own", "uniform11", EXACT),
    "relu_after_wrong_zero": ("relu", "int_small", LIMITS),
    "tf32_where_fp32_strict": ("floats", "uniform11", LIMITS),
    "bf16_inputs_where_more_promised": ("plain", "int_wide", LIMITS),
    "fp16_inputs_where_fp32_promised": ("plain", "int_wide", LIMITS),
    "bf16_inputs_where_fp16_promised": ("plain", "int_wide", LIMITS),
    "fp8_weights_where_16bit_promised": ("floats", "uniform11", LIMITS),
    "fp16_accumulate_where_fp32_promised": ("floats", "uniform11", LIMITS),
    "fp16_block_accumulate_tc16": ("floats", "uniform11", LIMITS),
    "bf16_accumulate_where_fp32_promised": ("floats", "uniform11", LIMITS),
    "output_truncated_not_rounded": ("floats", "uniform11", LIMITS),
    "output_ties_away": ("plain", "int_ties", EXACT),
    "output_double_rounded_via_9bits": ("floats", "uniform11", LIMITS),
    "overflow_clipped_to_65504": ("floats", "big", LIMITS),
    "large_finite_becomes_inf": ("floats", "big", LIMITS),
    "subnormal_outputs_flushed": ("no bias", "tiny", LIMITS),
    "subnormal_inputs_flushed": ("no bias", "tiny", LIMITS),
    "nan_swallowed_to_zero": ("floats", "special", ("nan",)),
    "inf_becomes_nan": ("floats", "special", ("nan",)),
    "inf_becomes_max_finite": ("floats", "special", LIMITS),
}  # fmt: skip

# bfloat16 operators are of operator set 22.
OFFERED = [p for p in PRECISIONS if p != "bf16" or onnx.defs.onnx_opset_version() >= 22]
PAIRS = {name: entry for name, entry in FAULTS.items() if entry.is_pair}


def promises(name):
    """Return the precisions whose contract forbids a fault; `fp16acc` and `fp8` are offered by no runtime here."""
    return [precision for precision in OFFERED if precision in PAIRS[name].contracts]


SEEN = sorted({(*ROWS.get(name, DEFAULT)[:2], p) for name in PAIRS for p in promises(name)})


def workbench(fault=None):
    faults = (f"pytest_trt.emulator.faults:{fault}",) if fault else ()
    made = Settings(runtime="emulator", gpu="a100", faults=faults)
    return Workbench(made, discover(made))


def judge(bench, subject, data, precision):
    model, profile = network(subject)
    return bench.judge(model, precision=precision, profile=profile, data=(data,))


def test_the_table_names_no_fault_that_there_is_not():
    assert set(ROWS) <= set(PAIRS) and sum(len(promises(name)) for name in PAIRS) > 250


@pytest.mark.parametrize("name", [name for name in PAIRS if promises(name)])
def test_a_fault_is_refused_at_each_precision_that_forbids_it(name):
    subject, data, checks = ROWS.get(name, DEFAULT)
    bench = workbench(name)
    for precision in promises(name):
        verdict = judge(bench, subject, data, precision)
        assert not verdict.passed, precision
        assert {found.check for found in verdict.findings} & set(checks), precision


@pytest.mark.parametrize(("subject", "data"), sorted({row[:2] for row in SEEN}))
def test_without_a_fault_the_same_passes(subject, data):
    bench = workbench()
    for precision in [row[2] for row in SEEN if row[:2] == (subject, data)]:
        assert judge(bench, subject, data, precision).passed, precision
