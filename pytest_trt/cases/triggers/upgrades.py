"""Networks that an upgrade, or one GPU class, broke: blocks of the same kind, held against limits."""

from __future__ import annotations

from pytest_trt.cases.triggers.graphs import Net
from pytest_trt.cases.triggers.registry import STAND_IN, trigger
from pytest_trt.cases.triggers.trial import Trial

_WIDTH, _LENGTH = 8, 6


@trigger(
    "B07",
    precisions="fp32 fp16 int8",
    fidelity=STAND_IN,
    faults="wrong_on_t4_only version_shifts_mean",
)
def convolution_module_of_a_conformer(trial: Trial) -> None:
    """A convolution module of a Conformer (GLU, depthwise convolution of 9 taps, SiLU) is right on this GPU."""
    net = Net("conformer", real=True)
    wide = _conv1d(net, "x", _WIDTH, 2 * _WIDTH, "c1")
    left, right = net.split(wide, (_WIDTH, _WIDTH), ("g1", "g2"), axis=1)
    gated = net.node("Mul", [left, net.node("Sigmoid", [right], "g3")], "glu")
    deep = _conv1d(net, gated, _WIDTH, _WIDTH, "dw", taps=9, group=_WIDTH)
    net.node("Add", ["x", _conv1d(net, net.gate(deep, "act"), _WIDTH, _WIDTH, "c2")], "y")
    trial.check(net.build({"x": (1, _WIDTH, 12)}, {"y": (1, _WIDTH, 12)}))


def _conv1d(net: Net, data: str, channels: int, filters: int, out: str, taps: int = 1, group: int = 1) -> str:
    weights = net.weights(f"{out}_w", (filters, channels // group, taps), channels // group * taps)
    return net.node(
        "Conv",
        [data, weights, net.weights(f"{out}_b", (filters,), 1)],
        out,
        kernel_shape=[taps],
        pads=[taps // 2] * 2,
        group=group,
    )


@trigger("B14", precisions="fp32 fp16", fidelity=STAND_IN, faults="version_shifts_mean version_doubles_error")
def block_of_a_yolo(trial: Trial) -> None:
    """A YOLO block (convolutions with SiLU, a split, a bottleneck, a Concat) is right in this version."""
    net = Net("yolo", real=True)
    both = net.gate(net.conv("x", 4, 16, "c1"), "s1")
    left, right = net.split(both, (8, 8), ("h1", "h2"), axis=1)
    inner = net.gate(net.conv(right, 8, 8, "c2", 3), "s2")
    total = net.node("Add", [right, net.gate(net.conv(inner, 8, 8, "c3", 3), "s3")], "a")
    net.conv(net.node("Concat", [left, right, total], "j", axis=1), 24, 4, "y")
    trial.check(net.build({"x": (1, 4, 6, 6)}, {"y": (1, 4, 6, 6)}))


@trigger("B14", fidelity=STAND_IN, faults="version_shifts_mean")
def transformer_of_dynamic_length(trial: Trial) -> None:
    """Attention over a dynamic number of tokens is right in this version, at either end of its profile."""
    net = Net("lengths", real=True)
    query, key, value = (net.linear("x", _WIDTH, _WIDTH, name) for name in "qkv")
    mixed = net.node("Add", ["x", net.attend(query, key, value, _WIDTH, 2, "att")], "mix")
    net.norm(mixed, _WIDTH, "y")
    model = net.build({"x": ("N", "L", _WIDTH)}, {"y": ("N", "L", _WIDTH)})
    profile = {"x": ((1, 2, _WIDTH), (1, _LENGTH, _WIDTH), (2, 9, _WIDTH))}
    for shape in ((1, 2, _WIDTH), (2, 9, _WIDTH)):
        trial.check(model, profile=profile, shapes={"x": shape})


@trigger("B15", precisions="fp32 fp16", fidelity=STAND_IN, faults="version_shifts_mean")
def block_of_clip(trial: Trial) -> None:
    """A block of CLIP (attention, quick GELU, projection to unit length) is right in this version."""
    net = Net("clip", real=True)
    first = net.norm("x", _WIDTH, "n1")
    query, key, value = (net.linear(first, _WIDTH, _WIDTH, name) for name in "qkv")
    middle = net.node("Add", ["x", net.attend(query, key, value, _WIDTH, 2, "att")], "mid")
    wide = net.linear(net.norm(middle, _WIDTH, "n2"), _WIDTH, 2 * _WIDTH, "up")
    last = net.node(
        "Add", [middle, net.linear(net.gate(wide, "gelu", 1.702), 2 * _WIDTH, _WIDTH, "down")], "l"
    )
    length = net.node("ReduceL2", [last], "len", axes=[-1], keepdims=1)
    net.node("Div", [last, length], "y")
    trial.check(net.build({"x": (1, _LENGTH, _WIDTH)}, {"y": (1, _LENGTH, _WIDTH)}))
