"""Bugs of batches: rows that are wrong behind the first, from a size on, or by their place."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from onnx import ModelProto

from pytest_trt.cases.triggers.graphs import Net, integers, reals, spans
from pytest_trt.cases.triggers.nets import INT32
from pytest_trt.cases.triggers.registry import CONFIGURATION, STAND_IN, trigger
from pytest_trt.cases.triggers.trial import Relation, Trial
from pytest_trt.check.relations import Base, Broken
from pytest_trt.check.subject import Subject
from pytest_trt.check.sweeps import check_batch_sizes, check_profiles

_TOKENS, _WIDTH = 16, 8
_WRONG_ROWS = "rows_computed_from_row_zero rows_shifted_by_one"


def sizes(*chosen: int) -> Relation:
    """Return the relation of batch sizes for some of them."""

    def check(subject: Subject, base: Base) -> Iterable[tuple[str, Broken | None]]:
        return check_batch_sizes(subject, base, chosen)

    return check


def _thinned_attention(net: Net, data: str) -> str:
    """Add SegFormer's attention: keys and values that a strided convolution thins out, and the residual."""
    first = net.norm(data, _WIDTH, "n1")
    image = net.shape(net.node("Transpose", [first], "t1", perm=[0, 2, 1]), (0, _WIDTH, 4, 4), "i1")
    thin = net.conv(image, _WIDTH, _WIDTH, "sr", 2, strides=[2, 2], pads=[0] * 4)
    few = net.node("Transpose", [net.shape(thin, (0, _WIDTH, -1), "f1")], "t2", perm=[0, 2, 1])
    few = net.norm(few, _WIDTH, "n2")
    # Small scores: FP16 limits behind a Softmax are then narrower than rows differ.
    query = net.linear(first, _WIDTH, _WIDTH, "q", gain=1024)
    key, value = (net.linear(few, _WIDTH, _WIDTH, name) for name in ("k", "v"))
    mixed = net.linear(net.attend(query, key, value, _WIDTH, 2, "att"), _WIDTH, _WIDTH, "proj")
    return net.node("Add", [data, mixed], "mid")


def _convolving_perceptron(net: Net, data: str) -> str:
    """Add SegFormer's MLP: a depthwise convolution between two matrices, and the residual."""
    wide = net.linear(net.norm(data, _WIDTH, "n3"), _WIDTH, 2 * _WIDTH, "up")
    image = net.shape(net.node("Transpose", [wide], "t3", perm=[0, 2, 1]), (0, 2 * _WIDTH, 4, 4), "i2")
    deep = net.conv(image, 2 * _WIDTH, 2 * _WIDTH, "dw", 3, group=2 * _WIDTH)
    back = net.node("Transpose", [net.shape(deep, (0, 2 * _WIDTH, -1), "f2")], "t4", perm=[0, 2, 1])
    last = net.linear(net.gate(back, "act"), 2 * _WIDTH, _WIDTH, "down")
    return net.node("Add", [data, last], "out")


def _segformer(batch: int | str, *parts: Callable[[Net, str], str]) -> ModelProto:
    net = Net("segformer", real=True)
    data = "x"
    for part in parts:
        data = part(net, data)
    net.node("Identity", [data], "y")
    return net.build({"x": (batch, _TOKENS, _WIDTH)}, {"y": (batch, _TOKENS, _WIDTH)})


@trigger("B03", fidelity=CONFIGURATION, faults=_WRONG_ROWS)
def rows_of_a_segformer_block(trial: Trial) -> None:
    """A SegFormer block gives each row of a dynamic batch of two what it gives it alone."""
    x = reals((2, _TOKENS, _WIDTH), 3)
    model = _segformer("N", _thinned_attention, _convolving_perceptron)
    trial.relations(model, {"x": x}, profile={"x": spans(x.shape, 2)}, rounds=True)


@trigger("B03", precisions="fp32 fp16", fidelity=CONFIGURATION, faults=_WRONG_ROWS)
def rows_of_a_segformer_attention(trial: Trial) -> None:
    """Its attention alone does, in batches of one to four."""
    x = reals((2, _TOKENS, _WIDTH), 3)
    model = _segformer("N", _thinned_attention)
    trial.relations(model, {"x": x}, profile={"x": spans(x.shape, 2)}, more=[sizes(2, 3, 4)], rounds=True)


@trigger("B03", precisions="fp32 fp16", fidelity=CONFIGURATION, faults=_WRONG_ROWS)
def rows_of_a_segformer_perceptron(trial: Trial) -> None:
    """Its convolving MLP alone does, in batches of one to four."""
    x = reals((2, _TOKENS, _WIDTH), 3)
    model = _segformer("N", _convolving_perceptron)
    trial.relations(model, {"x": x}, profile={"x": spans(x.shape, 2)}, more=[sizes(2, 3, 4)], rounds=True)


@trigger("B03", fidelity=CONFIGURATION, faults=_WRONG_ROWS)
def rows_of_a_static_segformer_block(trial: Trial) -> None:
    """A SegFormer block that is built for a batch of two and no other exchanges its rows with those of its input."""
    model = _segformer(2, _thinned_attention, _convolving_perceptron)
    trial.relations(model, {"x": reals((2, _TOKENS, _WIDTH), 3)}, rounds=True)


@trigger(
    "B04",
    fidelity=STAND_IN,
    faults="slot_dependent_noise slot_dependent_noise_of_two_ulp rows_depend_on_profile_width",
)
def identical_rows_of_a_detector(trial: Trial) -> None:
    """Four identical images through convolutions and class scores give four identical answers, however wide the profile."""
    net = Net("detector", top=1)
    stem = net.node("Relu", [net.conv("x", 3, 8, "c1", 3, strides=[2, 2])], "r1")
    tokens = net.node("Transpose", [net.shape(stem, (0, 8, -1), "f")], "t", perm=[0, 2, 1])
    net.linear(net.node("Relu", [net.linear(tokens, 8, 16, "h")], "r2"), 16, 5, "y")
    model = net.build({"x": ("N", 3, 8, 8)}, {"y": ("N", 16, 5)})
    x = np.repeat(integers((1, 3, 8, 8), 3, seed=4), 4, axis=0)
    trial.relations(model, {"x": x}, profile={"x": spans(x.shape, 16)}, more=[check_profiles])


@trigger(
    "B04",
    fidelity=STAND_IN,
    faults="rows_computed_from_row_zero rows_nan_but_the_first",
)
def rows_of_a_detection_transformer(trial: Trial) -> None:
    """Self-attention over convolution features gives each image its own answer, in profiles of any width."""
    net = Net("detr", real=True)
    stem = net.gate(net.conv("x", 3, _WIDTH, "c", 3, strides=[2, 2]), "s")
    tokens = net.node("Transpose", [net.shape(stem, (0, _WIDTH, -1), "f")], "t", perm=[0, 2, 1])
    query, key, value = (net.linear(tokens, _WIDTH, _WIDTH, name) for name in "qkv")
    mixed = net.node("Add", [tokens, net.attend(query, key, value, _WIDTH, 2, "att")], "mix")
    net.node("Sigmoid", [net.linear(net.norm(mixed, _WIDTH, "n"), _WIDTH, 5, "cls")], "y")
    model = net.build({"x": ("N", 3, 8, 8)}, {"y": ("N", 16, 5)})
    x = reals((4, 3, 8, 8), 5)
    trial.relations(model, {"x": x}, profile={"x": spans(x.shape, 16)}, more=[check_profiles], rounds=True)


@trigger(
    "B17", precisions="int8", fidelity=STAND_IN, faults="int8_rows_computed_from_row_zero rows_shifted_by_one"
)
def rows_of_a_quantised_network(trial: Trial) -> None:
    """A network with Q/DQ from training gives every image of a batch its own answer, not only the first."""
    trial.relations(
        _quantised(),
        {"x": integers((4, 4, 6, 6), 8, seed=6)},
        profile={"x": spans((4, 4, 6, 6), 8)},
        more=[sizes(2, 3, 4, 8)],
    )


def _quantised() -> ModelProto:
    """Return Q/DQ, convolution, ReLU, Q/DQ and convolution; scales are powers of two, weights are integers."""
    net = Net("quantised", top=3)
    zero = net.constant("zero", np.int8(0).reshape(()))

    def pair(data: str, scale: float, out: str) -> str:
        step = net.constant(f"{out}_s", np.float32(scale).reshape(()))
        level = net.node("QuantizeLinear", [data, step, zero], f"{out}_l")
        return net.node("DequantizeLinear", [level, step, zero], out)

    def conv(data: str, channels: int, filters: int, out: str) -> str:
        weights = integers((filters, channels, 3, 3), 3, seed=filters).astype(np.int8)
        steps = net.constant(f"{out}_ws", np.ones(filters, np.float32))
        zeros = net.constant(f"{out}_wz", np.zeros(filters, np.int8))
        level = net.constant(f"{out}_w", weights)
        factor = net.node("DequantizeLinear", [level, steps, zeros], f"{out}_d", axis=0)
        bias = net.constant(f"{out}_b", integers((filters,), 9, seed=1))
        return net.node("Conv", [data, factor, bias], out, kernel_shape=[3, 3], pads=[1] * 4)

    inner = net.node("Relu", [conv(pair("x", 1.0, "q1"), 4, 8, "c1")], "r1")
    conv(pair(inner, 2.0, "q2"), 8, 4, "y")
    return net.build({"x": ("N", 4, 6, 6)}, {"y": ("N", 4, 6, 6)})


@trigger(
    "B18",
    fidelity=STAND_IN,
    faults="rows_computed_from_row_zero rows_shifted_by_one batch_items_swapped last_item_not_computed",
)
def rows_of_a_masked_sequence(trial: Trial) -> None:
    """Sequences of several lengths, masked by them, give each row of a batch of 16 what it gives alone."""
    net = Net("masked")
    places = net.constant("places", np.arange(12, dtype=np.int32).reshape(1, 12))
    mask = net.node("Cast", [net.node("Less", [places, "lengths"], "less")], "mask", to=1)
    mask = net.node("Unsqueeze", [mask, net.constant("axis", np.array([2], np.int64))], "column")
    inner = net.node("Relu", [net.linear("x", 6, 16, "h")], "r")
    net.node("Mul", [net.linear(inner, 16, 4, "o"), mask], "y")
    model = net.build({"x": ("N", 12, 6), "lengths": (INT32, ("N", 1))}, {"y": ("N", 12, 4)})
    lengths = (np.arange(16, dtype=np.int32) * 5 % 12 + 1).reshape(16, 1)
    trial.relations(
        model,
        {"x": integers((16, 12, 6), 3, seed=7), "lengths": lengths},
        profile={"x": spans((16, 12, 6), 16), "lengths": spans((16, 1), 16)},
        more=[sizes(2, 3, 16)],
    )


def _classifier() -> ModelProto:
    net = Net("classifier", top=1)
    inner = net.node("Relu", [net.conv("x", 3, 8, "c1", 3)], "r1")
    inner = net.node("MaxPool", [inner], "p1", kernel_shape=[2, 2], strides=[2, 2])
    inner = net.node("Relu", [net.conv(inner, 8, 4, "c2")], "r2")
    net.linear(net.node("Flatten", [inner], "f", axis=1), 36, 5, "y")
    return net.build({"x": ("N", 3, 6, 6)}, {"y": ("N", 5)})


@trigger("B19", precisions="fp32 fp16", fidelity=STAND_IN, faults="rows_shifted_from_batch_8")
def rows_of_batches_up_to_nine(trial: Trial) -> None:
    """Each image has one answer, in batches of 1 to 9: the reported engine was wrong in FP16 from 8 on."""
    x = integers((3, 3, 6, 6), 2, seed=8)
    trial.relations(
        _classifier(), {"x": x}, profile={"x": spans(x.shape, 9)}, more=[sizes(2, 3, 4, 5, 6, 7, 8, 9)]
    )


@trigger("B20", fidelity=STAND_IN, faults="rows_wrap_from_batch_40")
def rows_of_batches_around_forty(trial: Trial) -> None:
    """A transformer on token numbers gives each sequence one answer, in batches around 32, 40 and 64."""
    net = Net("tokens", real=True)
    table = net.constant("table", reals((11, _WIDTH), 2))
    tokens = net.node("Gather", [table, "ids"], "e", axis=0)
    query, key, value = (net.linear(tokens, _WIDTH, _WIDTH, name) for name in "qkv")
    mixed = net.node("Add", [tokens, net.attend(query, key, value, _WIDTH, 2, "att")], "mix")
    net.linear(net.norm(mixed, _WIDTH, "n"), _WIDTH, 4, "y")
    model = net.build({"ids": (INT32, ("N", 8))}, {"y": ("N", 8, 4)})
    ids = np.random.default_rng(9).integers(0, 11, (5, 8)).astype(np.int32)
    trial.relations(
        model,
        {"ids": ids},
        profile={"ids": spans(ids.shape, 65)},
        more=[sizes(31, 32, 33, 39, 40, 41, 64, 65)],
        rounds=True,
    )


@trigger(
    "B21",
    precisions="fp32 fp16",
    fidelity=STAND_IN,
    faults="rows_nan_but_the_first rows_shifted_by_one padding_leaks_below_profile_maximum batch_over_opt_repeats_first",
)
def rows_of_a_dynamic_batch(trial: Trial) -> None:
    """A dynamic batch below its largest gives the rows that an engine for this batch alone gives, and none is NaN."""
    x = integers((4, 3, 6, 6), 2, seed=10)
    trial.relations(
        _classifier(),
        {"x": x},
        profile={"x": spans(x.shape, 8, best=2)},
        more=[check_profiles, sizes(2, 3, 5, 8)],
    )
