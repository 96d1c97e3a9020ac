"""Configurations and their data: within the limits, repeatable, representable, and accepted when computed rightly."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest

from pytest_trt.bite.data import draw, draw_model
from pytest_trt.bite.eights import round_e4m3
from pytest_trt.bite.pairs import Bench
from pytest_trt.bite.problems import (
    LEAST_OUTPUTS,
    MOST_OUTPUTS,
    MOST_TERMS,
    Problem,
    available_contracts,
    make_problem,
    number_problems,
)
from pytest_trt.emulator.faults.registry import CONTRACTS
from pytest_trt.numerics.battery import STRUCTURED, kinds_for
from pytest_trt.numerics.formats import is_representable, lsb_exponent
from pytest_trt.records import CONFORMS, DATA_KINDS

DRAWN = [make_problem(contract, seed) for contract, seed in number_problems(CONTRACTS, 140, 3)]


def test_configurations_take_turns_and_differ():
    assert [problem.contract for problem in DRAWN[:14]] == [*CONTRACTS, *CONTRACTS]
    assert len({problem.text for problem in DRAWN}) == len(DRAWN)


def test_configurations_lie_within_the_limits():
    for problem in DRAWN:
        assert problem.terms <= MOST_TERMS
        assert LEAST_OUTPUTS <= math.prod(problem.y) <= MOST_OUTPUTS
        assert problem.profile["x"][2] == problem.x


def test_every_feature_is_drawn():
    convolutions = [problem for problem in DRAWN if not problem.is_gemm]
    assert 10 < len(convolutions) < len(DRAWN)
    for name in ("bias", "residual", "relu", "transposed"):
        assert {getattr(problem, name) for problem in DRAWN} == {True, False}
    assert {problem.dyadic for problem in DRAWN if problem.contract == "int8"} == {True, False}
    assert not any(problem.dyadic for problem in DRAWN if problem.contract != "int8")
    assert any(problem.groups > 1 for problem in convolutions)
    assert any(problem.groups == problem.x[1] > 1 for problem in convolutions)
    assert any(problem.pads[:2] != problem.pads[2:] for problem in convolutions)
    assert any(problem.strides[0] != problem.strides[1] for problem in convolutions)
    assert any(problem.dilations != (1, 1) for problem in convolutions)
    assert any(problem.w[2:] == (1, 1) for problem in convolutions)
    assert {problem.x[0] for problem in DRAWN} == {1, 2, 3, 4}


def test_a_seed_repeats_a_configuration_and_its_data():
    problem = DRAWN[9]
    again = make_problem(problem.contract, problem.seed)
    assert again == problem
    one, other = draw(problem, "normal"), draw(again, "normal")
    assert one.model.SerializeToString() == other.model.SerializeToString()
    assert np.array_equal(one.values["x"], other.values["x"])
    further = draw(problem, "normal", again=1)
    assert further.model.SerializeToString() == one.model.SerializeToString()
    assert not np.array_equal(further.values["x"], one.values["x"])


def test_the_text_ends_in_the_seed():
    assert make_problem("fp16", (0, 23)).text.endswith("[0:23]")
    assert make_problem("fp16", (0, 23)).text.startswith("fp16 ")


@pytest.mark.parametrize("contract", available_contracts())
def test_models_are_valid_and_judged_right_on_every_kind(contract):
    shape = {"x": (2, 4, 6, 5), "w": (6, 2, 3, 3), "groups": 2, "pads": (1, 0, 1, 1), "residual": True}
    for problem in (
        Problem(contract, (1,), dyadic=True, **shape),
        Problem(contract, (2,), relu=True, **shape),
        Problem(contract, (3,), (2, 20), (24, 20), transposed=contract == "int8"),
    ):
        for kind in kinds_for(contract, DATA_KINDS):
            bench = Bench(problem, kind, ("direct", "unfused"), peers=False)
            onnx.checker.check_model(bench.drawn.model)
            assert bench.plain.shape == problem.y
            judged = bench.admissible.judge("y", bench.plain, statistics=kind not in STRUCTURED)
            assert judged.status == CONFORMS, (problem.text, kind, judged.measure)


def test_integer_data_are_integers_and_exact():
    for kind in ("int_small", "int_wide", "int_ties", "index", "impulse", "impulse_wide"):
        problem = Problem("fp32", (4,), (2, 8, 6, 6), (5, 8, 3, 3))
        bench = Bench(problem, kind, ("direct",), peers=False)
        assert (lsb_exponent(bench.drawn.values["x"]) or 0) >= 0
        bound = bench.admissible.on("direct").tensors["y"]
        assert np.array_equal(bound.low, bound.high), kind


def test_wide_integers_are_no_tf32_numbers():
    drawn = draw(Problem("fp32", (4,), (2, 8, 6, 6), (5, 8, 3, 3)), "int_wide")
    assert not is_representable(drawn.values["x"], "tf32")


def test_bfloat16_graphs_hold_bfloat16():
    if "bf16" not in available_contracts():
        pytest.skip("this onnx has no operator set 22: pip install 'onnx>=1.17'")
    model = draw_model(Problem("bf16", (4,), (2, 8), (24, 8)), "normal")
    assert {value.type.tensor_type.elem_type for value in model.graph.input} == {onnx.TensorProto.BFLOAT16}
    assert draw(Problem("bf16", (4,), (2, 8), (24, 8)), "normal").feeds["x"].dtype == np.uint16


def test_e4m3_has_four_bits_saturates_and_keeps_special_values():
    values = np.array([17.0, 18.0, 19.0, 1000.0, -1000.0, 2.0**-9, 2.0**-11, np.inf, np.nan, 0.0])
    want = [16.0, 18.0, 20.0, 448.0, -448.0, 2.0**-9, 0.0, np.inf, np.nan, 0.0]
    assert np.array_equal(round_e4m3(values), want, equal_nan=True)
