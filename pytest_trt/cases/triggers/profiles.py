"""Bugs of dynamic extents: only the largest one is right."""

from __future__ import annotations

from pytest_trt.cases.triggers.graphs import Net, integers
from pytest_trt.cases.triggers.registry import STAND_IN, trigger
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.check.sweeps import check_profiles

_WIDTHS = (4, 6, 12)


@trigger("B22", precisions="fp32 fp16", fidelity=STAND_IN, faults="only_the_largest_extents_right")
def every_width_of_a_profile(trial: Trial) -> None:
    """Images as narrow as the profile allows, and wider ones, give what engines for their width alone give, in its shape."""
    net = Net("wide", top=1)
    inner = net.node("Relu", [net.conv("x", 3, 8, "c1", 3)], "r1")
    inner = net.node("MaxPool", [inner], "p", kernel_shape=[2, 2], strides=[2, 2])
    net.conv(inner, 8, 4, "y", 3)
    model = net.build({"x": (1, 3, 8, "W")}, {"y": (1, 4, 4, "V")})
    low, best, high = _WIDTHS
    profile = {"x": ((1, 3, 8, low), (1, 3, 8, best), (1, 3, 8, high))}
    for width in _WIDTHS:
        x = integers((1, 3, 8, width), 1, seed=width)
        trial.relations(model, {"x": x}, profile=profile, has_batch=False, more=[check_profiles])


@trigger("B22", precisions="fp32 fp16", fidelity=STAND_IN, faults="only_the_largest_extents_right")
def numbers_of_every_width(trial: Trial) -> None:
    """A convolution with a dynamic batch and width is right at the ends of its profile and between them."""
    net = Net("wide_batch")
    net.node("Relu", [net.conv("x", 3, 8, "c", 3)], "y")
    model = net.build({"x": ("N", 3, 5, "W")}, {"y": ("N", 8, 5, "W")})
    profile = {"x": ((1, 3, 5, 3), (2, 3, 5, 5), (4, 3, 5, 9))}
    for batch, width in ((4, 9), (1, 3), (3, 7)):
        trial.check(model, {"x": integers((batch, 3, 5, width), 2, seed=width)}, profile=profile)
