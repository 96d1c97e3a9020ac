"""The classes of a comparison of outputs, one by one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pytest_trt.golden.compare import compare_outputs, measure_errors
from pytest_trt.golden.record import BENIGN, BUILD, DRIFT, IDENTICAL, REGRESSION, UNUSABLE
from pytest_trt.numerics.bounds import Bound

from .errors import NOW, SHAPE, SIZE, WIDTH, errors, golden, limit, reference, stored

MID = reference()
LIMITS = {"y": limit(MID)}
OLD = stored(MID, errors(1))
NEW = stored(MID, errors(2))


def classed(old, new, limits=LIMITS, facts=None):
    return compare_outputs(golden(facts=facts, y=old), golden(NOW, y=new), limits)


class Refuses(dict):
    """Limits that nobody may work out."""

    def __contains__(self, name):
        return True

    def __getitem__(self, name):
        raise AssertionError(f"the limit of {name!r} was asked for")


def test_the_same_bits_are_identical_and_no_limit_is_worked_out():
    found = classed(OLD, OLD.copy(), Refuses(), {"numbers": {"y": {"outside": 0.0}}})
    assert (found.outcome, found.why) == (IDENTICAL, ("identical: the same bits in 1 output",))
    assert found.numbers == {"y": {"changed": 0.0, "total": float(OLD.size)}} and not found.histograms
    assert (found.key.product, found.other.product) == (NOW, golden().key.product)
    assert classed(OLD, OLD.copy(), None).outcome == IDENTICAL


def test_nan_of_the_same_bits_is_identical():
    values = np.array([np.nan, 1.0], np.float32)
    assert classed(values, values.copy(), None).outcome == IDENTICAL


def test_the_same_bits_that_were_wrong_already_are_a_regression():
    wrong = stored(MID, 2 * WIDTH)
    told = classed(wrong, wrong.copy(), Refuses(), {"numbers": measure_errors({"y": wrong}, LIMITS)})
    assert told.outcome == REGRESSION and f"{wrong.size} of {wrong.size} outside" in told.why[0]
    assert "already wrong when the golden was recorded" in told.why[0]
    # Nothing was kept of the golden's numbers: the limits tell.
    assert classed(wrong, wrong.copy()).outcome == REGRESSION
    assert classed(OLD, OLD.copy()).outcome == IDENTICAL


def test_other_errors_of_the_same_size_are_benign():
    found = classed(OLD, NEW)
    assert found.outcome == BENIGN and len(found.why) == 1
    assert "elements changed, at most" in found.why[0] and "inside of the limits" in found.why[0]
    numbers = found.numbers["y"]
    assert numbers["changed"] == np.count_nonzero(OLD != NEW) and numbers["total"] == OLD.size
    for side in ("old", "new"):
        assert numbers[f"{side}_rms"] == pytest.approx(SIZE / WIDTH, rel=0.1)
        assert abs(numbers[f"{side}_bias"]) < numbers[f"{side}_rms"] / 5 < numbers[f"{side}_largest"]
        assert numbers[f"{side}_outside"] == 0
    assert (numbers["free"], numbers["judged"], numbers["certified"]) == (OLD.size, OLD.size, 0)
    shown = found.histograms["y"]
    assert sum(shown["old"]) == sum(shown["new"]) == OLD.size == sum(shown["old"])
    json.dumps([dict(found.numbers), dict(found.histograms)])


def test_an_element_outside_is_a_regression_and_the_place_is_told():
    worse = NEW.copy()
    worse[1, 2, 3, 4] = MID[1, 2, 3, 4] + 2 * WIDTH
    found = classed(OLD, worse)
    assert found.outcome == REGRESSION
    assert "1 of 1280 elements outside of the limits" in found.why[0] and "at (1, 2, 3, 4)" in found.why[0]
    assert "none was when the golden was recorded" in found.why[0]
    assert found.numbers["y"]["new_outside"] == 1


def test_what_was_outside_already_is_said():
    wrong, other = stored(MID, 2 * WIDTH), stored(MID, 3 * WIDTH)
    found = classed(wrong, other)
    assert found.outcome == REGRESSION and "already wrong when the golden was recorded: 1280" in found.why[0]


def test_what_was_outside_and_is_inside_today_is_benign():
    found = classed(stored(MID, 2 * WIDTH), NEW)
    assert found.outcome == BENIGN and "1280 were outside of the limits and are inside today" in found.why[0]


def test_anything_but_equality_on_exact_data_is_a_regression():
    exact = {"y": Bound.exact(MID, "fp32")}
    right = stored(MID, 0)
    off = right.copy()
    off[0, 0, 0, 0] = np.nextafter(off[0, 0, 0, 0], np.inf, dtype=np.float32)
    found = classed(right, off, exact)
    assert found.outcome == REGRESSION and "the one admissible value is" in found.why[0]
    assert classed(off, right, exact).outcome == BENIGN


def test_names_types_and_shapes_are_regressions_without_limits_too():
    for change, words in (
        ({"y": OLD.astype(np.float64)}, "is float64 (4, 5, 8, 8), and was float32 (4, 5, 8, 8)"),
        ({"y": OLD.reshape(5, 4, 8, 8)}, "is float32 (5, 4, 8, 8), and was float32 (4, 5, 8, 8)"),
        ({}, "output 'y' is missing; there are none"),
        ({"y": OLD, "z": OLD}, "output 'z' is new; the golden has y"),
    ):
        found = compare_outputs(golden(y=OLD), golden(NOW, **change), None)
        assert found.outcome == REGRESSION and words in found.why[0]


def test_a_reference_of_another_shape_is_a_regression():
    other = {"y": limit(reference((2, 2)))}
    found = classed(OLD, NEW, other)
    assert found.outcome == REGRESSION and "and the reference (2, 2)" in found.why[0]


@pytest.mark.parametrize("limits", [None, {}, {"y": replace(LIMITS["y"], loose=np.ones(SHAPE, bool))}])
def test_without_a_reference_a_change_is_drift_and_the_way_to_one_is_told(limits):
    found = classed(OLD, NEW, limits)
    assert found.outcome == DRIFT and "without a reference (model=, inputs=)" in found.why[0]
    assert not found.histograms and found.numbers["y"]["changed"] > 0


def test_without_a_reference_a_new_nan_is_a_regression():
    lost = OLD.copy()
    lost[0, 0, 0, 0] = np.nan
    for old, new in ((OLD, lost), (lost, OLD)):
        found = classed(old, new, None)
        assert (
            found.outcome == REGRESSION and "1 of 1280 elements became NaN, or ceased to be" in found.why[0]
        )


@pytest.mark.parametrize("limits", [None, {"y": limit(np.zeros(SHAPE))}])
def test_signs_of_zero_are_benign_with_a_reference_or_without(limits):
    zeros = np.zeros(SHAPE, np.float32)
    found = classed(zeros, -zeros, limits)
    assert found.outcome == BENIGN and "other bits and the same values" in found.why[0]
    assert found.numbers["y"]["changed"] == 0


def test_large_integers_differ_in_their_last_bit():
    large = np.array([2**60], np.int64)
    found = classed(large, large + 1, None)
    assert found.outcome == DRIFT and found.numbers["y"]["changed"] == 1


def test_nan_masks_are_those_of_the_reference():
    mid = np.array([np.nan, 1.0])
    limits = {"y": Bound.exact(mid, "fp32")}
    right, wrong = np.array([np.nan, 1], np.float32), np.array([0, 1], np.float32)
    assert classed(right, wrong, limits).outcome == REGRESSION
    assert classed(wrong, right, limits).outcome == BENIGN


def test_elements_without_a_promise_may_change():
    loose = np.zeros(SHAPE, bool)
    loose[0] = True
    other = OLD.copy()
    other[0] = 1e6
    limits = {"y": replace(LIMITS["y"], loose=loose)}
    assert classed(OLD, other, limits).outcome == BENIGN
    other[0] = np.nan
    assert classed(OLD, other, limits).outcome == BENIGN
    other[1, 0, 0, 0] = 1e6
    assert classed(OLD, other, limits).outcome == REGRESSION


def test_elements_without_a_promise_open_no_door():
    """All others moved by one step, which is never drift."""
    loose = np.zeros(SHAPE, bool)
    loose[0, 0, 0, 0] = True
    right = stored(MID, 0)
    moved = np.nextafter(right, np.float32(np.inf))
    moved[0, 0, 0, 0] = 1e6
    found = classed(right, moved, {"y": replace(LIMITS["y"], loose=loose)})
    assert found.outcome == BENIGN and "at most 1 steps" in found.why[0]


@pytest.mark.parametrize("value", [1e6, -1e6])
def test_what_was_outside_before_is_no_yardstick(value):
    wrong = OLD.copy()
    wrong[0, 0, 0, 0] = value
    found = classed(wrong, stored(MID, 2 * errors(3)))
    assert found.outcome == DRIFT and any("the RMS error" in line for line in found.why)


def test_overflow_may_be_infinite_in_one_version():
    overflow = np.zeros(SHAPE, bool)
    overflow[0, 0, 0, 0] = True
    other = NEW.copy()
    other[0, 0, 0, 0] = np.inf
    assert classed(OLD, other, {"y": replace(LIMITS["y"], overflow=overflow)}).outcome == BENIGN
    assert classed(OLD, other).outcome == REGRESSION


def test_one_step_of_the_type_is_never_drift():
    """Also where every element moved up, and none had an error before."""
    right = stored(MID, 0)
    for direction in (np.inf, -np.inf):
        moved = np.nextafter(right, np.float32(direction))
        assert classed(right, moved).outcome == BENIGN
    levels = {"y": replace(limit(MID * 0, 3.0), scale=np.array(2.0))}
    assert classed(np.zeros(SHAPE, np.float32), np.full(SHAPE, 2, np.float32), levels).outcome == BENIGN
    whole = {"y": replace(limit(MID * 0, 3.0), kind="int32")}
    assert classed(np.zeros(SHAPE, np.int32), np.full(SHAPE, 1, np.int32), whole).outcome == BENIGN
    assert classed(np.zeros(SHAPE, np.int32), np.full(SHAPE, 2, np.int32), whole).outcome == DRIFT


def test_two_steps_everywhere_are_drift():
    right = stored(MID, 0)
    moved = right + 2 * np.spacing(np.maximum(np.abs(right), 2))
    assert classed(right, moved).outcome == DRIFT


def test_a_larger_error_is_drift_and_told_with_its_numbers():
    found = classed(OLD, stored(MID, 2 * errors(3)))
    assert found.outcome == DRIFT and found.why[0].startswith("drift: output 'y', the whole output")
    assert "the RMS error grew from" in found.why[0] and "by chance" in found.why[0]
    assert any(line.startswith("benign: ") for line in found.why[1:])


def test_a_smaller_error_is_benign():
    assert classed(stored(MID, 2 * errors(3)), OLD).outcome == BENIGN


def test_the_standard_deviation_is_the_unit_where_it_is_known():
    """Half of the elements err a thousand times as much; the others' growth shows in units of their own deviation."""
    coarse = np.where(np.arange(SHAPE[3]) % 2, 1000.0, 1.0)
    known = limit(MID, 100.0, sigma=np.broadcast_to(SIZE * coarse, SHAPE), bias=np.zeros(SHAPE))
    grown = errors(2) * np.where(coarse == 1, 3, 1) * coarse
    old, new = stored(MID, errors(1) * coarse), stored(MID, grown)
    with_it = classed(old, new, {"y": known})
    assert with_it.outcome == DRIFT
    assert any("the whole output" in line for line in with_it.why)
    without = classed(old, new, {"y": limit(MID, 100.0)})
    assert not any("the whole output" in line for line in without.why)


def test_few_elements_are_said_to_be_too_few():
    mid = reference((1, 10))
    found = classed(stored(mid, errors(1, (1, 10))), stored(mid, errors(2, (1, 10))), {"y": limit(mid)})
    assert found.outcome == BENIGN
    assert "10 elements with more than one admissible value are too few" in found.why[1]
    assert not any("too few" in line for line in classed(OLD, NEW).why)


def test_bfloat16_may_come_as_its_bits():
    mid = np.array([1.0, 2.0])
    bits = (np.array([1, 2], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    limits = {"y": Bound.exact(mid, "bf16")}
    assert measure_errors({"y": bits}, limits)["y"]["outside"] == 0
    found = classed(bits, bits + np.uint16(1), limits)
    assert found.outcome == REGRESSION


def test_the_worst_output_decides_and_comes_first():
    arrays = {"a": OLD, "b": OLD, "c": OLD}
    today = {"a": OLD.copy(), "b": NEW, "c": stored(MID, 2 * WIDTH)}
    found = compare_outputs(golden(**arrays), golden(NOW, **today), dict.fromkeys(arrays, LIMITS["y"]))
    assert found.outcome == REGRESSION
    assert [line.partition(":")[0] for line in found.why] == ["regression", "benign"]


@pytest.mark.parametrize("fact", ["inputs", "model"])
def test_another_input_or_model_cannot_be_compared(fact):
    old, new = golden(facts={fact: "one"}, y=OLD), golden(NOW, facts={fact: "two"}, y=OLD)
    found = compare_outputs(old, new, None)
    assert (
        found.outcome == UNUSABLE and f"another {fact.rstrip('s')}: one, and today's is two" in found.why[0]
    )
    assert compare_outputs(golden(y=OLD), new, None).outcome == IDENTICAL


def test_a_build_is_not_compared_as_outputs():
    build = replace(golden(), kind=BUILD)
    for pair in ((build, golden(NOW)), (golden(), build), (build, build)):
        assert compare_outputs(*pair, None).outcome == UNUSABLE


def test_nothing_is_changed_in_the_arrays_and_the_limits():
    frozen = [values.copy() for values in (OLD, NEW, MID)]
    for values in frozen:
        values.setflags(write=False)
    old, new, mid = frozen
    assert classed(old, new, {"y": limit(mid)}).outcome == BENIGN


def test_scalars_and_empty_outputs_have_classes():
    one = np.array(1.0)
    found = classed(np.array(1, np.float32), np.array(1.01, np.float32), {"y": limit(one)})
    assert found.outcome in (BENIGN, DRIFT)
    empty = np.zeros((0, 3), np.float32)
    assert classed(empty, empty.copy(), None).outcome == IDENTICAL


def test_the_numbers_of_a_golden_are_plain_and_in_units_of_the_limit():
    sharp = MID.copy()
    mixed = Bound(MID, np.where(MID > 0, MID - WIDTH, sharp), np.where(MID > 0, MID + WIDTH, sharp), "fp32")
    found = measure_errors({"y": stored(MID, WIDTH / 2), "unknown": OLD}, {"y": mixed})
    assert set(found) == {"y"}
    positive = np.count_nonzero(MID > 0)
    assert found["y"]["rms"] == pytest.approx(0.5, rel=1e-4)
    assert found["y"]["bias"] == pytest.approx(0.5, rel=1e-4)
    assert found["y"]["largest"] == pytest.approx(0.5, rel=1e-4)
    assert (found["y"]["free"], found["y"]["certified"]) == (positive, MID.size - positive)
    assert found["y"]["outside"] == MID.size - positive and found["y"]["total"] == MID.size
    assert json.loads(json.dumps(found)) == found
    assert measure_errors({"y": OLD}, None) == {}
    assert measure_errors({"y": OLD[:1]}, LIMITS) == {}
    everywhere = {"y": Bound.exact(MID, "fp32")}
    assert measure_errors({"y": stored(MID, 0)}, everywhere)["y"]["rms"] == 0
