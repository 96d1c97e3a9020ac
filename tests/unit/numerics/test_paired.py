"""The paired test of accuracy: its limits cover, and it never accepts what it cannot know."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_trt.numerics.paired import ACCEPTED, INCONCLUSIVE, REJECTED, least_samples, paired


@pytest.mark.parametrize(
    ("lost", "won", "n", "outcome"),
    [
        (0, 0, 298, INCONCLUSIVE),
        (0, 0, 299, ACCEPTED),
        (0, 0, 1, INCONCLUSIVE),
        (3, 0, 899, ACCEPTED),
        (4, 0, 899, INCONCLUSIVE),
        (9, 0, 899, REJECTED),
        (15, 3, 899, REJECTED),
        # Measured over the limit, on a sample that could not have been accepted: more are needed to say so.
        (1, 0, 20, INCONCLUSIVE),
        (20, 0, 50, REJECTED),
        (40, 50, 1000, ACCEPTED),
        (45, 40, 1000, INCONCLUSIVE),
        (300, 250, 50000, ACCEPTED),
        (0, 30, 100, ACCEPTED),
        (30, 0, 100, REJECTED),
        (50, 50, 100, INCONCLUSIVE),
        (7, 0, 7, REJECTED),
    ],
)
def test_outcome(lost, won, n, outcome):
    assert paired(lost, won, n).outcome == outcome


def test_no_disagreement_is_the_rule_of_three():
    for n in (10, 299, 5000):
        assert paired(0, 0, n).upper == pytest.approx(1 - 0.05 ** (1 / n), rel=1e-9)
    assert least_samples() == 299
    assert least_samples(0.05, 0.9) == 45


def test_only_losses_have_the_exact_binomial_limit():
    """Clopper and Pearson: P(X <= lost) is 5 % at the limit."""
    for lost, n in [(1, 40), (5, 900), (12, 300)]:
        upper = paired(lost, 0, n).upper
        tail = sum(math.comb(n, i) * upper**i * (1 - upper) ** (n - i) for i in range(lost + 1))
        assert (
            tail == pytest.approx(0.05, rel=1e-6)
            or upper > lost / n + 1.64 * math.sqrt(lost - lost**2 / n) / n
        )


@pytest.mark.parametrize(("lost", "won", "n"), [(3, 1, 500), (40, 20, 2000), (400, 380, 50000), (0, 9, 100)])
def test_never_below_the_normal_limit(lost, won, n):
    normal = (lost - won) / n + 1.6448 * math.sqrt(lost + won - (lost - won) ** 2 / n) / n
    assert paired(lost, won, n).upper >= normal


def test_limits_mirror_each_other():
    one, other = paired(9, 4, 700), paired(4, 9, 700)
    assert one.lower == -other.upper and one.upper == -other.lower
    assert one.lower < one.loss < one.upper


def test_many_counts_meet_the_normal_limit():
    lost, won, n = 4000, 3900, 50000
    normal = (lost - won) / n + 1.6448 * math.sqrt(lost + won - (lost - won) ** 2 / n) / n
    assert paired(lost, won, n).upper == pytest.approx(normal, rel=0.02)


@pytest.mark.parametrize("n", [50, 1000])
@pytest.mark.parametrize(("losses", "wins"), [(1, 0), (2.5, 0), (3, 0), (3.5, 1), (5, 5), (8, 3), (12, 8)])
def test_upper_limit_covers(n, losses, wins):
    """Drawn 20,000 times: the true loss lies under the limit in 94.5 % at least, where 95 % is promised."""
    shares = losses / n, wins / n
    rng = np.random.default_rng([n, int(10 * losses), int(10 * wins)])
    drawn = rng.multinomial(n, [*shares, 1 - sum(shares)], size=20_000)[:, :2]
    pairs, counts = np.unique(drawn, axis=0, return_counts=True)
    covered = [paired(int(lost), int(won), n).upper >= shares[0] - shares[1] for lost, won in pairs]
    assert np.sum(counts[covered]) / counts.sum() >= 0.945


@pytest.mark.parametrize(("lost", "won", "n"), [(0, 0, 20), (2, 0, 400), (5, 2, 600), (45, 40, 1000)])
def test_needed_sample_shows_it(lost, won, n):
    found = paired(lost, won, n)
    assert found.outcome == INCONCLUSIVE and found.needed is not None and found.needed > n
    scale = found.needed / n
    assert paired(math.ceil(lost * scale), math.floor(won * scale), found.needed).outcome == ACCEPTED


def test_no_sample_shows_what_is_not_so():
    assert paired(9, 0, 899).needed is None
    assert paired(1, 0, 899).needed == 899


@pytest.mark.parametrize(
    "arguments",
    [(-1, 0, 10), (0, -1, 10), (6, 5, 10), (0, 0, 0)],
)
def test_impossible_counts(arguments):
    with pytest.raises(ValueError, match="cannot be"):
        paired(*arguments)


@pytest.mark.parametrize(
    "options", [{"limit": 0.0}, {"limit": 1.0}, {"confidence": 0.5}, {"confidence": 1.0}]
)
def test_impossible_limits(options):
    with pytest.raises(ValueError, match="must be in"):
        paired(0, 0, 10, **options)
