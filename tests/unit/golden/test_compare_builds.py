"""The classes of a comparison of builds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_trt.golden.built import compare_builds
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import BENIGN, BUILD, DRIFT, IDENTICAL, OUTPUTS, REGRESSION, UNUSABLE, Golden

KEY = Key("conv", "fp16", "t4", "tensorrt_rtx-1.6.1.120")
LAYERS = [
    {"name": "conv", "kind": "CaskConvolution", "types": ["fp16"], "tactic": "a"},
    {"name": "relu", "kind": "PointWise", "types": ["fp16"], "tactic": ""},
]
MIB = 1 << 20
FACTS = {
    "outcome": "built",
    "words": "",
    "layers": LAYERS,
    "types": {"fp16": 2, "fp32": 1},
    "plan_bytes": 1000,
    "device_memory_bytes": 10 * MIB,
    "build_seconds": 1.0,
}
REFUSED = {"outcome": "refused", "words": "could not find any implementation for node conv"}


def build(facts, product=KEY.product):
    return Golden(KEY.of(product), BUILD, {}, facts)


def classed(then, now):
    return compare_builds(build(then), build(now, "tensorrt_rtx-1.7.1.116"))


def changed(**facts):
    return classed(FACTS, {**FACTS, **facts})


def test_the_same_build_is_identical_whatever_it_took():
    found = changed(build_seconds=9.0)
    assert found.outcome == IDENTICAL and found.changes == ("build time 1 s to 9 s (not judged)",)
    assert found.why == ("identical: the same layers, types and sizes",)
    assert found.numbers["build_seconds"] == {"old": 1.0, "new": 9.0}
    assert (found.kind, found.other.product) == (BUILD, KEY.product)


def test_the_order_of_the_layers_counts_for_nothing():
    assert changed(layers=LAYERS[::-1]).outcome == IDENTICAL


def test_a_refusal_of_what_was_built_is_a_regression():
    found = classed(FACTS, REFUSED)
    assert found.outcome == REGRESSION
    assert found.why == (
        "regression: it was built and is refused: could not find any implementation for node conv",
    )
    assert found.changes and not found.numbers


def test_support_gained_is_benign_and_told():
    found = classed(REFUSED, FACTS)
    assert (
        found.outcome == BENIGN and "support gained" in found.why[0] and "support gained" in found.changes[0]
    )


def test_a_refusal_in_the_same_words_is_identical_and_in_others_benign():
    assert classed(REFUSED, REFUSED).outcome == IDENTICAL
    assert classed(REFUSED, REFUSED).why == ("identical: refused in the same words",)
    found = classed(REFUSED, {"outcome": "refused", "words": ["", "no kernel"]})
    assert found.outcome == BENIGN and "; no kernel" in found.changes[0]
    assert "without words" in classed(FACTS, {"outcome": "crashed"}).why[0]


@pytest.mark.parametrize("outcome", ["crashed", "hung"])
def test_a_crash_is_worse_than_a_refusal(outcome):
    found = classed(REFUSED, {"outcome": outcome, "words": "signal 11"})
    assert found.outcome == REGRESSION and found.why == (
        f"regression: it was refused and is {outcome}: signal 11",
    )
    assert classed({"outcome": outcome}, REFUSED).outcome == BENIGN
    assert classed(FACTS, {"outcome": outcome}).outcome == REGRESSION


def test_an_operator_that_the_parser_takes_no_longer_is_a_regression():
    def parser(**supported):
        return {"outcome": "built", "supported": supported}

    found = classed(
        parser(Conv=True, Loop=True, Det=False, Old=True), parser(Conv=True, Loop=False, Det=True)
    )
    assert found.outcome == REGRESSION
    assert found.changes == ("the parser supports no longer: Loop", "the parser supports now: Det")
    assert classed(parser(Det=False), parser(Det=True)).outcome == BENIGN
    assert classed(parser(Conv=True), parser(Conv=True, New=False)).outcome == IDENTICAL


def test_what_a_build_said_and_its_caches_are_told_and_not_judged():
    then, now = ({**FACTS, "calibration": f"TRT-{v}-EntropyCalibration2"} for v in (100000, 101300))
    found = classed(then, {**now, "words": ["deprecated"]})
    assert found.outcome == IDENTICAL
    assert "calibration caches of then do not apply" in found.changes[1]
    assert found.changes[2] == "the build said 'without words', and says 'deprecated' (not judged)"


def test_layers_in_a_wider_type_are_drift():
    found = changed(types={"fp16": 1, "fp32": 2})
    assert found.outcome == DRIFT and found.why == ("drift: layers by type: fp16 2 to 1, fp32 1 to 2",)
    assert changed(types={"fp16": 1, "fp32": 1}).outcome == BENIGN  # two became one
    assert changed(types={"fp16": 3, "fp32": 0}).outcome == BENIGN
    assert changed(types={"fp16": 2, "fp32": 1, "int64": 4}).outcome == BENIGN
    assert classed({**FACTS, "types": {"int8": 3}}, {**FACTS, "types": {"fp16": 3}}).outcome == DRIFT


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [(10, 21, DRIFT), (10, 20, BENIGN), (10, 1, BENIGN), (0, 1, BENIGN), (0, 3, DRIFT)],
)
def test_more_than_twice_the_memory_is_drift(old, new, outcome):
    found = classed({**FACTS, "device_memory_bytes": old * MIB}, {**FACTS, "device_memory_bytes": new * MIB})
    assert found.outcome == outcome and "device memory" in found.changes[0]
    assert found.numbers["device_memory_bytes"] == {"old": old * MIB, "new": new * MIB}


def test_little_memory_may_double():
    assert classed({**FACTS, "device_memory_bytes": 512}, {**FACTS, "device_memory_bytes": 5120}).outcome == (
        BENIGN
    )


def test_other_layers_tactics_and_sizes_are_benign_and_told_one_by_one():
    layers = [{**LAYERS[0], "tactic": "b"}, {"name": "act", "kind": "PointWise"}]
    found = changed(layers=layers, plan_bytes=2000)
    assert found.outcome == BENIGN
    assert set(found.changes) >= {
        "layer 'conv': tactic 'a' to 'b'",
        "layer 'relu' is gone",
        "layer 'act' is new",
        "plan 1000 to 2000 bytes (2 x)",
    }
    assert len(found.why) == 4


def test_the_worst_change_gives_the_class_and_the_others_are_told():
    found = changed(plan_bytes=1, types={"fp32": 3})
    assert found.outcome == DRIFT and len(found.why) == 1 and len(found.changes) == 3


def test_layers_may_be_a_table_or_names_and_names_may_repeat():
    assert classed({**FACTS, "layers": {"a": "fp16"}}, {**FACTS, "layers": {"a": "fp32"}}).changes[0] == (
        "layer 'a': type 'fp16' to 'fp32'"
    )
    found = classed({**FACTS, "layers": ["a", "a"]}, {**FACTS, "layers": ["a", "a", "a"]})
    assert found.changes[0] == "layer 'a #3' is new"
    assert classed({**FACTS, "layers": None}, {**FACTS, "layers": []}).outcome == IDENTICAL


def test_facts_that_are_not_known_are_not_compared():
    bare = {"outcome": "built"}
    found = classed(bare, {**bare, "plan_bytes": 4, "device_memory_bytes": 4})
    assert found.outcome == IDENTICAL and not found.changes and not found.numbers


def test_other_kinds_and_models_cannot_be_compared():
    outputs = replace(build(FACTS), kind=OUTPUTS)
    assert compare_builds(outputs, build(FACTS)).outcome == UNUSABLE
    assert compare_builds(build(FACTS), outputs).outcome == UNUSABLE
    found = classed({**FACTS, "model": "one"}, {**FACTS, "model": "two"})
    assert found.outcome == UNUSABLE and "one, and today's is two" in found.why[0]
