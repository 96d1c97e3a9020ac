"""What only a check of implicit INT8 sees: a table that is not the data's, and an engine that is not the table's."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.check.workbench import Workbench
from pytest_trt.emulator import faults
from pytest_trt.errors import ConformanceError, UnsupportedError
from pytest_trt.precision.calibration import Calibration
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from pytest_trt.strategies import Case, corners
from tests.bite.checking import checked

CHAIN = Case.parse("conv_bn_relu-n2-c8-o17-i5x4-k3-lo0-hi1-w_real-s1")
RESIDUAL = next(case for case in corners("motif") if case.text.startswith("conv_add_relu"))
NUMBERS = {"interval", "certificate"}


def bench(*names, emulate="tensorrt-10.13", **options):
    shipped = tuple(f"pytest_trt.emulator.faults:{name}" for name in names)
    made = Settings(runtime="emulator", gpu="t4", emulate=emulate, int8="implicit", faults=shipped, **options)
    return Workbench(made, discover(made))


@pytest.mark.parametrize("emulate", ["tensorrt-8.6.1", "tensorrt-10.0.1", "tensorrt-10.13", "tensorrt-10.16"])
@pytest.mark.parametrize("case", [CHAIN, RESIDUAL], ids=["chain", "residual"])
def test_honest_calibration_conforms(emulate, case):
    assert not checked(bench(emulate=emulate), case, "int8")


def test_a_tensor_that_is_always_zero_needs_no_scale():
    case = Case.parse(
        "depthwise_separable-n1-c1-o1-i1x1-k1-lo0-hi1-w_int-s1"
    )  # its ReLU lets nothing through
    assert not checked(bench(), case, "int8")


@pytest.mark.parametrize("emulate", ["tensorrt-11.0", "tensorrt-11.4", "tensorrt_rtx-1.7"])
def test_a_version_without_calibrators_says_so(emulate):
    with pytest.raises(UnsupportedError, match="no implicit INT8") as caught:
        bench(emulate=emulate).check(CHAIN.model(), precision="int8", shapes=CHAIN.input_shapes)
    assert "explicit" in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "checks"),
    [
        ("calibration_25_percent_off", {"calibration-table"}),
        ("calibration_halved", {"calibration-table"}),
        ("calibration_permuted", {"calibration-table"}),
        ("calibration_of_one_tensor_stale", {"calibration-table"}),
        ("engine_ignores_calibration", NUMBERS),
        ("int8_scale_of_neighbour_channel", NUMBERS),
        ("per_tensor_scale_where_per_channel", NUMBERS),
        ("bias_not_rescaled", NUMBERS),
        ("int16_saturating_pairs", NUMBERS),
        ("engine_stays_fp32", {"precision"}),
        ("one_scale_missing", {"precision"}),
    ],
)
def test_a_fault_is_caught(fault, checks):
    assert fault in faults.FAULTS
    assert checked(bench(fault), CHAIN, "int8") & checks


TWO = Case.parse("depthwise_separable-n2-c16-o9-i5x5-k3-lo0-hi1-w_grid-s4")


@pytest.mark.parametrize(("constraints", "want"), [("off", False), ("obey", True)])
def test_a_layer_that_was_ordered_into_int8_is_in_it(constraints, want):
    """A builder that is free to choose may leave one of two layers in float32."""
    assert not checked(bench(constraints=constraints), TWO, "int8")
    assert ("precision" in checked(bench("one_scale_missing", constraints=constraints), TWO, "int8")) == want


def network(width):
    """A convolution with its Clip."""
    case = Case.parse(f"conv_clip-n4-c{width}-o{width}-i6x6-k3-lo0-hi6-w_real-s3")
    return case.model(), case.input_shapes


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_every_method_conforms_on_the_callers_data(method):
    model, shapes = network(4)
    rng = np.random.default_rng(5)
    batches = [{"x": rng.standard_normal(shapes["x"]).astype(np.float32)} for _ in range(3)]
    verdict = bench().check(
        model, {"x": batches[0]["x"]}, precision="int8", calibration=Calibration(iter(batches), method)
    )
    assert verdict.passed and verdict.provenance["calibration"]["method"] == method
    assert verdict.provenance["calibration"]["batches"] == 3
    assert {"x"} <= verdict.provenance["scales"].keys()


def test_batches_beyond_the_first_count():
    model, shapes = network(4)
    rng = np.random.default_rng(5)
    batches = [{"x": (k * rng.standard_normal(shapes["x"])).astype(np.float32)} for k in (1, 2, 3)]
    with pytest.raises(ConformanceError, match="calibration-table"):
        bench("batches_beyond_first_ignored").check(
            model, {"x": batches[0]["x"]}, precision="int8", calibration=batches
        )
