"""Faults for the node cases: each ends or spoils one operator and no other."""

from __future__ import annotations

import os

import numpy as np


def _is(site, operator):
    return site.kind == "node" and site.op_type == operator


def aborts_in_tanh(site):
    """The process dies."""
    if _is(site, "Tanh"):
        os.abort()


def hangs_in_sin(site):
    """Nothing ever comes."""
    if _is(site, "Sin"):
        os.read(os.pipe()[0], 1)


def acos_off(site):
    """An operator without a limit is wrong: the outputs that the case expects show it alone."""
    if _is(site, "Acos"):
        for values in site.outputs.values():
            values *= np.float32(1.01)


def conv_a_little_off(site):
    """Far outside the limits, and inside the thousandth that `onnx`'s own runner allows."""
    if _is(site, "Conv"):
        for values in site.outputs.values():
            values *= np.float32(1.0001)
