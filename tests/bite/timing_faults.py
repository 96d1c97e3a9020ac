"""Faults that only a measurement meets: they begin once an engine has run more often than a check of numbers runs it."""

from __future__ import annotations

import numpy as np

MANY = 10  # a warm-up alone has more runs


def nothing_written_after_many_runs(site):
    """From some run of a context on nothing is computed any more: the answer of the first runs is taken for good."""
    if site.kind == "execute" and site.run_index >= MANY:
        for name, values in site.outputs.items():
            site.outputs[name] = np.ma.masked_all_like(values)


def other_bits_after_many_runs(site):
    """From some run of a context on one output element is one step further from zero: a faster kernel has taken over."""
    if site.kind == "execute" and site.run_index >= MANY:
        for values in site.outputs.values():
            flat = values.reshape(-1)
            flat[:1] = np.nextafter(flat[:1], np.inf)
