"""Preprocessing of calibration and inference: bits, the first difference, and a guess at the reason."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.errors import InputError
from pytest_trt.precision.pipelines import compare_pipelines

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def images(count=3):
    """Raw images as a camera gives them: HWC, RGB, 0 to 255."""
    return [np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8) for seed in range(count)]


def infer(raw):
    scaled = (raw.astype(np.float32) / np.float32(255) - MEAN) / STD
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))[None]


def test_the_same_function_is_the_same():
    found = compare_pipelines(infer, lambda raw: infer(raw.copy()), images())
    assert found.same and (found.samples, found.differing, found.sample, found.guess) == (3, 0, -1, "")


def test_one_bit_of_one_element_is_found():
    def calibrate(raw):
        made = infer(raw)
        if raw[0, 0, 0] == images()[1][0, 0, 0]:
            made[0, 2, 3, 4] = np.nextafter(made[0, 2, 3, 4], np.float32(9))
        return made

    found = compare_pipelines(calibrate, infer, images())
    assert (found.samples, found.differing, found.sample, found.index) == (3, 1, 1, (0, 2, 3, 4))
    assert 0 < found.max_difference < 1e-5
    assert not found.same


def test_signed_zero_and_nan_are_compared_by_their_bits():
    one, other = np.array([0.0, np.nan]), np.array([-0.0, np.nan])
    assert compare_pipelines(lambda raw: one, lambda raw: one.copy(), [0]).same
    found = compare_pipelines(lambda raw: one, lambda raw: other, [0])
    assert (found.differing, found.index, found.max_difference) == (1, (0,), 0.0)


def scaled(factor):
    return lambda raw: (raw.astype(np.float32) * np.float32(factor)).transpose(2, 0, 1)[None]


@pytest.mark.parametrize(
    ("calibration", "inference", "guess"),
    [
        (scaled(1), scaled(1 / 255), "the values are scaled: inference = calibration * 0.00392157 (1/255)"),
        (scaled(1 / 255), scaled(1), "the values are scaled: inference = calibration * 255 (255)"),
        (scaled(1), scaled(3), "the values are scaled: inference = calibration * 3"),
        (
            scaled(1 / 255),
            infer,
            "the normalisation differs: inference = (calibration - mean) / std with mean",
        ),
        (lambda raw: infer(raw[:, :, ::-1]), infer, "the channel order differs"),
        (
            lambda raw: scaled(1)(raw[:, :, ::-1]),
            scaled(1),
            "the channel order differs (RGB and BGR, axis 1)",
        ),
        (
            lambda raw: raw[None],
            lambda raw: raw.transpose(2, 0, 1)[None],
            "the layout differs: NHWC and NCHW",
        ),
        (lambda raw: raw.transpose(2, 0, 1), lambda raw: raw, "the layout differs: CHW and HWC"),
        (lambda raw: raw, lambda raw: raw[None], "the same values have another shape"),
        (lambda raw: raw, lambda raw: raw.astype(np.float32), "the types differ: uint8 and float32"),
        (
            lambda raw: raw.astype(np.float32)[None],
            scaled(1 / 255),
            "the layout differs: NHWC and NCHW, and the values are scaled",
        ),
        (
            lambda raw: scaled(1)(raw[:, :, ::-1]),
            scaled(1 / 255),
            "the channel order differs (RGB and BGR, axis 1), and the values are scaled",
        ),
        (lambda raw: infer(raw) ** 3, infer, ""),
    ],
)
def test_guess(calibration, inference, guess):
    found = compare_pipelines(calibration, inference, images())
    assert found.differing == 3
    assert found.guess.startswith(guess) if guess else not found.guess


def test_normalisation_is_told_channel_by_channel():
    guess = compare_pipelines(scaled(1 / 255), infer, images()).guess
    assert guess.endswith("mean 0.485, 0.456, 0.406 and std 0.229, 0.224, 0.225")


def test_one_normalisation_for_all():
    def whole(raw):
        return (raw.astype(np.float32) - 100) / 50

    guess = compare_pipelines(lambda raw: raw.astype(np.float32), whole, images()).guess
    assert guess.endswith("with mean 100 and std 50")


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_blank_images_prove_no_relation(value):
    def blank(factor):
        return lambda raw: np.full((3, 4, 4), value * factor + factor, np.float32)

    assert compare_pipelines(blank(1), blank(2), [0]).guess == ""


def test_nan_has_no_relation():
    found = compare_pipelines(lambda raw: np.full(9, np.nan), lambda raw: np.arange(9.0), [0])
    assert (found.guess, found.max_difference) == ("", np.inf)


def test_mappings_name_the_input():
    def pair(shift):
        return lambda raw: {"ids": raw, "mask": raw * 0 + np.int64(shift)}

    found = compare_pipelines(pair(0), pair(1), [np.arange(4)])
    assert (found.input, found.got, found.want) == ("mask", "0", "1")
    found = compare_pipelines(lambda raw: {"a": raw}, lambda raw: {"b": raw}, [np.arange(4)])
    assert (found.got, found.want) == ("inputs 'a'", "inputs 'b'")


def test_shapes_are_told():
    found = compare_pipelines(lambda raw: raw[:3], lambda raw: raw[:2], [np.arange(4)])
    assert (found.got, found.want, found.max_difference) == ("shape (3,)", "shape (2,)", np.inf)


def test_wrong_use():
    with pytest.raises(InputError, match="no raw samples"):
        compare_pipelines(infer, infer, [])
    with pytest.raises(InputError, match="the preprocessing of inference returns list"):
        compare_pipelines(infer, lambda raw: [1], images())
