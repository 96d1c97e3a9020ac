"""Node cases of `onnx`: each way in which one may end badly is seen, and ends nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from pytest_trt.cases import nodes_known
from pytest_trt.cases.nodes import node_cases, select
from pytest_trt.cases.nodes_table import EXECUTE, Row, Table, make_table, write_table
from pytest_trt.errors import SettingsError
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from suites import _onnx_nodes
from suites._onnx_nodes import (
    ALIVE,
    KNOWN_CASES,
    NUMBERS,
    TABLED,
    choose,
    compare_kept,
    judge_table,
    kept_table,
)

OWN = "tests.bite.node_faults:"
CASES = (
    "^test_(abs|acos|sin|tanh|basic_conv_with_padding|conv_with_strides_padding|nonzero_example"
    "|unique_not_sorted_without_axis)$"
)


def table_with(*faults, pattern=CASES, timeout=60.0, **given):
    settings = Settings(runtime="emulator", gpu="l4", faults=faults, **given)
    return make_table(
        settings, discover(settings).executor, EXECUTE, select(pattern), timeout=timeout, repeat=False, jobs=1
    )


def complaints(table):
    return {check for check, note in judge_table(table) if note is not None}


def outcomes(table):
    return {name.removeprefix("test_"): row.outcome for name, row in table.rows.items()}


@pytest.fixture(scope="module")
def honest():
    return table_with()


def test_an_honest_engine_is_right_or_refuses(honest):
    assert complaints(honest) == set()
    assert outcomes(honest) == {
        "abs": "supported",
        "acos": "supported",
        "basic_conv_with_padding": "supported",
        "conv_with_strides_padding": "supported",
        "nonzero_example": "supported",
        "sin": "supported",
        "tanh": "supported",
        "unique_not_sorted_without_axis": "refused",
    }
    assert honest.rows["test_abs"].words == "conforms" and honest.rows["test_acos"].words == "agrees"
    assert "Unique" in honest.rows["test_unique_not_sorted_without_axis"].words


@pytest.mark.parametrize(
    ("fault", "timeout", "ends", "check"),
    [
        ("aborts_in_tanh", 60.0, {"tanh": "crashed"}, ALIVE),
        ("hangs_in_sin", 5.0, {"sin": "hung"}, ALIVE),
        ("acos_off", 60.0, {"acos": "wrong"}, NUMBERS),
        (
            "conv_a_little_off",
            60.0,
            {"basic_conv_with_padding": "wrong", "conv_with_strides_padding": "wrong"},
            NUMBERS,
        ),
    ],
)
def test_each_bad_end_is_seen_and_ends_nothing_else(honest, fault, timeout, ends, check):
    table = table_with(OWN + fault, timeout=timeout)
    assert outcomes(table) == outcomes(honest) | ends
    assert complaints(table) == {check}
    words = {table.rows[f"test_{name}"].words for name in ends}
    told = {"aborts_in_tanh": "signal", "hangs_in_sin": "no end within 5 s", "acos_off": "expected"}
    assert all(told.get(fault, "agrees") in text for text in words)


def test_a_shipped_fault_makes_cases_wrong():
    table = table_with("pytest_trt.emulator.faults:zeros_returned", pattern="^test_(exp|cosh)$")
    assert complaints(table) == {NUMBERS} and set(outcomes(table).values()) == {"wrong"}


def test_parameters_become_constants_where_an_input_is_refused():
    row = table_with(pattern="^test_reduce_sum_keepdims_example$").rows["test_reduce_sum_keepdims_example"]
    assert row == Row("ReduceSum", "supported", "conforms; with axes constant")


def test_a_kept_table_has_to_come_true_both_ways(honest, tmp_path):
    rt = discover(Settings(runtime="emulator", gpu="l4")).executor
    assert compare_kept(honest, honest) and all(note is None for _, note in compare_kept(honest, honest))
    for ended in (Row("Abs", "refused", "not today"), Row("Abs", "supported", "other words")):
        kept = replace(honest, rows={**honest.rows, "test_abs": ended})
        notes = [note for check, note in compare_kept(honest, kept) if note and check == TABLED]
        assert len(notes) == 1 and '"test_abs": ["Abs", "supported", "conforms"],' in notes[0]
    assert kept_table(rt, tmp_path) is None
    mine = Table("build", rt.product, rt.version, rt.gpu.name, honest.onnx, honest.rows)
    write_table(mine, tmp_path / mine.file_name)
    assert kept_table(rt, tmp_path) == mine


def test_a_known_case_that_comes_right_is_told(honest, monkeypatch):
    known = nodes_known.KnownCase("test_abs", "emulator", "wrong", "why", "where", "when")
    monkeypatch.setattr(nodes_known, "KNOWN", (known,))
    monkeypatch.setattr(_onnx_nodes, "KNOWN", (known,))
    monkeypatch.setattr(
        _onnx_nodes, "SEEN_WITH", (honest.version, honest.onnx, _onnx_nodes.metadata.version("onnxruntime"))
    )
    assert complaints(honest) == {KNOWN_CASES}
    wrong = replace(honest, rows={"test_abs": Row("Abs", "wrong", "off")})
    assert complaints(wrong) == set()
    monkeypatch.setattr(_onnx_nodes, "SEEN_WITH", ("another", "1", "2"))
    assert complaints(honest) == set()


def test_known_rows_are_cases_and_sorted():
    names = [row.name for row in nodes_known.KNOWN]
    assert names == sorted(names)
    lacking = set(names) - {case.name for case in node_cases()}
    assert not lacking or tuple(map(int, onnx.__version__.split(".")[:2])) < (1, 23), lacking
    assert all(row.reason and row.link.startswith("https://") and row.seen for row in nodes_known.KNOWN)


def test_the_quick_budget_draws_by_the_seed_and_the_others_run_all():
    one, again, other = (choose(Settings(seed=seed)) for seed in (1, 1, 2))
    assert one == again and one != other
    assert len({case.operator for case in one}) == len(one) == _onnx_nodes.QUICK
    assert choose(Settings(budget="standard")) == node_cases()


def test_all_constants_forms_are_models_with_the_same_outputs():
    checked = 0
    for case in node_cases():
        if case.parameters:
            fixed = case.with_constants(case.parameters)
            assert [v.name for v in fixed.model.graph.output] == [v.name for v in case.model.graph.output]
            held = {tensor.name for tensor in fixed.model.graph.initializer}
            assert held >= set(case.parameters) and not held & set(fixed.inputs)
            checked += 1
    assert checked > 300


def test_a_pattern_finds_names_and_operators_or_is_refused():
    assert {case.operator for case in select("Softmax")} == {"Softmax"}
    assert all("bcast" in case.name for case in select("_bcast$"))
    with pytest.raises(SettingsError, match="no node case"):
        select("nothing_like_it")
    with pytest.raises(SettingsError, match="bad pattern"):
        select("(")


def test_scalars_of_onnx_are_arrays():
    for case in node_cases():
        for name in case.parameters:
            assert isinstance(case.inputs[name], (np.ndarray, np.generic))
