"""Faults of batches, contexts, streams, refit and rebuild: each is caught, and each relation has one that breaks it alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_trt.check import concurrent, rebuild, relations
from pytest_trt.check.concurrent import check_contexts
from pytest_trt.check.rebuild import check_rebuild, check_refit
from pytest_trt.check.relations import check_scaling
from pytest_trt.check.workbench import Workbench
from pytest_trt.emulator import faults
from pytest_trt.emulator.faults import batches, sessions
from pytest_trt.errors import ConformanceError, ExecutionError
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from pytest_trt.runtime.session import Session
from pytest_trt.strategies import Case, corners
from suites.test_batch import LARGE
from tests.bite.checking import checked
from tests.unit.check.models import UNLIMITED_PROFILE, unlimited_model

SHIPPED, OWN = "pytest_trt.emulator.faults:", "tests.bite.session_faults:"
FOUR = ("int_small", "uniform11", "int_small", "uniform11")
CONV = Case.parse("conv2d-n2-c5-o9-i6x5-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-w_int-s1")
LINEAR = Case.parse("conv2d-n2-c5-o9-i6x5-k3x3-t1x1-p1x1x1x1-d1x1-g1-b0-w_int-s1")
BATCH_8, _, BATCH_40, *_ = corners("batch")
MOTIF = corners("motif")[1]


def scaled(subject, bases):
    return check_scaling(subject, bases[0])


def bench(*names):
    made = Settings(runtime="emulator", gpu="t4", faults=names)
    return Workbench(made, discover(made))


def related(fault, checks, *, case=CONV, precision="fp32", data=FOUR):
    """Return the findings of relations on one configuration."""
    try:
        bench(*[fault] if fault else []).relate(
            case.model(),
            checks,
            precision=precision,
            data=data,
            profile=case.profile,
            shapes=case.input_shapes,
        )
    except ConformanceError as error:
        return {found.check for found in error.verdict.findings}
    return set()


@pytest.mark.parametrize(
    ("fault", "checks", "case", "relation"),
    [
        (SHIPPED + "synchronous_run_writes_nothing", check_contexts, CONV, concurrent.SYNCHRONOUS),
        (OWN + "wrong_after_another_context_of_the_main_thread", check_contexts, CONV, concurrent.TURNS),
        (OWN + "fifth_context_wrong_after_another_thread", check_contexts, CONV, concurrent.THREADS),
        (SHIPPED + "many_contexts_corrupt_the_last", check_contexts, CONV, concurrent.CHURN),
        (SHIPPED + "rebuilt_engine_differs", check_rebuild, CONV, rebuild.REBUILT),
        (OWN + "loaded_again_differs", check_rebuild, CONV, rebuild.RELOADED),
        (OWN + "first_refit_scrambles", check_refit, CONV, rebuild.REFIT_SAME),
        (SHIPPED + "refit_ignored", check_refit, CONV, rebuild.REFIT_OTHER),
        (OWN + "large_inputs_saturate", scaled, LINEAR, relations.SCALED),
    ],
    ids=lambda value: value.rpartition(":")[2] if isinstance(value, str) else "",
)
def test_each_relation_is_broken_by_its_own_fault_alone(fault, checks, case, relation):
    data = FOUR if checks is check_contexts else FOUR[:2] if checks is not scaled else FOUR[:1]
    assert related(fault, checks, case=case, data=data) == {relation}


@pytest.mark.parametrize(
    ("fault", "data"),
    [(SHIPPED + "output_tail_not_written", FOUR), (OWN + "nothing_written_where_nan", ("special",) * 2)],
)
def test_what_is_not_written_shows_where_no_limit_can(fault, data):
    """Operators without a limit, and NaN where NaN is right: the poison shows by changing it."""

    def findings(*names):
        options = {
            "precision": "fp32",
            "data": data,
            "profile": UNLIMITED_PROFILE,
            "shapes": {"x": (3, 4, 6)},
        }
        try:
            bench(*names).relate(unlimited_model(), check_contexts, **options)
        except ConformanceError as error:
            return {found.check for found in error.verdict.findings}
        return set()

    assert findings(fault) == {concurrent.WRITTEN}
    assert findings() == set()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_honest_engine_breaks_no_relation(precision):
    assert related(None, check_contexts, precision=precision) == set()
    assert related(None, check_rebuild, precision=precision) == set()
    assert related(None, check_refit, precision=precision) == set()
    assert (
        precision == "int8" or related(None, scaled, case=LINEAR, precision=precision, data=FOUR[:1]) == set()
    )


def test_relations_are_not_asked_where_the_runs_are_wrong_already():
    assert related(SHIPPED + "zeros_returned", check_contexts) == {"certificate", "interval"}


# Which configuration of the suites shows a fault of a batch or a buffer, by which checks.
NUMBERS = {"certificate", "interval", "nan"}
CHECKED = {
    "rows_computed_from_row_zero": (BATCH_8, "fp32", NUMBERS),
    "int8_rows_computed_from_row_zero": (BATCH_8, "int8", NUMBERS),
    "rows_shifted_by_one": (BATCH_8, "fp16", NUMBERS),
    "rows_nan_but_the_first": (BATCH_8, "int8", {"nan"}),
    "slot_dependent_noise": (BATCH_8, "fp32", NUMBERS),
    "slot_dependent_noise_of_two_ulp": (BATCH_40, "fp32", {"certificate"}),
    "rows_shifted_from_batch_8": (BATCH_8, "fp16", NUMBERS),
    "rows_wrap_from_batch_40": (BATCH_40, "int8", NUMBERS),
    "rows_shifted_at_batch_65536": (Case.parse(LARGE[1]), "fp32", NUMBERS),
    "padding_leaks_below_profile_maximum": (BATCH_8, "fp32", NUMBERS),
    "rows_depend_on_profile_width": (BATCH_8, "fp16", NUMBERS),
    "fused_channel_zero_unless_marked": (MOTIF, "fp32", NUMBERS),
    "fused_activation_lost_unless_marked": (MOTIF, "int8", NUMBERS),
    "one_element_becomes_7_73": (BATCH_8, "int8", NUMBERS),
    "previous_output_returned": (BATCH_8, "fp32", {relations.IDENTICAL_ROWS}),
    "zeros_returned": (BATCH_8, "fp16", NUMBERS),
    "nothing_written": (BATCH_8, "fp32", {"nan"}),
    "output_tail_not_written": (BATCH_8, "int8", {"nan"}),
}
RELATED = {
    "contexts_exchange_rows": (check_contexts, {concurrent.TURNS, concurrent.THREADS, concurrent.CHURN}),
    "contexts_exchange_rows_at_times": (check_contexts, {concurrent.THREADS}),
    "context_wrong_after_another_ran": (check_contexts, {concurrent.TURNS}),
    "tail_read_early_on_another_stream": (check_contexts, {concurrent.TURNS, concurrent.THREADS}),
    "tail_read_early_in_another_thread": (check_contexts, {concurrent.THREADS}),
    "many_contexts_corrupt_the_last": (check_contexts, {concurrent.CHURN}),
    "synchronous_run_writes_nothing": (check_contexts, {concurrent.SYNCHRONOUS}),
    "refit_permutes_weights": (check_refit, {rebuild.REFIT_SAME}),
    "refit_ignored": (check_refit, {rebuild.REFIT_OTHER}),
    "refit_gives_nan_in_fp16": (check_refit, {rebuild.REFIT_SAME}),
    "every_second_build_differs": (check_rebuild, {rebuild.REBUILT}),
    "rebuilt_engine_differs": (check_rebuild, {rebuild.REBUILT}),
}
REFUSED = {"every_enqueue_fails", "third_enqueue_fails", "refit_fails"}
EXTENTS = {"only_the_largest_extents_right"}


def test_every_fault_has_a_row():
    here = (batches.__name__, sessions.__name__)
    shipped = {name for name, entry in faults.FAULTS.items() if entry.call.__module__ in here}
    assert shipped == CHECKED.keys() | RELATED.keys() | REFUSED | EXTENTS


@pytest.mark.parametrize("name", CHECKED)
def test_a_fault_of_batches_and_buffers_is_caught(name):
    case, precision, checks = CHECKED[name]
    assert checked(bench(SHIPPED + name), case, precision) & checks


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", RELATED)
def test_a_fault_of_contexts_and_engines_is_caught(name, precision):
    checks, names = RELATED[name]
    if name == "refit_gives_nan_in_fp16" and precision != "fp16":
        names = set()
    assert names <= related(SHIPPED + name, checks, precision=precision)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_refusal_is_an_error(name):
    with pytest.raises(ExecutionError, match=r"did not (enqueue|refit)"):
        related(SHIPPED + name, check_refit if name == "refit_fails" else check_contexts)


def test_only_the_largest_extents_right():
    case = Case.parse("conv2d-n2-c3-o5-i8x9-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-q1x2x2-w_int-s0")
    model = case.model()
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[3].dim_param = "W"
    profile = {"x": ((1, 3, 8, 3), (2, 3, 8, 5), (2, 3, 8, 9))}
    workbench = bench(SHIPPED + "only_the_largest_extents_right")
    for width, status in ((9, "conforms"), (5, "violates")):
        verdict = workbench.judge(
            model, precision="fp32", profile=profile, shapes={"x": (2, 3, 8, width)}, data=("int_small",)
        )
        assert verdict.status == status


class Lax:
    """A context that takes every run, or refuses it without a word."""

    def __init__(self, real, answer):
        self.real, self.answer = real, answer

    def __getattr__(self, name):
        return getattr(self.real, name)

    def execute_async_v3(self, stream):
        return self.answer


@pytest.mark.parametrize(
    ("answer", "words"), [(True, "answered True without an address"), (False, "no error logged")]
)
def test_an_enqueue_without_an_address_has_to_be_refused_in_words(answer, words):
    with bench().session(CONV.model(), "fp32") as session:
        assert concurrent.describe_refusal(session, CONV.input_shapes) == ""
        engine = SimpleNamespace(
            create_execution_context=lambda: Lax(session.engine.create_execution_context(), answer)
        )
        lax = SimpleNamespace(
            **{n: getattr(session, n) for n in ("rt", "memory", "inputs", "outputs", "stream")}
        )
        lax.engine = engine
        assert words in concurrent.describe_refusal(lax, CONV.input_shapes)
    assert isinstance(session, Session)
