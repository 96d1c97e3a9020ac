"""Planted defects: each breaks one promise and no other. `site` is what the emulator shows at one point of its work."""

from __future__ import annotations

import numpy as np


def _first_output(site):
    return next(iter(site.outputs.values()))


def conv_scaled(site):
    """fp32: one per mille too much, far outside the interval."""
    if site.kind == "node" and site.op_type == "Conv":
        _first_output(site)[...] *= np.float32(1.001)


def conv_last_bit(site):
    """One element of an exact result is off by its last bit."""
    if site.kind == "node" and site.op_type == "Conv":
        flat = _first_output(site).reshape(-1)
        flat[-1] = np.nextafter(flat[-1], flat.dtype.type(np.inf))


# Of `conv_model(integer=False)` on uniform data, in units of 2**-24: a sum's error has a standard deviation of 1 to 3, and
# a hard bound of about 50.
_UNIT = 2.0**-24


def conv_strays(site):
    """One element is 38 units off: inside the hard bound, some 16 standard deviations out."""
    if site.kind == "node" and site.op_type == "Conv":
        _first_output(site).reshape(-1)[7] += np.float32(38 * _UNIT)


def conv_noisy(site):
    """Every element is about 3 standard deviations off: none of them proves anything, all together do."""
    if site.kind == "node" and site.op_type == "Conv":
        values = _first_output(site)
        signs = np.where(np.arange(values.size) % 2, -1.0, 1.0).reshape(values.shape)
        values += (signs * 4 * _UNIT).astype(values.dtype)


def nan_swallowed(site):
    """A NaN becomes 0."""
    if site.kind == "execute":
        for values in site.outputs.values():
            np.nan_to_num(values, copy=False, nan=0.0, posinf=np.inf, neginf=-np.inf)


def relu_one_below(site):
    """An exact operator gives the neighbouring number."""
    if site.kind == "node" and site.op_type == "Relu":
        values = _first_output(site)
        values[...] = np.nextafter(values, values.dtype.type(-np.inf))


def _shift_last_row(site):
    for values in site.outputs.values():
        values[-1] += 0.25


def differs_when_repeated(site):
    """The second run of a context differs."""
    if site.kind == "execute" and site.run_index == 1:
        _shift_last_row(site)


def differs_for_identical_rows(site):
    """Rows differ by their slot, and only when their inputs are the same."""
    if site.kind == "execute" and site.batch > 1:
        x = next(iter(site.inputs.values()))
        if (x == x[:1]).all():
            _shift_last_row(site)


def differs_for_batch_one(site):
    """Another kernel, a wrong one, is chosen for one row."""
    if site.kind == "execute" and site.batch == 1:
        _shift_last_row(site)


def differs_in_another_order(site):
    """Rows whose first values do not rise lose their last row."""
    if site.kind == "execute" and site.batch > 1:
        x = next(iter(site.inputs.values())).reshape(site.batch, -1)[:, 0]
        if (np.diff(x) < 0).any():
            _shift_last_row(site)


def differs_with_a_marked_output(site):
    """The fusion that a marked output breaks was the right one."""
    if site.kind == "execute" and len(site.outputs) > 1:
        site.outputs["y"][-1] += 0.25


def differs_in_a_wider_profile(site):
    """The profile's largest batch leaks into the rows."""
    if site.kind == "execute" and site.profile and max(r[2][0] for r in site.profile.values()) > 8:
        _shift_last_row(site)


def stays_fp32(site):
    """The builder ignores the precision asked for."""
    if site.kind == "build":
        for name in list(site.layers):
            site.layers[name] = "fp32"


def enqueue_fails(site):
    """The engine does not run, and says so."""
    return False if site.kind == "enqueue" else None
