"""How far a tensor reaches by each algorithm."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pytest_trt.emulator.histograms import BINS, Histogram, entropy, minmax, quantile


def counted(*batches):
    histogram = Histogram()
    for values in batches:
        histogram.add(np.asarray(values, np.float32))
    return histogram


def normal(count=4096, outlier=20.0):
    values = np.random.default_rng(0).standard_normal(count).astype(np.float32)
    values[7] = outlier
    return values


def test_counts_do_not_depend_on_how_the_data_came():
    values = normal()
    whole = counted(values)
    for parts in (np.array_split(values, 9), np.array_split(values, 3)[::-1], [values[:1], values[1:]]):
        got = counted(*parts)
        assert (got.amax, got.width) == (whole.amax, whole.width) == (20.0, 32 / BINS)
        np.testing.assert_array_equal(got.counts, whole.counts)


def test_every_finite_value_is_in_its_bin():
    histogram = counted([0.0, -1.0, 1.0, np.inf, -np.inf, np.nan], [0.0], [0.999])
    assert histogram.amax == 1.0 and histogram.width == 2 / BINS
    assert {int(place): int(histogram.counts[place]) for place in np.flatnonzero(histogram.counts)} == {
        0: 2, 1022: 1, 1024: 2,
    }  # fmt: skip


def test_ranges_may_lie_far_apart():
    histogram = counted([1e-38], [3e38], [0.0])
    assert histogram.counts.sum() == 3 and histogram.counts[0] == 2 and minmax(histogram) == np.float32(3e38)


@pytest.mark.parametrize("find", [minmax, entropy, quantile(0.5)])
@pytest.mark.parametrize("batches", [[], [[0.0, 0.0]], [[np.nan, np.inf]]])
def test_what_was_never_anything_reaches_nowhere(find, batches):
    assert find(counted(*batches)) == 0.0


def test_minmax_is_exact():
    values = normal(outlier=-17.3)
    assert minmax(counted(values)) == float(np.abs(values).max())


def test_entropy_leaves_outliers_out_and_keeps_a_full_range():
    assert 2.5 < entropy(counted(normal())) < 5.0
    uniform = np.random.default_rng(1).uniform(-1, 1, 20000)
    assert 0.95 < entropy(counted(uniform)) <= 1.0


def divergence(counts, bins):
    """Kullback-Leibler, in loops, of a histogram whose rest is in the last bin from its first bins in 128 levels."""
    p = [*counts[:bins]]
    p[-1] += sum(counts[bins:])
    edges = [level * bins // 128 for level in range(129)]
    q = [0.0] * bins
    for low, high in itertools.pairwise(edges):
        filled = [place for place in range(low, high) if counts[place]]
        for place in filled:
            q[place] = sum(counts[low:high]) / len(filled)
    loss = 0.0
    for mine, theirs in zip(p, q, strict=True):
        if mine and not theirs:
            return np.inf
        loss += mine / sum(p) * np.log(mine / sum(p) / (theirs / sum(q))) if mine else 0.0
    return loss


def test_entropy_is_the_least_divergence():
    histogram = counted(normal(count=600, outlier=9.0))
    counts = histogram.counts[: np.flatnonzero(histogram.counts)[-1] + 1].tolist()
    candidates = range(len(counts), 127, -16)
    losses = {bins: divergence(counts, bins) for bins in candidates}
    found = round(entropy(histogram) / histogram.width - 0.5)
    assert divergence(counts, found) <= min(losses.values()) + 1e-12
    assert divergence(counts, found) < losses[len(counts)]


@pytest.mark.parametrize(("part", "reach"), [(1.0, 100.0), (0.99, 99.0), (0.5, 50.0)])
def test_a_quantile_ends_with_its_bin(part, reach):
    got = quantile(part)(counted(np.arange(1, 101)))
    assert reach <= got <= min(reach + 128 / BINS, 100.0)
