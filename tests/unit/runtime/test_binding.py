"""Arrays that are given for inputs: exact names, shapes and dtypes, or one error in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pytest_trt.errors import InputError, ProfileError
from pytest_trt.runtime.binding import TensorInfo, check_inputs, tensor_infos

IMAGE = TensorInfo("image", True, np.dtype(np.float32), (-1, 3, 8), ((1, 3, 8), (2, 3, 8), (4, 3, 8)))
COUNT = TensorInfo("count", True, np.dtype(np.int32), (2,), None)
INFOS = {"image": IMAGE, "count": COUNT}
GOOD: dict[str, Any] = {"image": np.zeros((2, 3, 8), np.float32), "count": np.zeros(2, np.int32)}


def test_good_inputs_come_back_contiguous_in_the_engines_order() -> None:
    got = check_inputs(INFOS, {"count": GOOD["count"], "image": np.zeros((8, 3, 2), np.float32).T})
    assert list(got) == ["image", "count"]
    assert got["image"].flags.c_contiguous


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"imag": GOOD["image"]}, InputError, "no input 'imag': did you mean 'image'?"),
        ({"image": np.zeros((2, 3, 8))}, InputError, "has dtype float64, the engine takes float32"),
        (
            {"image": np.zeros((2, 3), np.float32)},
            InputError,
            "has shape (2, 3), the engine takes 3 dimensions",
        ),
        ({"image": np.zeros((2, 4, 8), np.float32)}, InputError, "dimension 1 must be 3"),
        (
            {"image": np.zeros((5, 3, 8), np.float32)},
            ProfileError,
            "outside the profile (1, 3, 8) to (4, 3, 8)",
        ),
        ({"image": np.zeros((0, 3, 8), np.float32)}, ProfileError, "outside the profile"),
        ({"count": [1, 2]}, InputError, "has dtype int64"),
    ],
)
def test_bad_inputs_are_refused_in_words(change: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        check_inputs(INFOS, {**GOOD, **change})
    assert words in str(caught.value)


def test_a_missing_input_and_the_way_to_convert() -> None:
    with pytest.raises(InputError, match="input 'count' is missing") as caught:
        check_inputs(INFOS, {"image": GOOD["image"]})
    assert "image float32 (-1, 3, 8), count int32 (2,)" in str(caught.value)
    with pytest.raises(InputError) as caught:
        check_inputs(INFOS, {**GOOD, "image": np.zeros((2, 3, 8))})
    assert caught.value.mend == "array.astype(numpy.float32)"


def engine(kind: str = "FLOAT", profiles: int = 1) -> Any:
    return SimpleNamespace(
        num_optimization_profiles=profiles,
        num_io_tensors=1,
        get_tensor_name=lambda index: "x",
        get_tensor_mode=lambda name: "in",
        get_tensor_dtype=lambda name: SimpleNamespace(name=kind),
        get_tensor_location=lambda name: "device",
        get_tensor_shape=lambda name: (-1, 3),
        get_tensor_profile_shape=lambda name, index: [(1, 3), (2, 3), (4, 3)],
    )


TRT = SimpleNamespace(TensorIOMode=SimpleNamespace(INPUT="in"), TensorLocation=SimpleNamespace(HOST="host"))


def test_inputs_and_outputs_of_an_engine() -> None:
    (info,) = tensor_infos(TRT, engine())
    assert info == TensorInfo("x", True, np.dtype(np.float32), (-1, 3), ((1, 3), (2, 3), (4, 3)))
    assert info.nbytes((2, 3)) == 24
    assert info.nbytes(()) == 4


def test_types_that_numpy_lacks_and_profiles_that_are_not_there() -> None:
    with pytest.raises(InputError, match="input 'x' is FP8, which numpy has no type for"):
        tensor_infos(TRT, engine("FP8"))
    with pytest.raises(ProfileError, match="no optimization profile 1"):
        tensor_infos(TRT, engine(), 1)


def test_bfloat16_is_float32_for_the_caller_and_two_bytes_for_the_engine() -> None:
    (info,) = tensor_infos(TRT, engine("BF16"))
    assert info.dtype == np.float32 and info.nbytes((2, 3)) == 12
    halfway = 1 + 2.0**-8  # between 1 and the next bfloat16: ties to even
    values = np.array([1.0, halfway, 1 + 3 * 2.0**-8, -np.inf, np.nan, 3.4e38], np.float32)
    stored = info.to_engine(values)
    assert stored.dtype == np.uint16
    back = info.from_engine(stored)
    assert np.array_equal(
        back, np.array([1, 1, 1 + 2.0**-6, -np.inf, np.nan, np.inf], np.float32), equal_nan=True
    )


def test_a_scalar_stays_a_scalar() -> None:
    got = check_inputs({"k": TensorInfo("k", True, np.dtype(np.float32), (), None)}, {"k": np.float32(2)})
    assert got["k"].shape == ()
