"""The accumulation bounds against kernels that sum in float32, in many orders, and on modelled tensor cores."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.numerics.bounds import (
    Bound,
    Contract,
    arch_factor,
    certified,
    input_error,
    store,
    sum_deviation,
    sum_error,
    widen,
)


def sequential(terms):
    total = np.float32(0)
    for term in terms:
        total = np.float32(total + np.float32(term))
    return float(total)


def pairwise(terms):
    values = terms.astype(np.float32)
    while values.size > 1:
        if values.size % 2:
            values = np.append(values, np.float32(0))
        values = values[::2] + values[1::2]
    return float(values[0])


def tensor_core(terms, products, extra):
    """Align `products` products and the accumulator to the largest exponent, cut, add, cut to 24 bits."""

    def cut(value, exponent):
        step = 2.0 ** (exponent - 23 - extra)
        return np.trunc(value / step) * step

    total = 0.0
    for start in range(0, terms.size, products):
        block = np.append(terms[start : start + products], total)
        top = np.frexp(np.abs(block).max())[1] - 1
        total = float(sum(cut(v, top) for v in block))
        if total:
            step = 2.0 ** (np.frexp(total)[1] - 24)
            total = float(np.trunc(total / step) * step)
    return total


def order_cases(rng, size):
    x = rng.standard_normal(size).astype(np.float16).astype(np.float64)
    w = rng.standard_normal(size).astype(np.float16).astype(np.float64)
    terms = x * w
    yield terms
    yield np.sort(terms)
    yield terms[np.argsort(-np.abs(terms))]
    yield np.abs(terms)


@pytest.mark.parametrize("size", [2, 7, 64, 500])
def test_no_order_of_summation_leaves_the_bound(size):
    rng = np.random.default_rng(size)
    for _ in range(20):
        for terms in order_cases(rng, size):
            exact, magnitude = terms.sum(), np.abs(terms).sum()
            room = sum_error(exact, magnitude, size, None, rounded_products=False)
            for kernel in (sequential, pairwise):
                assert abs(kernel(terms) - exact) <= room


def test_the_bound_is_nearly_attained():
    """Terms just over half an ulp of the first: every addition loses all it can, on a bound of 1 (0.99 measured)."""
    size = 256
    terms = np.full(size, 2.0**-24 * 1.0001)
    terms[0] = 1.0
    exact, magnitude = terms.sum(), terms.sum()
    worst = abs(sequential(terms) - exact)
    assert 0.95 < worst / float(sum_error(exact, magnitude, size, None, rounded_products=False)) <= 1.0


@pytest.mark.parametrize(("sm", "products", "extra"), [(70, 4, 0), (80, 8, 1), (90, 16, 2), (75, 4, 0)])
def test_modelled_tensor_cores_stay_inside_their_row(sm, products, extra):
    rng = np.random.default_rng(sm)
    for size in (8, 64, 300):
        for terms in order_cases(rng, size):
            exact, magnitude = terms.sum(), np.abs(terms).sum()
            room = sum_error(exact, magnitude, size, arch_factor(sm, "fp16"), rounded_products=False)
            assert abs(tensor_core(terms, products, extra) - exact) <= room


@pytest.mark.parametrize("size", [8, 64, 500])
def test_errors_of_random_sums_have_the_deviation_that_is_promised(size):
    """Products in float32, summed one by one: the root mean square of z is near 1 and no sum strays beyond 8 sigma."""
    rng = np.random.default_rng(size)
    z = []
    for _ in range(300):
        x, w = (rng.standard_normal(size).astype(np.float32) for _ in "xw")
        exact = x.astype(np.float64) * w
        sigma, bias = sum_deviation(exact.sum(), np.square(exact).sum(), size, truncating=False)
        z.append((sequential(x * w) - exact.sum()) / sigma)
        assert not np.any(bias)
    assert 0.4 < np.sqrt(np.mean(np.square(z))) < 1.5
    assert np.abs(z).max() < 8


def test_truncation_adds_a_bias_towards_zero():
    plain, none = sum_deviation(np.float64(100.0), np.float64(50.0), 200, truncating=False)
    cut, bias = sum_deviation(np.float64(100.0), np.float64(50.0), 200, truncating=True)
    read, more = sum_deviation(np.float64(100.0), np.float64(50.0), 200, truncating=True, reading=2.0**-9)
    assert plain < cut < read and none == 0 < bias < more


def test_unknown_architectures_take_the_worst_row():
    assert arch_factor(None, "fp16") == arch_factor(75, "fp16") == 3.0
    assert arch_factor(80, "fp16") == 1.375
    assert arch_factor(80, "tf32") == 1.75
    assert arch_factor(90, "fp16") == 1.0
    assert arch_factor(90, "fp32") is None


def test_the_certificate_asks_for_every_partial_sum_to_fit():
    magnitude = np.array([2.0**24, 2.0**24 + 1])
    assert certified(magnitude, 0).tolist() == [True, False]
    assert certified(magnitude, 1).tolist() == [True, True]
    assert certified(magnitude, None).all()


def test_tf32_inputs_cost_nothing_where_they_are_tf32_numbers():
    assert input_error("tf32", np.array([1.5, 1 + 2.0**-10])) == 0.0
    assert input_error("tf32", np.array([1 + 2.0**-11])) == 2.0**-10
    assert input_error("fp32", np.array([1 + 2.0**-20])) == 0.0


def test_storing_an_interval_rounds_its_ends_and_may_be_skipped():
    mid = np.array([1 + 2.0**-11])  # halfway between two fp16 numbers
    bound = widen(Bound.exact(mid, "fp16"), 2.0**-20)
    stored = store(bound, "fp16")
    assert (stored.low[0], stored.high[0]) == (1.0, 1 + 2.0**-10)
    kept = store(Bound.exact(mid, "fp16"), "fp16", may_skip=True)
    assert (kept.low[0], kept.high[0]) == (1.0, 1 + 2.0**-11)
    assert store(Bound.exact(mid, "fp16"), "fp16").is_exact


def test_rungs_widen_the_contract_one_permission_at_a_time():
    contract = Contract(sm=80)
    assert contract.rung("direct") is contract
    loose = contract.rung("unfused")
    assert not loose.fused and not loose.integer and loose.algorithm == "direct"
    assert contract.rung("winograd").algorithm == "winograd"
