"""The shapes that faults leave are named, and random ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.numerics.patterns import describe_pattern, find_pattern

SHAPE = (3, 12, 24, 20)


def mask(place, shape=SHAPE):
    bad = np.zeros(shape, bool)
    bad[place] = True
    return bad


def border(width):
    bad = np.ones(SHAPE, bool)
    bad[..., width:-width, width:-width] = False
    return bad


def board(parity):
    bad = np.zeros(SHAPE, bool)
    bad[..., np.indices(SHAPE[2:]).sum(axis=0) % 2 == parity] = True
    return bad


@pytest.mark.parametrize(
    ("bad", "names", "words"),
    [
        (np.ones(SHAPE, bool), ("every",), "every element"),
        (mask((0, 3, 4, 5)), ("one",), "one element"),
        (mask(-1), ("item-last",), "last item only; 33.3 % of the elements"),
        (mask(0), ("item-first",), "first item only"),
        (mask((slice(None), slice(8, None))), ("channel-end", "channel-tail"), "channels 8 to the end (of 12); the tail"),
        (mask((slice(None), slice(6, None))), ("channel-end",), "channels 6 to the end (of 12); 50.0 %"),
        (mask((slice(None), 3)), ("channel",), "3rd channel only"),
        (mask((slice(None), slice(2, 5))), ("channel",), "channels 2 to 4 (of 12)"),
        (mask((slice(None), slice(1, None, 4))), ("period",), "every 4th channel"),
        (mask((..., -1, slice(None))), ("row-last",), "last row only"),
        (mask((..., -1)), ("column-last",), "last column only"),
        (mask((..., 0)), ("column-first",), "first column only"),
        (mask((..., slice(None, None, 3))), ("period",), "every 3rd column"),
        (mask((..., slice(4, 8), slice(0, 4))), ("tile",), "a 4 x 4 tile: rows 4 to 7, columns 0 to 3"),
        (mask((1, 5, slice(4, 20), slice(0, 16))), ("item", "channel", "tile"), "1st item only; 5th channel only; a 16 x 16"),
        (border(1), ("border",), "the border of each plane, one element deep"),
        (border(2), ("border",), "the border of each plane, 2 elements deep"),
        (board(0), ("checkerboard",), "a checkerboard: even places"),
        (board(1), ("checkerboard",), "a checkerboard: odd places"),
        (mask((slice(None), slice(16, None)), (2, 20)), ("channel-end", "channel-tail"), "channels 16 to the end (of 20)"),
        (mask((slice(2, 5), slice(4, 8)), (8, 40)), ("tile",), "a 3 x 4 tile: items 2 to 4, channels 4 to 7"),
        (mask((..., slice(9, None)), (2, 3, 12)), ("position-end",), "positions 9 to the end (of 12)"),
    ],
)  # fmt: skip
def test_a_shape_is_named(bad, names, words):
    found = find_pattern(bad)
    assert found.names == names
    assert found.words.startswith(words) and describe_pattern(bad) == found.words
    assert (found.count, found.total) == (np.count_nonzero(bad), bad.size)


def test_a_step_in_memory_is_named():
    flat = np.zeros(np.prod(SHAPE), bool)
    flat[::7] = True
    assert find_pattern(flat.reshape(SHAPE)).words.startswith("every 7th element in memory")


def test_random_places_are_scattered():
    rng = np.random.default_rng(0)
    for share in (0.01, 0.3, 0.9):
        found = find_pattern(rng.random(SHAPE) < share)
        assert found.names == ("scattered",) and found.words.startswith("scattered, ")


def test_two_elements_are_no_period_and_no_tile():
    bad = np.zeros(SHAPE, bool)
    bad[0, 1, 2, 3] = bad[2, 7, 20, 11] = True
    assert set(find_pattern(bad).names) == {"scattered"}
