"""The float64 reference against plain loops, which share nothing with it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pytest_trt.numerics.linear import Window, columns, conv_transpose, transposed_terms, windows


def slow_conv(x, w, window, groups):
    batch, channels = x.shape[:2]
    out = window.output_size(x.shape[2:])
    filters = w.shape[0]
    y = np.zeros((batch, filters, *out))
    per_in, per_out = channels // groups, filters // groups
    for n, m in itertools.product(range(batch), range(filters)):
        group = m // per_out
        for place in itertools.product(*map(range, out)):
            for c, tap in itertools.product(range(per_in), itertools.product(*map(range, window.kernel))):
                at = [
                    p * s + t * d - b
                    for p, s, t, d, b in zip(
                        place, window.strides, tap, window.dilations, window.begin, strict=True
                    )
                ]
                if all(0 <= a < size for a, size in zip(at, x.shape[2:], strict=True)):
                    y[(n, m, *place)] += x[(n, group * per_in + c, *at)] * w[(m, c, *tap)]
    return y


CASES = [
    (1, 1, Window((3,), (1,), (1,), (1,), (1,))),
    (2, 2, Window((2, 3), (2, 1), (1, 2), (0, 2), (1, 0))),
    (1, 3, Window((3, 1), (3, 2), (2, 1), (2, 0), (0, 1))),
    (1, 1, Window((2, 1, 2), (1, 2, 1), (1, 1, 2), (1, 0, 0), (0, 0, 1))),
]


@pytest.mark.parametrize(("batch", "groups", "window"), CASES)
def test_convolution_equals_plain_loops(batch, groups, window):
    rng = np.random.default_rng(1)
    rank = len(window.kernel)
    x = rng.integers(-9, 9, (batch, 2 * groups, *(6, 7, 5)[:rank])).astype(float)
    w = rng.integers(-9, 9, (3 * groups, 2, *window.kernel)).astype(float)
    assert np.array_equal(columns(x, window, groups).times(w), slow_conv(x, w, window, groups))


@pytest.mark.parametrize(("batch", "groups", "window"), CASES)
def test_transposed_convolution_is_the_adjoint(batch, groups, window):
    """<conv(x), y> = <x, conv_transpose(y)> for all x, y."""
    rng = np.random.default_rng(2)
    rank = len(window.kernel)
    x = rng.integers(-9, 9, (batch, 2 * groups, *(6, 7, 5)[:rank])).astype(float)
    w = rng.integers(-9, 9, (3 * groups, 2, *window.kernel)).astype(float)
    forward = columns(x, window, groups).times(w)
    y = rng.integers(-9, 9, forward.shape).astype(float)
    size = x.shape[2:]
    extra = tuple(
        size[a]
        - ((y.shape[2 + a] - 1) * window.strides[a] + window.span(a) - window.begin[a] - window.end[a])
        for a in range(rank)
    )
    back = conv_transpose(
        y, w, Window(window.kernel, window.strides, window.dilations, window.begin, window.end, extra), groups
    )
    assert back.shape == x.shape
    assert float((forward * y).sum()) == float((x * back).sum())


def test_terms_of_a_transposed_convolution_are_counted():
    data = np.ones((1, 3, 40))
    for kernel, stride, dilation in itertools.product((1, 2, 3, 5), (1, 2, 3), (1, 2, 3)):
        window = Window((kernel,), (stride,), (dilation,), (0,), (0,), (0,))
        most = conv_transpose(data, np.ones((3, 1, kernel)), window, 1).max()
        assert most == transposed_terms(window, 3), (kernel, stride, dilation)


def test_ceil_mode_drops_windows_that_start_in_the_end_padding():
    window = Window((2,), (2,), (1,), (0,), (1,))
    assert window.output_size((4,), ceil=True) == (2,)
    assert window.output_size((5,), ceil=True) == (3,)


def test_windows_fill_what_lies_outside():
    x = np.arange(3.0).reshape(1, 1, 3)
    view = windows(x, Window((2,), (1,), (1,), (1,), (1,)), (4,), fill=-np.inf)
    assert view[0, 0].tolist() == [[-np.inf, 0.0], [0.0, 1.0], [1.0, 2.0], [2.0, -np.inf]]
