from __future__ import annotations

from typing import Any

import pytest

from pytest_trt.errors import ProfileError
from pytest_trt.runtime.profiles import check_profile

INPUTS = {"x": (-1, 8, -1), "w": (4,)}


def test_a_good_profile_passes() -> None:
    check_profile(INPUTS, {"x": ((1, 8, 3), (2, 8, 3), (2, 8, 9))})


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ({"z": ((1,), (1,), (1,))}, "names 'z', which is not an input"),
        ({"x": ((1, 8, 1), (1, 8, 1))}, "needs (min, opt, max)"),
        ({"x": (1, 2, 3)}, "the profile of 'x' needs (min, opt, max), not (1, 2, 3)"),
        ({"x": ((1.5, 8, 1), (2, 8, 1), (2, 8, 1))}, "needs (min, opt, max)"),
        ({"x": None}, "needs (min, opt, max), not None"),
        ([{"x": ((1, 8, 1),) * 3}], "a profile of type list cannot be used"),
        ({"x": ((1, 8), (1, 8), (1, 8))}, "has 2 axes, not 3"),
        ({"x": ((1, 7, 1), (1, 8, 1), (1, 8, 1))}, "dimension 1 is 8 in the model"),
        ({"x": ((2, 8, 1), (1, 8, 1), (3, 8, 1))}, "is not min <= opt <= max at dimension 0"),
        ({"x": ((1, 8, 1), (5, 8, 1), (3, 8, 1))}, "is not min <= opt <= max at dimension 0"),
        ({"w": ((4,), (4,), (4,))}, "lacks the dynamic input 'x'"),
    ],
)
def test_a_bad_profile_is_refused_in_words(profile: Any, words: str) -> None:
    with pytest.raises(ProfileError) as caught:
        check_profile(INPUTS, profile)
    assert words in caught.value.what
