"""For every check of a verdict a subject that is wrong in just that way, which only that check catches."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.check import relations
from pytest_trt.check.examine import Examiner
from pytest_trt.check.graph import Graph
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import ConformanceError, ExecutionError, SuspiciousWarning
from pytest_trt.numerics.bounds import Contract
from pytest_trt.precision import prepare
from pytest_trt.records import RUNGS, Settings
from pytest_trt.runtime.load import discover
from tests.unit.check.models import PROFILE, UNLIMITED_PROFILE, conv_model, unlimited_model


def bench(*faults, **settings):
    made = Settings(
        runtime="emulator", gpu="t4", faults=tuple(f"tests.bite.faults:{f}" for f in faults), **settings
    )
    return Workbench(made, discover(made))


def findings(model, fault, precision, profile, **options):
    verdict = bench(*([fault] if fault else [])).judge(model, precision=precision, profile=profile, **options)
    return {found.check for found in verdict.findings}


RISING = {
    "x": np.sort(np.random.default_rng(0).standard_normal((4, 24)).astype(np.float32), axis=0).reshape(
        4, 4, 6
    )
}


@pytest.mark.parametrize(
    ("fault", "check", "data"),
    [
        ("conv_scaled", "interval", ("uniform11",)),
        ("conv_last_bit", "certificate", ("int_small",)),
        ("nan_swallowed", "nan", ("special",)),
    ],
)
def test_numbers_out_of_line_are_caught_by_their_own_rule(fault, check, data):
    model = conv_model(integer=check == "certificate")
    assert findings(model, fault, "fp32", PROFILE, data=data) == {check}
    assert findings(model, None, "fp32", PROFILE, data=data) == set()


@pytest.mark.parametrize(("fault", "check"), [("conv_strays", "statistics"), ("conv_noisy", "slices")])
def test_errors_inside_the_hard_limit_are_suspicious(fault, check):
    model, options = conv_model(integer=False), {"precision": "fp32", "profile": PROFILE}
    verdict = bench(fault).judge(model, data=("uniform11",), **options)
    assert {found.check for found in verdict.findings} == {check}
    assert verdict.status == "suspicious" and not verdict.passed
    with pytest.raises(ConformanceError, match=f"suspicious: {check}"):
        bench(fault).check(model, data=("uniform11",), drawn=True, **options)
    own = {"x": np.random.default_rng(3).uniform(-1, 1, (4, 3, 6, 6)).astype(np.float32)}
    with pytest.warns(SuspiciousWarning):
        assert bench(fault).check(model, own, **options).status == "suspicious"
    assert bench().judge(model, data=("uniform11",), **options).status == "conforms"


@pytest.mark.parametrize(
    ("fault", "relation"),
    [
        ("differs_when_repeated", relations.REPEAT),
        ("differs_for_identical_rows", relations.IDENTICAL_ROWS),
        ("differs_for_batch_one", relations.BATCH_ONE),
        ("differs_in_another_order", relations.PERMUTATION),
        ("differs_with_a_marked_output", relations.EXTRA_OUTPUT),
        ("differs_in_a_wider_profile", relations.WIDER_PROFILE),
    ],
)
def test_each_relation_is_broken_by_its_own_fault_alone(fault, relation):
    """The operator has no limit, so that nothing but a relation can see it."""
    assert findings(unlimited_model(), fault, "fp32", UNLIMITED_PROFILE, inputs=RISING) == {relation}
    assert findings(unlimited_model(), None, "fp32", UNLIMITED_PROFILE, inputs=RISING) == set()


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_engine_that_stayed_fp32_is_found_out(precision):
    assert findings(conv_model(), "stays_fp32", precision, PROFILE, data=("int_small",)) == {"precision"}


def test_a_failed_enqueue_is_an_error_and_not_a_result():
    with pytest.raises(ExecutionError, match="enqueue"):
        bench("enqueue_fails").judge(conv_model(), precision="fp32", profile=PROFILE)


class Canned:
    """A subject that gives prepared answers."""

    def __init__(self, model, answer):
        self.prepared = prepare(model, "fp32", strong=True)
        self.graph = Graph(self.prepared.matched)
        self.contract = Contract()
        self.profile = None
        self.answer = answer

    def run(self, feeds):
        return self.answer


def canned_findings(answer, feeds, model=None):
    model = model or conv_model()
    examiner = Examiner(Canned(model, answer), Graph(model), RUNGS)
    examiner.look(feeds, "given", relations=False)
    examiner.distrust()
    return {(found.check, found.status) for found in examiner.result.findings}


FEED = {"x": np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32)}


def test_an_output_of_another_shape_is_caught():
    assert canned_findings({"y": np.zeros((2, 12, 6, 5), np.float32)}, FEED) == {("shape", "violates")}


def test_an_engine_without_outputs_or_without_one_of_them_is_caught():
    assert canned_findings({}, FEED) == {("compared", "violates")}
    assert canned_findings({"z": np.zeros(1, np.float32)}, FEED) == {("compared", "violates")}


def test_a_constant_reference_is_not_trusted():
    model = conv_model(relu=True)
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.full(12, -1e6, np.float32), "b"))
    silent = {"y": np.zeros((2, 12, 6, 6), np.float32)}
    assert canned_findings(silent, FEED, model) == {("trust", "mistrusted")}


def test_two_references_that_disagree_are_not_trusted(monkeypatch):
    from pytest_trt.check import reference

    model = conv_model()
    right = reference.OnnxRuntime(Graph(model)).run(FEED)
    honest = reference.OnnxRuntime.run
    monkeypatch.setattr(
        reference.OnnxRuntime,
        "run",
        lambda self, feeds: {n: v * 1.01 for n, v in honest(self, feeds).items()},
    )
    assert canned_findings(right, FEED, model) == {("reference", "mistrusted")}


def test_a_rung_that_policy_leaves_out_is_a_violation():
    """The emulator stores between operators; where `unfused` does not pass, that is refused by name."""
    model = conv_model(integer=False)
    model.graph.node[0].output[0] = "c"
    model.graph.node.append(helper.make_node("Mul", ["c", "k"], ["y"], name="mul"))
    model.graph.initializer.append(helper.make_tensor("k", TensorProto.FLOAT, [1], [1.37]))
    options = {"precision": "fp16", "profile": PROFILE, "data": ("uniform11",)}
    assert bench().judge(model, **options).status == "conforms under unfused"
    strict = bench(rungs=("direct",)).judge(model, **options)
    assert {f.check for f in strict.findings} <= {"certificate", "interval"}
    assert strict.status == "violates"


def test_the_error_says_what_where_why_and_how_to_repeat():
    with pytest.raises(ConformanceError) as caught:
        bench("conv_scaled").check(
            conv_model(integer=False), precision="fp16", profile=PROFILE, data=("uniform11",), label="my-case"
        )
    text = str(caught.value)
    for words in (
        "output 'y':",
        "outside the allowance",
        "worst  off by ",
        "rule   ",
        "Conv <- Cast: fp16 inputs, fp32 accumulation",
        "where  my-case, fp16, t4, ",
        "emulator (tensorrt-10.13",
        "repeat: pytest suites --trt-case=my-case --trt-precision=fp16 --gpu=t4 --trt-seed=0",
        "--trt-fault=tests.bite.faults:conv_scaled",
    ):
        assert words in text, words
