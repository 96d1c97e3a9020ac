"""Relations of batch sizes, profiles, nodes beside and equivalent graphs: each has a defect that it alone sees."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pytest_trt.cases.equivalents import EQUIVALENTS
from pytest_trt.cases.triggers import Trial
from pytest_trt.check import equivalent, sweeps
from pytest_trt.check.equivalent import check_equivalent, check_extended, extend
from pytest_trt.check.sweeps import SIZES, check_batch_sizes, check_profiles
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import ConformanceError, ModelError
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from tests.unit.check.models import make_model

OWN, SHIPPED = "tests.bite.relation_faults:", "pytest_trt.emulator.faults:"
ITEM = (4, 6)
PROFILE = {"x": ((1, *ITEM), (3, *ITEM), (4, *ITEM))}
X = {"x": np.sort(np.random.default_rng(0).standard_normal((2, *ITEM)).astype(np.float32), axis=0)}


def bench(*names, seed=0):
    made = Settings(runtime="emulator", gpu="t4", faults=names, seed=seed)
    return Workbench(made, discover(made))


def asinh(*, first):
    """Return a network of Transpose and Asinh; the order says nothing."""
    ops = ["Asinh", "Transpose"] if first else ["Transpose", "Asinh"]
    nodes = [
        helper.make_node(op, [a], [b], name=b, **({"perm": [0, 2, 1]} if op == "Transpose" else {}))
        for op, a, b in zip(ops, ("x", "h"), ("h", "y"), strict=True)
    ]
    return make_model(nodes, ("N", *ITEM))


def broken(*names):
    """Return all relations that do not hold, those that every check asks included."""
    workbench = bench(*names)
    model = asinh(first=True)
    verdict = workbench.judge(model, X, precision="fp32", profile=PROFILE)
    found = {finding.check for finding in verdict.findings}

    def relations(subject, bases):
        for base in bases:
            yield from check_batch_sizes(subject, base)
            yield from check_profiles(subject, base)
        yield from check_extended(subject, bases)
        with workbench.subject(asinh(first=False), "fp32", PROFILE) as other:
            yield from check_equivalent(subject, bases, other)

    try:
        workbench.relate(
            model,
            relations,
            precision="fp32",
            data=("uniform11",),
            profile=PROFILE,
            shapes={"x": (2, *ITEM)},
        )
    except ConformanceError as error:
        return found | {finding.check for finding in error.verdict.findings}, str(error)
    return found, ""


@pytest.mark.parametrize(
    ("fault", "relation", "words"),
    [
        ("wrong_at_a_batch_of_33", sweeps.BATCH_SIZES, "at a batch of 33"),
        ("wrong_where_shapes_are_fixed", sweeps.PROFILE_ENDS, "these shapes alone"),
        ("wrong_where_best_is_smallest", sweeps.PROFILE_ENDS, "best at its smallest"),
        ("wrong_where_best_is_largest", sweeps.PROFILE_ENDS, "best at its largest"),
        ("wrong_with_nodes_beside", equivalent.EXTENDED, ""),
        ("wrong_behind_a_transpose", equivalent.EQUIVALENT, ""),
    ],
)
def test_each_relation_is_broken_by_its_own_fault_alone(fault, relation, words):
    found, text = broken(OWN + fault)
    assert found == {relation}
    assert words in text


def test_an_honest_engine_breaks_none_of_them():
    assert broken() == (set(), "")


def equal(name, precision, *faults, data=("int_small",), seed=0):
    """Return the checks that a pair of equivalent graphs trips."""
    pair, workbench = EQUIVALENTS[name], bench(*faults, seed=seed)

    def relations(subject, bases):
        with workbench.subject(pair.other(), precision, pair.profile) as other:
            yield from check_equivalent(subject, bases, other)

    options = {"precision": precision, "data": data, "profile": pair.profile, "shapes": pair.input_shapes}
    try:
        workbench.relate(pair.model(), relations, **options)
    except ConformanceError as error:
        return {finding.check for finding in error.verdict.findings}
    return set()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("slices", "concat_of_convolutions_loses_one"),
        ("filters", "concat_of_convolutions_loses_one"),
        ("double", "sum_of_a_tensor_with_itself_keeps_one"),
        ("pointwise", "matrix_product_loses_a_term"),
        ("gemm", "matrix_product_loses_a_term"),
        ("stride", "slice_with_steps_begins_late"),
    ],
)
def test_one_way_of_two_may_be_wrong(name, fault, precision):
    """The first way is right, so that only the comparison of the two is left to see what is wrong with the second."""
    assert equal(name, precision, OWN + fault) == {equivalent.EQUIVALENT}
    assert equal(name, precision) == set()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["gemm", "normalised", "addends"])
def test_two_ways_that_round_in_other_places_are_both_right(name, precision, seed):
    """A MatMul and an Add store a sum that a Gemm keeps: each has one value that is right, and not the same one."""
    assert equal(name, precision, data=("uniform11", "normal"), seed=seed) == set()


@pytest.mark.parametrize("name", EQUIVALENTS)
def test_both_ways_compute_the_same_in_onnx_runtime(name):
    import onnxruntime

    pair = EQUIVALENTS[name]
    x = np.random.default_rng(1).integers(-3, 4, pair.input_shapes["x"]).astype(np.float32)
    one, other = (
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )[0]
        for model in (pair.model(), pair.other())
    )
    np.testing.assert_allclose(one, other, rtol=1e-5 if pair.real else 0, atol=1e-4 if pair.real else 0)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_channel_that_nodes_beside_cost_is_missed_there(precision):
    workbench = bench(SHIPPED + "nodes_beside_zero_a_channel")
    pair = EQUIVALENTS["filters"]
    with pytest.raises(ConformanceError) as caught:
        workbench.relate(
            pair.model(), check_extended, precision=precision, data=("int_small",), profile=pair.profile
        )
    assert {finding.check for finding in caught.value.verdict.findings} == {equivalent.EXTENDED}


def test_the_sizes_hold_the_thresholds_of_public_bugs():
    assert {7, 8, 9, 31, 32, 33, 39, 40, 41, 64, 65} <= set(SIZES)


def test_a_static_network_is_not_asked_for_batches_and_profiles():
    model = make_model([helper.make_node("Asinh", ["x"], ["y"], name="y")], (2, *ITEM))
    with bench().subject(model, "fp32") as subject:
        assert list(check_batch_sizes(subject, None)) == [] == list(check_profiles(subject, None))


def test_graphs_that_are_not_equivalent_and_models_without_input_are_refused():
    workbench, model = bench(), asinh(first=True)
    renamed = asinh(first=False)
    renamed.graph.node[-1].output[0] = renamed.graph.output[0].name = "z"

    def relations(subject, bases):
        with workbench.subject(renamed, "fp32", PROFILE) as other:
            yield from check_equivalent(subject, bases, other)

    with pytest.raises(ModelError, match="has no output 'y'"):
        workbench.relate(model, relations, precision="fp32", data=("uniform11",), profile=PROFILE)
    del model.graph.input[:]
    with pytest.raises(ModelError, match="has no input"):
        extend(model)


@pytest.mark.parametrize(
    ("typing", "precision", "top", "exact"),
    [
        ("strong", "fp32", 40, True),
        ("strong", "fp16", 3, True),
        ("weak", "fp32", 40, True),
        ("weak", "fp16", 3, True),
        ("weak", "fp16", 3000, False),
    ],
)
def test_relations_of_bits_start_from_data_on_which_nothing_rounds(typing, precision, top, exact):
    """Under weak typing a layer may stay in FP32: a number that 16 bits do not hold has then two right values."""
    made = Settings(runtime="emulator", gpu="t4", typing=typing)
    trial, pair = Trial(Workbench(made, discover(made)), precision), EQUIVALENTS["double"]
    x = {"x": np.random.default_rng(2).integers(top // 2, top + 1, pair.input_shapes["x"]).astype(np.float32)}
    with trial.subject(pair.model(), pair.profile) as subject:
        if exact:
            assert trial.ground(subject, x).got["y"].any()
            return
        with pytest.raises(ModelError, match="rounds on these data"):
            trial.ground(subject, x)


def test_a_network_that_rounds_needs_to_be_said_to():
    trial, pair = Trial(bench(), "fp32"), EQUIVALENTS["normalised"]
    x = {"x": np.random.default_rng(3).standard_normal(pair.input_shapes["x"]).astype(np.float32)}
    with trial.subject(pair.model(), pair.profile) as subject:
        with pytest.raises(ModelError, match="rounds on these data"):
            trial.ground(subject, x)
        limit = trial.ground(subject, x, rounds=True).limits["y"]
        assert (limit.low < limit.high).all()
    with trial.subject(asinh(first=True), PROFILE) as subject, pytest.raises(ModelError, match="no limits"):
        trial.ground(subject, X, rounds=True)
