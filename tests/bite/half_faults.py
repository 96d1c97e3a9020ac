"""Planted defects for the FP16 report: each shows in one of its checks and in no other."""

from __future__ import annotations

import numpy as np

from pytest_trt.emulator.faults.precision import bf16_inputs_where_fp16_promised


def _hits(site, name, precision):
    return site.kind == "node" and site.node_name == name and site.precision == precision


def reference_off(site):
    """The largest value of the FP32 reference's first convolution is off by TF32's last bit."""
    if _hits(site, "conv0", "fp32"):
        values = next(iter(site.outputs.values()))
        values.flat[np.argmax(values)] *= np.float32(1 + 2.0**-11)


def layer_kept_wide(site):
    """One convolution of the 16-bit engine is built in FP32."""
    if site.kind == "build" and site.layers.get("conv2") == "fp16":
        site.layers["conv2"] = "fp32"


def first_convolution_coarse(site):
    """The first convolution reads its operands in bfloat16."""
    if _hits(site, "conv0", "fp16"):
        bf16_inputs_where_fp16_promised(site)


def head_lost(site):
    """One value of the last convolution is infinite."""
    if _hits(site, "head", "fp16"):
        next(iter(site.outputs.values())).flat[5] = np.inf


def head_lost_in_bf16(site):
    """One value of a sum is infinite, in a network that leaves the range of FP16 but not of bf16."""
    if _hits(site, "add", "bf16"):
        next(iter(site.outputs.values())).flat[5] = np.inf


def overflow_told_nowhere(site):
    """What FP16 cannot hold becomes its largest number, in the convolution alone."""
    if _hits(site, "conv", "fp16"):
        values = next(iter(site.outputs.values()))
        np.clip(values, -65504, 65504, out=values)
