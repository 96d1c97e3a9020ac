"""Histograms of errors: same edges, nothing lost."""

from __future__ import annotations

import json

import numpy as np

from pytest_trt.golden.histogram import BINS, count_errors


def test_both_sides_share_edges_and_lose_nothing():
    rng = np.random.default_rng(0)
    old, new = rng.standard_normal((3, 500)) * 0.01, rng.standard_normal((3, 500)) * 0.02
    shown = count_errors(old, new)
    assert len(shown["edges"]) == BINS + 1 and len(shown["old"]) == len(shown["new"]) == BINS
    assert sum(shown["old"]) == sum(shown["new"]) == 1500
    assert shown["edges"][0] == -shown["edges"][-1] and shown["edges"][BINS // 2] == 0
    assert np.log2(shown["edges"][-1]) % 1 == 0
    assert json.loads(json.dumps(shown)) == shown


def test_far_errors_are_in_the_bins_at_the_ends():
    old = np.full(2000, 0.01)
    new = old.copy()
    new[0], new[1] = 5.0, np.inf
    shown = count_errors(old, new)
    assert shown["edges"][-1] < 0.1 and shown["new"][-1] == 1 and sum(shown["new"]) == 1999


def test_no_errors_are_shown_at_zero():
    shown = count_errors(np.zeros(5), np.zeros(0))
    assert sum(shown["old"]) == 5 and sum(shown["new"]) == 0 and shown["edges"][-1] == 1
    assert sum(count_errors(np.zeros(0), np.zeros(0))["old"]) == 0
