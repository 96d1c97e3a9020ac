"""The roofline: work counted by hand, floors that no algorithm and no cache undercuts, and shares of what is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.bench import roofline as bench
from pytest_trt.bench.roofline import Device, Work, count_work, device_for, device_of, roofline
from pytest_trt.emulator import clock
from pytest_trt.errors import InputError
from pytest_trt.hardware import classes

H200 = classes.classify("NVIDIA H200", 90)
FAST = Device("a device", 1e12, 1e11)


def model(nodes, inputs, outputs, **constants):
    graph = helper.make_graph(
        nodes,
        "counted",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [
            helper.make_tensor_value_info(name, kind, [f"{name}{axis}" for axis in range(rank)])
            for name, (kind, rank) in outputs.items()
        ],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def floats(*shape):
    return np.zeros(shape, np.float32)


def conv_model():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4, group=2),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    return model(nodes, {"x": ["N", 4, 5, 6]}, {"y": (TensorProto.FLOAT, 4)}, w=floats(8, 2, 3, 3))


@pytest.mark.parametrize("batch", [1, 7])
def test_a_convolution_is_counted_by_hand_at_each_batch(batch):
    work = count_work(conv_model(), {"x": (batch, 4, 5, 6)})
    made = batch * 8 * 5 * 6
    assert work.flops == 2 * made * 2 * 9 and work.by_operator == {"Conv": work.flops}
    assert work.least_flops == 2 * made * 2 * 2
    x, w = batch * 4 * 30, 8 * 2 * 9
    assert work.compulsory_bytes == 4 * (x + w + made)
    assert work.unfused_bytes == 4 * ((x + w + made) + 2 * made)
    assert work.unknown == ()


@pytest.mark.parametrize(
    ("precision", "width"), [("fp32", 4), ("tf32", 4), ("fp16", 2), ("bf16", 2), ("int8", 1)]
)
def test_bytes_have_the_width_of_the_precision_and_operations_do_not(precision, width):
    work, wide = (count_work(conv_model(), {"x": (3, 4, 5, 6)}, kind) for kind in (precision, "fp32"))
    assert work.compulsory_bytes * 4 == wide.compulsory_bytes * width
    assert work.unfused_bytes * 4 == wide.unfused_bytes * width
    assert work.flops == wide.flops


@pytest.mark.parametrize(
    ("node", "x", "w", "products"),
    [
        (helper.make_node("MatMul", ["x", "w"], ["y"]), (5, 7), floats(7, 3), 5 * 7 * 3),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), (2, 5, 7), floats(2, 7, 3), 2 * 5 * 7 * 3),
        (helper.make_node("Gemm", ["x", "w"], ["y"]), (5, 7), floats(7, 3), 5 * 7 * 3),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transA=1), (7, 5), floats(7, 3), 5 * 7 * 3),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), (5, 7), floats(3, 7), 5 * 7 * 3),
        (helper.make_node("Conv", ["x", "w"], ["y"]), (2, 3, 9), floats(4, 3, 1), 2 * 4 * 9 * 3),
        (helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2]), (2, 3, 9), floats(3, 4, 1), 2 * 3 * 9 * 4),
    ],
    ids=["matmul", "batched", "gemm", "transA", "transB", "pointwise", "transposed"],
)  # fmt: skip
def test_products_without_a_faster_algorithm_are_all_needed(node, x, w, products):
    work = count_work(
        model([node], {"x": [None] * len(x)}, {"y": (TensorProto.FLOAT, len(x))}, w=w), {"x": x}
    )
    assert work.flops == work.least_flops == 2 * products


def test_a_bound_of_winograd_is_below_what_its_tiles_need():
    """F(4x4, 3x3) needs 36 products for 16 outputs, and a 32 x 32 transform 544 complex ones of 4 for 30 x 30 outputs."""
    assert min(36 / 16, 544 * 4 / 900) > bench.FEWEST_PRODUCTS


def test_a_quantised_graph_has_its_weights_once_in_a_byte_each():
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    made = model(
        nodes,
        {"x": [5, 8]},
        {"y": (TensorProto.FLOAT, 2)},
        q=np.zeros((8, 3), np.int8),
        s=np.float32(1),
    )
    work = count_work(made, {"x": (5, 8)}, "int8")
    assert work.flops == 2 * 5 * 8 * 3
    assert work.compulsory_bytes == 5 * 8 + 5 * 3 + 8 * 3 + 1


def test_tables_and_shapes_are_not_read_whole():
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["g"]),
        helper.make_node("Reshape", ["g", "shape"], ["y"]),
    ]
    made = model(
        nodes,
        {"x": [4]},
        {"y": (TensorProto.FLOAT, 1)},
        table=floats(1000, 2),
        shape=np.array([8], np.int64),
    )
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    assert count_work(made, {"x": (4,)}).compulsory_bytes == 4 * 8 + 8 * 4


def test_what_depends_on_values_is_named_and_not_counted():
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"], name="where"),
        helper.make_node("Relu", ["x"], ["y"], name="relu"),
    ]
    made = model(nodes, {"x": [5, 8]}, {"y": (TensorProto.FLOAT, 2), "places": (TensorProto.INT64, 2)})
    work = count_work(made, {"x": (5, 8)})
    assert work.unknown == ("where",)
    assert work.unfused_bytes == 2 * 40 * 4 and work.flops == 0


def test_an_operator_of_its_own_leaves_its_output_unknown():
    made = model(
        [helper.make_node("Own", ["x"], ["y"], domain="own")], {"x": [4]}, {"y": (TensorProto.FLOAT, 1)}
    )
    made.opset_import.append(helper.make_opsetid("own", 1))
    work = count_work(made, {"x": (4,)})
    assert work.unknown == ("y",) and work.compulsory_bytes == 4 * 4


def test_a_weight_that_is_an_input_as_well_needs_no_shape():
    made = conv_model()
    made.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [8, 2, 3, 3]))
    assert count_work(made, {"x": (1, 4, 5, 6)}) == count_work(conv_model(), {"x": (1, 4, 5, 6)})


def test_an_input_without_a_shape_is_refused_in_words():
    with pytest.raises(InputError, match="input 'x' has no shape"):
        count_work(conv_model(), {"z": (1,)})


def test_the_model_of_the_caller_stays_as_it_is():
    made = conv_model()
    before = made.SerializeToString()
    count_work(made, {"x": (2, 4, 5, 6)})
    assert made.SerializeToString() == before


# Times.


@pytest.mark.parametrize(
    ("work", "ideal", "by"),
    [(Work(2e9, 1e9, 1e5, 1e6), 2e-3, "compute"), (Work(2e3, 1e3, 1e9, 1e9), 1e-2, "memory")],
)
def test_the_ideal_time_is_the_longer_of_both(work, ideal, by):
    found = roofline(work, FAST)
    assert (found.ideal_seconds, found.limited_by) == (ideal, by)
    assert found.share(2 * ideal) == 0.5


def test_the_floor_allows_for_fast_algorithms_boost_and_caches():
    found = roofline(Work(2e9, 1e9, 1e5, 1e6), FAST)
    assert found.floor_seconds == 1e-3 / bench.OVER_PEAK
    cached = roofline(Work(0, 0, bench.LARGEST_CACHE, 0), FAST)
    assert cached.floor_seconds == 0 and cached.memory_seconds > 0
    more = roofline(Work(0, 0, bench.LARGEST_CACHE + 1e9, 0), FAST)
    assert more.floor_seconds == pytest.approx(1e-2)


def test_a_device_that_is_computed_has_none_of_these():
    device = Device("computed", 1e12, 1e11, modelled=True)
    assert roofline(Work(2e9, 1e9, 1e5, 1e6), device).floor_seconds == 2e-3
    assert roofline(Work(0, 0, 1e5, 0), device).floor_seconds == 1e-6


def test_without_figures_there_is_no_share():
    found = roofline(Work(2e9, 1e9, 1e5, 1e6), Device("unknown", None, None))
    assert (found.ideal_seconds, found.floor_seconds, found.share(1.0), found.limited_by) == (
        None,
        None,
        None,
        "",
    )
    half = roofline(Work(2e9, 1e9, 1e5, 1e6), Device("unknown", 1e12, None))
    assert half.ideal_seconds is None and half.floor_seconds is not None


# Devices.


def test_a_class_gives_its_figures_and_says_which_it_lacks():
    device = device_of(H200, "fp16")
    assert (
        device.flops_per_second == H200.peak("fp16") and device.bytes_per_second == H200.bandwidth_gb_s * 1e9
    )
    assert not device.why and device.title.endswith(", fp16")
    unknown = device_of(classes.get("sm90"), "fp32")
    assert unknown.flops_per_second is None and unknown.bytes_per_second is None
    assert unknown.why == "no figure for this class: peak rate in fp32 and bandwidth of sm90"


def runtime(**facts):
    return SimpleNamespace(**{"emulated": True, "device": "cpu", "gpu": H200, **facts})


def test_a_real_runtime_is_held_against_its_precision_and_the_emulator_on_cuda_against_float32():
    real = device_for(runtime(emulated=False, device="cuda:0"), "fp16")
    assert real == device_of(H200, "fp16")
    played = device_for(runtime(device="cuda:0"), "fp16")
    assert played.flops_per_second == H200.peak("fp32")
    assert "float32" in played.title and not played.modelled


def test_the_emulator_on_a_cpu_is_held_against_its_own_model():
    device = device_for(runtime(), "fp32")
    assert device.modelled and "not a GPU" in device.title
    assert device.flops_per_second == 2 * clock.MULTIPLICATIONS_PER_SECOND


@pytest.mark.parametrize(
    ("precision", "times"), [("fp32", 1), ("tf32", 2), ("fp16", 4), ("bf16", 4), ("fp8", 8), ("int8", 8)]
)
def test_a_full_wave_takes_the_modelled_device_as_long_as_the_roofline_says(precision, times):
    """Both tell the same speed of each precision."""
    x, w, y = floats(1, 512, 16, 16), floats(64, 512, 3, 3), floats(1, 64, 16, 16)
    assert y.size == clock.OUTPUTS_PER_WAVE
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)
    step = SimpleNamespace(node=node, working=precision, sources={})
    took = clock.modelled_seconds(step, {"x": x, "w": w}, {"y": y})
    work, device = Work(2.0 * y.size * 512 * 9, 0, 0, 0), device_for(runtime(), precision)
    assert device.flops_per_second == 2 * clock.MULTIPLICATIONS_PER_SECOND * times
    assert roofline(work, device).floor_seconds == pytest.approx(took)
