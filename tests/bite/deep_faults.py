"""Planted defects of deep networks: each breaks one promise and no other."""

from __future__ import annotations

import numpy as np


def _hits(site, name):
    return site.kind == "node" and site.node_name == name


def only_the_plain_engine(site):
    """The engine without marked outputs has another, wrong kernel: a part in twenty too large."""
    if site.kind == "execute" and list(site.outputs) == ["y"]:
        site.outputs["y"] *= np.float16(1.05) if site.outputs["y"].dtype == np.float16 else np.float32(1.05)


def bias_left_out(site):
    """One convolution forgets its bias."""
    if _hits(site, "conv3"):
        bias = list(site.inputs.values())[2].astype(np.float64)[:, None, None]
        for name, stored in site.outputs.items():
            site.outputs[name] = (site.exact[name].astype(np.float64) - bias).astype(stored.dtype)


# Of `deep_model()` on uniform data in FP32, in units of 2**-23: the error of a logit has a standard deviation of 1.6 to 2.7;
# logit (0, 3) may be 20 off by 12 of them, and 24 by the hard bound.
_UNIT = 2.0**-23
STRAY, NOISE = 22.5, 5


def head_strays(site):
    """One logit is off by more than 12 standard deviations, and by less than the hard bound."""
    if _hits(site, "head"):
        next(iter(site.outputs.values()))[0, 3] += np.float32(STRAY * _UNIT)


def head_noisy(site):
    """Every logit is some 3 standard deviations off."""
    if _hits(site, "head"):
        values = next(iter(site.outputs.values()))
        signs = np.where(np.arange(values.size) % 2, -1.0, 1.0).reshape(values.shape)
        values += (signs * NOISE * _UNIT).astype(values.dtype)


def plain_layer_scaled(site):
    """One layer is four parts in a thousand too large, where no inner tensor is an output."""
    if _hits(site, "relu3") and not site.marked_outputs:
        values = next(iter(site.outputs.values()))
        values *= values.dtype.type(1.004)
