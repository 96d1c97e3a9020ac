"""Weak typing with an order for every layer: what a free builder may do is wrong there."""

from __future__ import annotations

import pytest

from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import FallbackWarning
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from pytest_trt.strategies import corners
from tests.bite.checking import checked

CASE = corners("motif")[0]
SUM = next(
    case for case in corners("elementwise") if case.text.startswith("add")
)  # no constants: one value is right


def bench(constraints, *faults, typing="weak", emulate="tensorrt-10.13"):
    shipped = tuple(f"pytest_trt.emulator.faults:{name}" for name in faults)
    made = Settings(
        runtime="emulator",
        gpu="t4",
        emulate=emulate,
        typing=typing,
        constraints=constraints,
        faults=shipped,
    )
    return Workbench(made, discover(made))


@pytest.mark.parametrize("constraints", ["off", "prefer", "obey"])
@pytest.mark.parametrize("emulate", ["tensorrt-8.6.1", "tensorrt-10.13"])
def test_an_honest_engine_conforms(constraints, emulate):
    assert not checked(bench(constraints, emulate=emulate), CASE, "fp16")


@pytest.mark.filterwarnings("ignore::pytest_trt.errors.FallbackWarning")
@pytest.mark.parametrize(("constraints", "want"), [("off", False), ("prefer", False), ("obey", True)])
def test_a_layer_in_float32_is_wrong_where_the_order_binds(constraints, want):
    found = checked(bench(constraints, "one_layer_stays_fp32"), CASE, "fp16")
    assert ("precision" in found) == want


def test_a_free_builder_that_chose_float32_throughout_is_a_warning():
    with pytest.warns(FallbackWarning, match="fell back entirely"):
        checked(bench("off", "one_layer_stays_fp32"), CASE, "fp16")


@pytest.mark.parametrize(("constraints", "want"), [("off", False), ("obey", True)])
def test_the_numbers_tell_what_the_layer_list_hides(constraints, want):
    found = checked(bench(constraints, "layer_list_of_what_did_not_run"), SUM, "fp16")
    assert bool(found & {"interval", "certificate"}) == want
