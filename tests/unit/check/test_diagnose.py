"""Each rule names the fault that it is for, and no fault gets the name of another."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.check import diagnose, operators  # noqa: F401  (operators registers the limits)
from pytest_trt.check.evidence import Evidence
from pytest_trt.check.graph import Graph
from pytest_trt.check.interpret import interpret
from pytest_trt.numerics.bounds import Bound, Contract
from pytest_trt.numerics.formats import round_to
from tests.unit.check.models import make_model

CONTRACT = Contract()


def conv(kind="fp32", *, relu=False, groups=1, pads=(1, 0, 1, 2), kernel=(3, 3), **attributes):
    """A convolution from 10 to 12 channels, typed, with its exact input."""
    rng = np.random.default_rng(3)
    element = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}[kind]
    dtype = np.float32 if kind == "fp32" else np.float16
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c" if relu else "y"], pads=list(pads), **attributes)]
    if relu:
        nodes.append(helper.make_node("Relu", ["c"], ["y"]))
    constants = [
        numpy_helper.from_array((rng.standard_normal((12, 10, *kernel)) / 9).astype(dtype), "w"),
        numpy_helper.from_array(
            rng.uniform(0.5, 2, 12).astype(dtype) * rng.choice([-1, 1], 12).astype(dtype), "b"
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", element, ("N", 10, 14, 12))],
        [helper.make_tensor_value_info("y", element, ("N", 12, None, None))],
        constants,
    )
    made = Graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9))
    return made, {
        "x": Bound.exact(rng.uniform(-1, 1, (3, 10, 14, 12)).astype(dtype).astype(np.float64), kind)
    }


def limits_of(graph, known, contract=CONTRACT):
    return interpret(graph, known, contract, wanted=("y",)).tensors["y"]


def honest(limits):
    kind = limits.kind
    return round_to(limits.mid, kind).astype(np.float32 if kind in ("fp32", "bf16") else np.float16)


def name(graph, known, got, limits=None):
    return diagnose.find_families(
        Evidence(graph, known, "y", got, limits or limits_of(graph, known), CONTRACT)
    )


def changed(kind="fp32", **options):
    graph, known = conv(kind, **options)
    limits = limits_of(graph, known)
    return graph, known, honest(limits), limits


def poison(got, want):
    got[0, 2].view(np.uint32)[...] = 0xFFFFFFFF


def nan(got, want):
    got[:, 5, 3] = np.nan


def zero(got, want):
    got[1] = 0


def zero_tail(got, want):
    got[:, 8:] = 0


def scaled(got, want):
    got *= np.float32(1.01)


def scaled_channels(got, want):
    got *= np.linspace(0.9, 1.05, 12).astype(np.float32)[:, None, None]


def shifted(got, want):
    got += np.float32(0.25)


def shifted_channels(got, want):
    got += np.linspace(0.2, 1.3, 12).astype(np.float32)[:, None, None]


def row_of_another(got, want):
    got[2] = want[0]


def channels_swapped(got, want):
    got[:, [3, 4]] = want[:, [4, 3]]


def row_of_neighbour(got, want):
    got[..., -1, :] = want[..., -2, :]


def column_of_neighbour(got, want):
    got[..., -1] = want[..., -2]


def nhwc(got, want):
    got[...] = np.moveaxis(want, 1, -1).reshape(want.shape)


def border(got, want):
    noise = np.random.default_rng(0).uniform(0.5, 1, got.shape).astype(np.float32)
    noise[..., 1:-1, 1:-1] = 0
    got += noise


def tile(got, want):
    noise = np.random.default_rng(0).uniform(0.5, 1, got.shape).astype(np.float32)
    got[..., 4:12, 0:8] += noise[..., 4:12, 0:8]


def every_fourth(got, want):
    noise = np.random.default_rng(0).uniform(0.5, 1, got.shape).astype(np.float32)
    got[..., ::4] += noise[..., ::4]


def last_row(got, want):
    got[..., -1, :] += np.random.default_rng(0).uniform(0.5, 1, got[..., -1, :].shape).astype(np.float32)


def noise(got, want):
    got += np.random.default_rng(0).uniform(0.1, 1, got.shape).astype(np.float32)


def overflowing(got, want):
    got[0, 0, 0] = np.inf


LOOP = "a loop or copy that ends too early"
PLANTED = [
    (poison, ("not written: the poison of the buffer is still there",)),
    (nan, ("NaN from nowhere: memory that nobody wrote was read",)),
    (zero, ("left at zero: not computed, or masked off",)),
    (zero_tail, ("left at zero: not computed, or masked off", "channel tail: the last, incomplete block of channels")),
    (scaled, ("scaled: got = 1.01 x want",)),
    (scaled_channels, ("scaled: another factor in each channel",)),
    (shifted, ("shifted: got = want +0.25",)),
    (shifted_channels, ("shifted: a constant in each channel, as of a wrong bias",)),
    (row_of_another, ("another item's values: stale or mixed rows of the batch", f"the last item: {LOOP}")),
    (channels_swapped, ("another channel's values: channels exchanged",)),
    (row_of_neighbour, ("the neighbouring row's values", "the last row: a loop or copy that ends too early")),
    (column_of_neighbour, ("the neighbouring column's values", "the last column: a loop or copy that ends too early")),
    (nhwc, ("NHWC written where NCHW is read",)),
    (border, ("pads: a wrong value, side or extent of the padding",)),
    (tile, ("a tile: one block of the kernel's output",)),
    (every_fourth, ("a period: a stride, vector width or interleaving",)),
    (last_row, ("the last row: a loop or copy that ends too early",)),
    (overflowing, ("overflow where there is none: a narrower accumulator",)),
    (noise, ()),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "words"), PLANTED, ids=lambda v: getattr(v, "__name__", ""))
def test_a_value_out_of_line_gets_its_name_and_no_other(fault, words):
    graph, known, got, limits = changed()
    fault(got, honest(limits))
    assert name(graph, known, got, limits) == words


def replayed(kind="fp32", *, fault_kind="fp32", weights=None, bias=None, data=None, relu=False, **options):
    """What the engine gives when it computes with other operands."""
    graph, known, _, limits = changed(kind, relu=relu, **options)
    other = dict(known)
    for key, change in (("w", weights), ("b", bias)):
        if change is not None:
            constant = graph.constant(key)
            other[key] = Bound.exact(change(constant.mid), kind)
    if data is not None:
        other["x"] = Bound.exact(data(known["x"].mid), kind)
    return name(graph, known, honest(limits_of(graph, other)), limits)


def without(start):
    return lambda w: w * (np.arange(w.shape[1]) < start)[:, None, None]


@pytest.mark.parametrize("kind", ["fp32", "fp16"])
@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("bias left out", {"bias": np.zeros_like}),
        ("bias added twice", {"bias": lambda b: 2 * b}),
        ("bias of the neighbouring channel", {"bias": lambda b: np.roll(b, 1)}),
        ("the last input channel left out of the sum", {"weights": without(9)}),
        ("input channels behind the last multiple of 8 left out of the sum", {"weights": without(8)}),
        ("kernel turned by 180 degrees", {"weights": lambda w: w[..., ::-1, ::-1]}),
        ("kernel transposed", {"weights": lambda w: w.swapaxes(2, 3)}),
    ],
)
def test_a_kernel_that_was_worked_out_gets_its_name(kind, words, options):
    found = replayed(kind, **options)
    assert found[0] == words
    assert not [other for other in found[1:] if "left out" in other or "kernel" in other]


@pytest.mark.parametrize("kind", ["tf32", "fp16", "bf16"])
def test_operands_of_another_type_are_named(kind):
    words = {"tf32": "operands read with the 10 bits of TF32"}.get(kind, f"operands rounded to {kind}")
    found = replayed(weights=lambda w: round_to(w, kind), data=lambda x: round_to(x, kind))
    # FP16 has the same 10 bits where nothing is subnormal.
    assert found[0] in (words, "operands read with the 10 bits of TF32") and (
        kind == "fp16" or found == (words,)
    )


@pytest.mark.parametrize(
    ("words", "right", "wrong"),
    [
        ("pads at the beginning and the end exchanged", {"pads": (1, 0, 1, 2)}, {"pads": (1, 2, 1, 0)}),
        (
            "dilations of height and width exchanged",
            {"pads": (2, 2, 2, 2), "dilations": [1, 2], "kernel": (3, 3)},
            {"pads": (2, 2, 2, 2), "dilations": [2, 1], "kernel": (3, 3)},
        ),
    ],
)
def test_geometry_that_was_worked_out_gets_its_name(words, right, wrong):
    graph, known, _, limits = changed(**right)
    other, _ = conv(**wrong)
    got = honest(limits_of(other, known))
    if got.shape != limits.mid.shape:
        got = np.resize(got, limits.mid.shape)  # another extent cannot be what was computed
        assert words not in name(graph, known, got, limits)
    else:
        assert name(graph, known, got, limits)[0] == words


def test_a_relu_that_was_left_out_or_added_is_named():
    graph, known, _, limits = changed(relu=True)
    plain, _ = conv()
    assert name(graph, known, honest(limits_of(plain, known)), limits)[0] == "Relu left out"
    graph, known, got, limits = changed()
    assert name(graph, known, np.maximum(got, 0), limits) == ("a ReLU that is not in the network",)


def test_a_residual_that_was_left_out_is_named():
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Add", ["r", "x"], ["y"])]
    graph = Graph(make_model(nodes, ("N", 4, 6, 6)))
    known = {
        "x": Bound.exact(
            np.random.default_rng(0).standard_normal((2, 4, 6, 6)).astype("f4").astype("f8"), "fp32"
        )
    }
    got = np.maximum(known["x"].mid, 0).astype(np.float32)
    assert name(graph, known, got)[0] == "residual left out"


def test_a_lost_nan_and_a_clipped_overflow_are_named():
    graph, known, got, limits = changed("fp16")
    known["x"].mid[0, 0, 5, 5] = np.nan
    limits = limits_of(graph, known)
    assert name(graph, known, np.nan_to_num(honest(limits)), limits)[0] == "NaN swallowed"
    graph, known = conv("fp16")
    known = {"x": Bound.exact(known["x"].mid * 60000, "fp16")}
    limits = limits_of(graph, known)
    got = np.clip(honest(limits), -65504, 65504)
    assert np.isinf(limits.mid).any()
    assert name(graph, known, got, limits) == ("overflow clipped to the largest fp16 number",)
    got = np.where(np.isinf(limits.mid), np.float16(np.nan), honest(limits))
    assert name(graph, known, got, limits) == ("an infinity became NaN",)


def test_truncation_and_flushed_subnormals_are_named():
    graph, known, got, limits = changed("fp16")
    fine = limits_of(Graph(_widened(graph)), {"x": Bound.exact(known["x"].mid, "fp32")}).mid
    cut = np.where(np.abs(got.astype("f8")) > np.abs(fine), np.nextafter(got, np.float16(0)), got)
    assert (
        name(graph, known, cut, limits)[0]
        == "rounded towards zero: one unit in the last place too small everywhere"
    )
    tiny = {"x": Bound.exact(np.round(known["x"].mid * 40) * 2.0**-20, "fp16")}
    other = {**tiny, "b": Bound.exact(np.zeros(12), "fp16")}
    limits = limits_of(graph, other)
    got = honest(limits)
    got[np.abs(got) < 2.0**-14] = 0
    assert name(graph, other, got, limits)[0] == "subnormal numbers flushed to zero"


def _widened(graph):
    model = conv("fp32")[0].model
    for index, tensor in enumerate(graph.model.graph.initializer):
        values = numpy_helper.to_array(tensor).astype(np.float32)
        model.graph.initializer[index].CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


def quantised():
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    model = make_model(nodes, ("N", 6, 9), {"s": np.float32(0.03), "z": np.int8(0)})
    x = np.random.default_rng(0).uniform(-5, 5, (3, 6, 9)).astype(np.float32).astype(np.float64)
    return Graph(model), {"x": Bound.exact(x, "fp32")}


def test_faults_of_int8_levels_are_named():
    graph, known = quantised()
    limits = limits_of(graph, known)
    scale = float(np.float32(0.03))
    level = np.rint(limits.mid / scale)
    toward = np.clip(np.trunc(known["x"].mid / scale), -128, 127)
    said = name(graph, known, (toward * scale).astype(np.float32), limits)
    assert said == ("rounded towards zero: one INT8 level too small everywhere",)
    wrapped = (np.rint(known["x"].mid / scale) + 128) % 256 - 128
    assert "INT8 saturation wraps around" in name(graph, known, (wrapped * scale).astype(np.float32), limits)
    one = level.copy()
    one[1, 2, 3] += 1
    said = name(graph, known, (one * scale).astype(np.float32), limits)
    assert said == ("one INT8 level off: another rounding",)


def test_every_rule_of_the_table_has_its_tests_here():
    """A new rule needs a planted fault above that it names, and is then held against all the others."""
    tested = (
        "not_written nan_lost overflow nan_made suppose_kernels clip_dropped flushed left_zero rounded_otherwise scaled "
        "shifted elsewhere wraps tail rim edge block"
    )
    assert [rule.__name__ for rule in diagnose.RULES] == tested.split()
