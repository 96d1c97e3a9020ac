from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.records import Settings
from pytest_trt.strategies import apply_budget


def draw_all(settings, salt="", fail_above=None):
    """Return what a property test drew under some settings."""
    seen = []

    @given(st.integers(0, 10**6))
    def check(number):
        seen.append(number)
        assert fail_above is None or number <= fail_above

    check = apply_budget(check, settings, salt=salt)
    if fail_above is None:
        check()
    else:
        with pytest.raises(AssertionError):
            check()
    return seen


@pytest.mark.parametrize("name, count", [("quick", 20), ("standard", 100), ("thorough", 700)])
def test_the_budget_is_the_number_of_examples(name, count):
    assert len(draw_all(Settings(budget=name))) == count


def test_the_seed_repeats_and_changes_the_draws():
    first = draw_all(Settings(seed=1))
    assert draw_all(Settings(seed=1)) == first
    assert draw_all(Settings(seed=2)) != first


def test_two_precisions_draw_differently():
    assert draw_all(Settings(), salt="fp16") != draw_all(Settings(), salt="int8")


def test_a_failure_is_shrunk():
    assert draw_all(Settings(), fail_above=10)[-1] == 11


def test_a_failure_under_a_fault_is_not():
    seen = draw_all(Settings(faults=("pkg:fault",)), fail_above=10)
    assert len([number for number in seen if number > 10]) <= 2
