"""Bugs of fused kernels: wrong until an inner tensor is an output, or until nodes lie beside the network."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from onnx import ModelProto

from pytest_trt.cases.triggers.graphs import Net, integers, spans
from pytest_trt.cases.triggers.registry import CONFIGURATION, STAND_IN, trigger
from pytest_trt.cases.triggers.trial import Relation, Trial
from pytest_trt.check.equivalent import check_extended
from pytest_trt.check.relations import EXTRA_OUTPUT, Base, Broken, compare_rows
from pytest_trt.check.subject import Subject

_FUSED = "fused_activation_lost_unless_marked fused_channel_zero_unless_marked"


def marked(*outputs: str) -> Relation:
    """Return the relation of an engine with these inner tensors marked as outputs, all at once."""

    def check(subject: Subject, base: Base) -> Iterable[tuple[str, Broken | None]]:
        with subject.with_outputs(outputs) as other:
            got = {name: values for name, values in other.run(base.feeds).items() if name in base.got}
        yield EXTRA_OUTPUT, compare_rows(EXTRA_OUTPUT, got, base)

    return check


def extended(subject: Subject, base: Base) -> Iterable[tuple[str, Broken | None]]:
    """Yield whether nodes beside the network change nothing."""
    return check_extended(subject, [base])


@trigger("B06", fidelity=CONFIGURATION, faults="tf32_where_fp32_strict tf32_although_it_is_off")
def convolution_and_clip_in_fp32(trial: Trial) -> None:
    """Convolution and Clip on an image from -0.5 to 0.5 keep 24 bits where TF32 is off."""
    net = Net("conv_clip", real=True)
    bounds = [net.constant(name, np.float32(value).reshape(())) for name, value in (("l", -0.5), ("h", 0.5))]
    net.node("Clip", [net.conv("x", 3, 3, "c", 3), *bounds], "y")
    model = net.build({"x": (1, 3, 32, 32)}, {"y": (1, 3, 32, 32)})
    image = np.random.default_rng(11).integers(0, 256, (1, 3, 32, 32)) / 255 - 0.5
    trial.check(model, {"x": image.astype(np.float32)})
    trial.check(model)


def _perceptron(rows: int | str = "N") -> ModelProto:
    """Return MatMul, Add and ReLU, twice, and a last MatMul and Add."""
    net = Net("perceptron", top=1)
    first = net.node("Relu", [net.linear("x", 24, 16, "a1")], "r1")
    second = net.node("Relu", [net.linear(first, 16, 16, "a2")], "r2")
    net.linear(second, 16, 8, "y")
    return net.build({"x": (rows, 24)}, {"y": (rows, 8)})


@trigger("B08", fidelity=STAND_IN, faults=_FUSED)
def all_tensors_marked(trial: Trial) -> None:
    """Convolution, scale, shift and ReLU give the same answer with every inner tensor marked as an output."""
    net = Net("subgraph", top=2)
    factor = net.constant("k", integers((1, 8, 1, 1), 2, seed=12))
    shift = net.constant("s", integers((1, 8, 1, 1), 9, seed=13))
    scaled = net.node("Mul", [net.conv("x", 4, 8, "c", 3), factor], "m")
    inner = net.node("Relu", [net.node("Add", [scaled, shift], "a")], "r")
    net.conv(inner, 8, 4, "y")
    model = net.build({"x": ("N", 4, 6, 6)}, {"y": ("N", 4, 6, 6)})
    x = integers((2, 4, 6, 6), 2, seed=14)
    profile = {"x": spans(x.shape, 2)}
    trial.relations(model, {"x": x}, profile=profile, more=[marked("c", "m", "a", "r")])
    trial.check(model, {"x": x}, profile=profile)


@trigger("B09", fidelity=STAND_IN, faults=_FUSED)
def any_tensor_marked(trial: Trial) -> None:
    """A network of three inputs and one output gives the same answer with any one inner tensor returned as well."""
    net = Net("three", top=1)
    left = net.node("Relu", [net.linear("u", 8, 16, "lu")], "ru")
    right = net.node("Relu", [net.linear("v", 8, 16, "lv")], "rv")
    joined = net.node("Concat", [left, right], "j", axis=1)
    gated = net.node("Mul", [net.node("Relu", [net.linear(joined, 32, 8, "lj")], "rj"), "w"], "g")
    net.linear(gated, 8, 4, "y")
    names = ("u", "v", "w")
    model = net.build(dict.fromkeys(names, ("N", 8)), {"y": ("N", 4)})
    inputs = {name: integers((3, 8), 1, seed=place) for place, name in enumerate(names)}
    profile = {name: spans((3, 8), 4) for name in names}
    trial.relations(
        model, inputs, profile=profile, more=[marked(name) for name in ("lu", "rv", "j", "rj", "g")]
    )
    trial.check(model, inputs, profile=profile)


@trigger("B10", precisions="fp32 fp16", fidelity=CONFIGURATION, faults=_FUSED)
def tensor_before_an_activation_marked(trial: Trial) -> None:
    """MatMul, Add and ReLU give the same answer with an output behind the Add."""
    x = integers((4, 24), 1, seed=15)
    profile = {"x": spans(x.shape, 4)}
    trial.relations(_perceptron(), {"x": x}, profile=profile, inner="a1", more=[marked("a2")])
    trial.check(_perceptron(), {"x": x}, profile=profile)


@trigger("B11", precisions="fp32 fp16", fidelity=STAND_IN, faults="nodes_beside_zero_a_channel")
def nodes_beside_a_network(trial: Trial) -> None:
    """Outputs stay as they are when nodes are added that touch nothing of the network."""
    x = integers((4, 24), 1, seed=16)
    trial.relations(_perceptron(), {"x": x}, profile={"x": spans(x.shape, 4)}, more=[extended])


@trigger("B12", precisions="fp32 fp16", fidelity=CONFIGURATION, faults=_FUSED)
def convolution_and_its_activation_marked(trial: Trial) -> None:
    """One convolution from 3 to 64 channels on two images, an Add and a ReLU: marking inner tensors changes nothing."""
    net = Net("two_images", top=2)
    first = net.node("Relu", [net.conv("x", 3, 64, "cx", 3)], "rx")
    second = net.node("Conv", ["v", "cx_w", "cx_b"], "cv", kernel_shape=[3, 3], pads=[1] * 4)
    net.node("Add", [first, second], "y")
    model = net.build(dict.fromkeys(("x", "v"), (1, 3, 6, 6)), {"y": (1, 64, 6, 6)})
    inputs = {name: integers((1, 3, 6, 6), 3, seed=place) for place, name in enumerate(("x", "v"))}
    trial.relations(
        model, inputs, has_batch=False, more=[marked("cx"), marked("rx"), marked("cx", "rx"), marked("cv")]
    )
    trial.check(model, inputs)


@trigger(
    "B13",
    precisions="fp32 fp16",
    fidelity=STAND_IN,
    faults="one_element_becomes_7_73 one_element_neighbour wrong_on_t4_only",
)
def no_value_of_a_softmax_network_strays(trial: Trial) -> None:
    """Fully connected layers around a Softmax: not one value strays, however small the median error is."""
    net = Net("softmax", real=True)
    scores = net.linear("x", 24, 16, "s")
    net.linear(net.node("Softmax", [scores], "p", axis=-1), 16, 24, "y")
    trial.check(net.build({"x": (4, 24)}, {"y": (4, 24)}))


@trigger(
    "B16", precisions="fp32 fp16", fidelity=CONFIGURATION, faults="residual_omitted residual_of_other_item"
)
def sum_of_a_deconvolution_and_a_branch(trial: Trial) -> None:
    """The Add of a transposed convolution and a fully connected branch behind a ReLU is their sum."""
    net = Net("deconvolution")
    weights = net.weights("d_w", (4, 6, 2, 2), 16)
    large = net.node(
        "ConvTranspose", ["x", weights, net.weights("d_b", (6,), 1)], "d", kernel_shape=[2, 2], strides=[2, 2]
    )
    branch = net.node("Relu", [net.linear("f", 8, 96, "l")], "r")
    net.node("Add", [net.shape(branch, (0, 6, 4, 4), "b"), large], "y")
    model = net.build({"x": ("N", 4, 2, 2), "f": ("N", 8)}, {"y": ("N", 6, 4, 4)})
    inputs = {"x": integers((2, 4, 2, 2), 4, seed=17), "f": integers((2, 8), 4, seed=18)}
    profile = {name: spans(values.shape, 2) for name, values in inputs.items()}
    trial.check(model, inputs, profile=profile)
    trial.check(model, shapes={name: values.shape for name, values in inputs.items()}, profile=profile)
