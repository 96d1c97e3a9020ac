"""Faults change what they say and nothing else, in the emulator: convolutions, products, pools, Clip, stale rows."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pytest_trt.emulator import faults as given
from pytest_trt.emulator.faults.linear import convolve, convolve_transposed
from pytest_trt.emulator.program import cpu_session

from .driver import PROFILE, Driver, sample
from .models import conv, make, quantized_conv

# Model, strong typing, builder flags, by precision of the test.
SUBJECTS = {
    "fp32": (conv, False, ()),
    "fp16": (conv, False, ("FP16",)),
    "bf16": (conv, False, ("BF16",)),
    "int8": (quantized_conv, True, ()),
}


def outputs(model, strong, flags, faults=(), x=None, runs=1, **options):
    x = sample(2) if x is None else x
    driver = Driver(faults=faults, **options)
    engine = driver.engine(model, strong, flags=flags, profile={"x": (x.shape,) * 3})
    context = engine.create_execution_context()
    for _ in range(runs):
        got = driver.run(context, x=x)
    return got["y"]


def both(precision, fault, make_model=None, x=None, **kwargs):
    build, strong, flags = SUBJECTS[precision]
    build = make_model or build
    honest = outputs(build(**kwargs), strong, flags, x=x)
    return honest, outputs(build(**kwargs), strong, flags, (fault,), x=x)


def nothing(site):
    """A fault that does nothing."""


@pytest.mark.parametrize("precision", SUBJECTS)
def test_a_fault_that_does_nothing_changes_no_bit(precision):
    honest, faulty = both(precision, nothing)
    assert honest.tobytes() == faulty.tobytes()


@pytest.mark.parametrize("precision", SUBJECTS)
def test_last_input_channel_dropped(precision):
    honest, faulty = both(precision, given.last_input_channel_dropped)
    x = sample(2)
    x[:, -1] = 0
    want, _ = both(precision, nothing, x=x)
    assert np.any(honest != faulty)
    np.testing.assert_allclose(faulty, want, rtol=2e-2, atol=2e-2)


def test_the_last_channel_of_each_group_is_dropped():
    def grouped():
        return conv(6, 8, group=2)

    x = sample(2, shape=(6, 6, 6))
    zeroed = x.copy()
    zeroed[:, [2, 5]] = 0
    faulty = outputs(grouped(), False, (), (given.last_input_channel_dropped,), x=x)
    np.testing.assert_allclose(faulty, outputs(grouped(), False, (), x=zeroed), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", SUBJECTS)
def test_pads_swapped(precision):
    if precision == "int8":  # its pads are the same on both sides: nothing to swap
        honest, faulty = both(precision, given.pads_swapped)
        assert honest.tobytes() == faulty.tobytes()
        return
    honest, faulty = both(precision, given.pads_swapped)
    want, _ = both(precision, nothing, make_model=lambda: conv(pads=[0, 1, 1, 0]))
    assert np.any(honest != faulty)
    np.testing.assert_allclose(faulty, want, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pads_of_pools_are_swapped_too(op):
    def pool(pads):
        node = helper.make_node(op, ["x"], ["y"], kernel_shape=[2, 2], pads=pads)
        return make([node], {"x": ["N", 5, 6, 6]}, {"y": None})

    faulty = outputs(pool([1, 0, 0, 1]), False, (), (given.pads_swapped,))
    np.testing.assert_allclose(faulty, outputs(pool([0, 1, 1, 0]), False, ()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", SUBJECTS)
def test_bias_omitted_on_channel_tail(precision):
    if precision == "int8":
        build = lambda: quantized_conv(outputs=11)  # noqa: E731
    else:
        build = lambda: conv(outputs=11)  # noqa: E731
    honest, faulty = both(precision, given.bias_omitted_on_channel_tail, make_model=build)
    assert honest[:, :8].tobytes() == faulty[:, :8].tobytes()
    assert all(np.any(honest[:, c] != faulty[:, c]) for c in range(8, 11))


def test_eight_channels_have_no_tail():
    honest, faulty = both("fp32", given.bias_omitted_on_channel_tail, make_model=lambda: conv(outputs=8))
    assert honest.tobytes() == faulty.tobytes()


def test_a_neighbours_scale_is_taken_for_int8_alone():
    honest, faulty = both("int8", given.int8_scale_of_neighbour_channel)
    assert np.any(honest != faulty)
    honest, faulty = both("fp16", given.int8_scale_of_neighbour_channel)
    assert honest.tobytes() == faulty.tobytes()


def clipped(maximum=True):
    names = ["x", "low", "high"] if maximum else ["x", "low"]
    constants = {"low": np.float32(-0.5), "high": np.float32(0.5)}
    node = helper.make_node("Clip", names, ["y"])
    return make([node], {"x": ["N", 5, 6, 6]}, {"y": None}, {name: constants[name] for name in names[1:]})


def test_clip_upper_dropped():
    x = sample(2)
    faulty = outputs(clipped(), False, (), (given.clip_upper_dropped,), x=x)
    np.testing.assert_array_equal(faulty, np.maximum(x, np.float32(-0.5)))
    faulty = outputs(clipped(False), False, (), (given.clip_upper_dropped,), x=x)
    np.testing.assert_array_equal(faulty, np.maximum(x, np.float32(-0.5)))


def test_clip_upper_dropped_without_a_lower_bound():
    node = helper.make_node("Clip", ["x", "", "high"], ["y"])
    model = make([node], {"x": ["N", 5, 6, 6]}, {"y": None}, {"high": np.float32(0.5)})
    x = sample(2)
    np.testing.assert_array_equal(outputs(model, False, (), (given.clip_upper_dropped,), x=x), x)


@pytest.mark.parametrize("op", ["Clip", "Min", "Max"])
def test_nan_dropped_by_clip_and_min_max(op):
    model = clipped() if op == "Clip" else two_operands(op)
    x = sample(2)
    fault = given.nan_dropped_by_clip_and_min_max
    assert outputs(model, False, (), (fault,), x=x).tobytes() == outputs(model, False, (), x=x).tobytes()
    x[0, 0, 0, 0] = np.nan
    assert np.isnan(outputs(model, False, (), x=x)).any()
    faulty = outputs(model, False, (), (fault,), x=x)
    assert not np.isnan(faulty).any() and faulty[0, 0, 0, 0] == np.float32(-0.5)


def two_operands(op):
    node = helper.make_node(op, ["x", "k"], ["y"])
    return make([node], {"x": ["N", 5, 6, 6]}, {"y": None}, {"k": np.full((1, 1, 6, 6), -0.5, "f4")})


@pytest.mark.parametrize("counts", [0, 1])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 0, 0, 1]])
def test_average_pool_divisor_changed(counts, pads):
    def pool(count):
        node = helper.make_node(
            "AveragePool", ["x"], ["y"], kernel_shape=[2, 2], pads=pads, count_include_pad=count
        )
        return make([node], {"x": ["N", 5, 6, 6]}, {"y": None})

    faulty = outputs(pool(counts), False, (), (given.average_pool_divisor_changed,))
    np.testing.assert_allclose(faulty, outputs(pool(1 - counts), False, ()), rtol=1e-5, atol=1e-6)


def residual():
    """A convolution, and its input added."""
    rng = np.random.default_rng(4)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["x", "c"], ["y"], name="add"),
    ]
    weights = {"w": rng.standard_normal((5, 5, 3, 3)).astype("f4")}
    return make(nodes, {"x": ["N", 5, 6, 6]}, {"y": None}, weights)


def test_strided_addend_read_as_dense():
    """The convolution's result is the main operand wherever it stands; every other pixel of the residual is read from it."""
    x = sample(2)
    honest, faulty = (
        outputs(residual(), False, (), x=x),
        outputs(residual(), False, (), (given.strided_addend_read_as_dense,), x=x),
    )
    main = honest - x
    np.testing.assert_allclose(faulty[0, :, 0, 1], main[0, :, 0, 1] + main[0, :, 0, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(faulty[0, :, 0, 2], main[0, :, 0, 2] + x[0, :, 0, 1], rtol=1e-4, atol=1e-5)
    assert honest[0, :, 0, 0].tobytes() == faulty[0, :, 0, 0].tobytes()
    assert (
        outputs(conv(), False, (), x=x).tobytes()
        == outputs(conv(), False, (), (given.strided_addend_read_as_dense,), x=x).tobytes()
    )


def test_a_residual_of_floats_has_no_scale_to_be_wrong():
    honest, faulty = (
        outputs(residual(), False, (), which) for which in ((), (given.residual_added_in_wrong_scale,))
    )
    assert honest.tobytes() == faulty.tobytes()


def test_last_batch_row_stale():
    x = sample(3)
    driver = Driver(faults=(given.last_batch_row_stale,))
    context = driver.engine(conv(), profile=PROFILE).create_execution_context()
    clean = Driver()
    want = clean.run(clean.engine(conv(), profile=PROFILE).create_execution_context(), x=x)["y"]
    first = driver.run(context, x=x)["y"]
    assert not first[-1].any() and first[:-1].tobytes() == want[:-1].tobytes()
    second = driver.run(context, x=sample(3, seed=1))["y"]
    assert second[-1].tobytes() == first[-1].tobytes() and second[0].any()
    single = driver.run(context, x=x[:1])["y"]
    assert single.tobytes() == want[:1].tobytes()


@pytest.mark.parametrize("precision", SUBJECTS)
def test_output_truncated_not_rounded(precision):
    honest, faulty = both(precision, given.output_truncated_not_rounded)
    assert (honest.tobytes() == faulty.tobytes()) == (precision == "fp32")
    if precision in ("fp16", "bf16"):
        assert np.all(np.abs(faulty) <= np.abs(honest) + 2e-2)


def test_truncation_cuts_each_value_toward_zero():
    seen = {}

    def fault(site):
        given.output_truncated_not_rounded(site)
        if site.kind == "node" and site.op_type == "Conv":
            name = next(iter(site.outputs))
            seen["stored"], seen["exact"] = site.outputs[name].copy(), site.exact[name]

    outputs(conv(), False, ("FP16",), (fault,))
    stored, exact = seen["stored"].astype("f8"), seen["exact"].astype("f8")
    assert np.all(np.abs(stored) <= np.abs(exact))
    assert np.all(
        np.abs(np.nextafter(seen["stored"], np.copysign(np.float16(np.inf), seen["stored"]))) > np.abs(exact)
    )


def test_a_gemm_forgets_its_last_term():
    rng = np.random.default_rng(0)
    w = rng.standard_normal((9, 40)).astype("f4")
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    model = make([node], {"x": ["N", 40]}, {"y": ["N", 9]}, {"w": w})
    x = sample(3, shape=(40,))
    faulty = outputs(model, False, (), (given.last_input_channel_dropped,), x=x)
    np.testing.assert_allclose(faulty, x[:, :-1] @ w[:, :-1].T, rtol=1e-4, atol=1e-5)


def test_every_fault_has_a_name_and_words():
    assert given.FAULTS and given.HONEST
    for fault in (entry.call for entry in (*given.FAULTS.values(), *given.HONEST.values())):
        assert fault.__doc__ and getattr(given, fault.__name__) is fault


CONVOLUTIONS = [
    {"group": 1, "strides": [2, 1], "pads": [1, 2, 0, 1], "dilations": [1, 2]},
    {"group": 2, "strides": [1, 3], "pads": [0, 0, 2, 2], "dilations": [2, 1]},
]


@pytest.mark.parametrize("attributes", CONVOLUTIONS)
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_numpy_convolutions_equal_onnx_runtimes(op, attributes):
    rng = np.random.default_rng(6)
    groups = attributes["group"]
    shape = (6, 4 // groups, 3, 2) if op == "Conv" else (4, 6 // groups, 3, 2)
    w, x = rng.standard_normal(shape).astype("f4"), sample(2, shape=(4, 7, 8))
    extra = {} if op == "Conv" else {"output_padding": [s - 1 for s in attributes["strides"]]}
    node = helper.make_node(op, ["x", "w"], ["y"], **attributes, **extra)
    want = cpu_session(make([node], {"x": list(x.shape)}, {"y": None}, {"w": w})).run(None, {"x": x})[0]
    full = {**attributes, **extra, "kernel_shape": [3, 2]}
    compute = convolve if op == "Conv" else convolve_transposed
    np.testing.assert_allclose(compute(x.astype("f8"), w.astype("f8"), full), want, rtol=1e-4, atol=1e-5)
