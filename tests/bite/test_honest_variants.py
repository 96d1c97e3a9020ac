"""Other correct kernels move bits where they claim to, leave exact results alone, and pass every check."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from onnx import helper

from pytest_trt import strategies
from pytest_trt.bite.pairs import Bench
from pytest_trt.bite.problems import Problem
from pytest_trt.check.workbench import Workbench
from pytest_trt.emulator import faults
from pytest_trt.numerics.battery import kinds_for
from pytest_trt.records import BATTERIES, RUNGS, Settings
from pytest_trt.runtime.load import discover

from ..unit.emulator.driver import Driver, sample
from ..unit.emulator.models import make

HONEST = faults.HONEST
RUNTIME = ("fp32", "tf32", "fp16", "bf16", "int8")
FLAGS = {"fp32": (), "tf32": ("TF32",), "fp16": ("FP16",), "bf16": ("BF16",), "int8": ()}

# A GPU that may have any tensor core: none was modelled for it.
ANY_GPU = "sm86"

# Where a variant is no kernel of products: the node that it computes.
NODES = {
    "average_by_reciprocal": ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2]}),
    "sigmoid_through_tanh": ("Sigmoid", {}),
    "softmax_reversed": ("Softmax", {"axis": -1}),
    "maximum_without_nan": ("Relu", {}),
    "zeros_negative": ("Relu", {}),
}
# How a contract runs in the emulator, which offers no FP16 accumulators and no FP8.
RUNS_AS = {"fp16acc": "fp16", "fp8": "fp16"}


def product_model():
    """1 x 1 convolution of 300 terms: long enough that every order of summation shows."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.standard_normal((40, 300, 1, 1)).astype("f4"),
        "b": rng.standard_normal(40).astype("f4"),
    }
    return make(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"])], {"x": ["N", 300, 1, 1]}, {"y": None}, constants
    )


def residual_model():
    rng = np.random.default_rng(3)
    constants = {
        "w": rng.standard_normal((6, 6, 3, 3)).astype("f4"),
        "b": rng.standard_normal(6).astype("f4"),
    }
    nodes = [
        helper.make_node("Conv", ["x", *constants], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "x"], ["a"], name="add"),
        helper.make_node("Relu", ["a"], ["y"], name="relu"),
    ]
    return make(nodes, {"x": ["N", 6, 6, 6]}, {"y": None}, constants)


def norm_model():
    rng = np.random.default_rng(4)
    constants = {name: rng.uniform(0.5, 2, 24).astype("f4") for name in ("scale", "shift", "mean", "var")}
    node = helper.make_node("BatchNormalization", ["x", *constants], ["y"])
    return make([node], {"x": ["N", 24, 6, 6]}, {"y": None}, constants)


def tie_model(scale, unit=1.0):
    """An INT8 product whose sums lie halfway between two levels of the output: the last bit before rounding decides."""
    weights = np.eye(6, dtype=np.int8).reshape(6, 6, 1, 1)
    bias = np.linspace(-7, 8, 6).round().astype("f4") * np.float32(scale if unit == 1.0 else unit**2)
    constants = {"sx": np.float32(unit), "sy": np.float32(scale), "z": np.int8(0), "sw": np.float32(unit)}
    constants |= {"w": weights, "b": bias}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "z"], ["xq"], name="qx"),
        helper.make_node("DequantizeLinear", ["xq", "sx", "z"], ["xd"], name="dqx"),
        helper.make_node("DequantizeLinear", ["w", "sw"], ["wd"], name="dqw"),
        helper.make_node("Conv", ["xd", "wd", "b"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("QuantizeLinear", ["r", "sy", "z"], ["yq"], name="qy"),
        helper.make_node("DequantizeLinear", ["yq", "sy", "z"], ["y"], name="dqy"),
    ]
    if unit != 1.0:
        nodes[3].output[0] = "y"
        del nodes[4:]
    return make(nodes, {"x": ["N", 6, 6, 6]}, {"y": None}, constants)


def subject(name):
    """Model and input on which a variant gives other bits."""
    if name == "requantised_by_both_scales":  # shows before the output is quantized
        return tie_model(14, unit=0.03), sample(2, shape=(6, 6, 6))
    if name.startswith("requantised"):
        return tie_model(14), np.resize(np.arange(-126, 127, 7), (2, 6, 6, 6)).astype("f4")
    x = sample(2, shape=(6, 6, 6))
    if name in NODES:
        op, attributes = NODES[name]
        x[0, 0, 0, 0] = np.nan if name == "maximum_without_nan" else 0.5
        return make([helper.make_node(op, ["x"], ["y"], **attributes)], {"x": ["N", 6, 6, 6]}, {"y": None}), x
    if name == "batch_norm_folded":
        return norm_model(), sample(2, shape=(24, 6, 6))
    if name.startswith(("winograd", "epilogue")):
        return residual_model(), x
    return product_model(), sample(200, shape=(300, 1, 1))


def outputs(model, precision, which, x):
    driver = Driver(gpu=ANY_GPU, faults=which)
    clear = () if precision == "tf32" else ("TF32",)
    engine = driver.engine(
        model, precision == "int8", flags=FLAGS[precision], clear=clear, profile={"x": (x.shape,) * 3}
    )
    return driver.run(engine.create_execution_context(), x=x)["y"]


@pytest.mark.parametrize("name", sorted(HONEST))
def test_a_variant_gives_other_bits(name):
    contracts = HONEST[name].contracts
    contract = next(kind for kind in (*RUNTIME, *RUNS_AS) if kind in contracts)
    model, x = subject(name)
    plain = outputs(model, RUNS_AS.get(contract, contract), (), x)
    other = outputs(model, RUNS_AS.get(contract, contract), (HONEST[name].call,), x)
    assert plain.shape == other.shape and plain.tobytes() != other.tobytes()


CONVS = {
    "winograd": Problem("", (1,), (2, 4, 6, 7), (5, 4, 3, 3), pads=(1, 0, 1, 2), residual=True, relu=True),
    "strided": Problem("", (2,), (2, 6, 9, 7), (8, 3, 3, 2), groups=2, strides=(2, 1), dilations=(1, 2)),
    "gemm": Problem("", (3,), (5, 150), (9, 150), relu=True),
}
# Where the corner cases of a family have what a variant computes otherwise; else convolutions in motifs.
FAMILIES = {
    "average_by_reciprocal": "pool",
    "maximum_without_nan": "pool",
    "sigmoid_through_tanh": "elementwise",
    "softmax_reversed": "elementwise",
}
PAIRS = sorted((name, contract) for name, entry in HONEST.items() for contract in entry.contracts)


@pytest.mark.parametrize(("name", "contract"), [pair for pair in PAIRS if pair[0] not in FAMILIES])
def test_a_variant_is_admitted_on_every_kind_of_data(name, contract):
    refused = []
    for made in CONVS.values():
        problem = replace(made, contract=contract)
        for kind in kinds_for(contract, BATTERIES["default"]):
            bench = bench_of(problem, kind)
            got = bench.run(HONEST[name])
            if got is not None and bench.refusals(got):
                refused.append(bench.explain(name, got))
    assert not refused


@cache
def bench_of(problem, kind):
    return Bench(problem, kind, RUNGS, peers=False)


@pytest.mark.parametrize(("name", "contract"), [pair for pair in PAIRS if HONEST[pair[0]].rung == "direct"])
def test_a_direct_variant_leaves_small_integers_alone(name, contract):
    for made in CONVS.values():
        problem = replace(made, contract=contract, dyadic=True)
        assert bench_of(problem, "int_small").run(HONEST[name]) is None


def passes(name, precision, family):
    """Return the verdicts that are no pass, of the family's corner cases."""
    own = f"pytest_trt.emulator.faults:{name}"
    made = Settings(
        runtime="emulator",
        gpu=ANY_GPU,
        faults=(own,),
        data=("uniform11", "tiny"),
        rungs=RUNGS,
        given=frozenset({"rungs"}),
    )
    bench, refused = Workbench(made, discover(made)), []

    @settings(deadline=None, database=None, phases=[Phase.explicit], suppress_health_check=list(HealthCheck))
    @strategies.with_corners(family)
    @given(case=getattr(strategies, f"{family}_cases")())
    def look(case):
        verdict = bench.judge(
            case.model(),
            precision=precision,
            profile=case.profile,
            shapes=case.input_shapes,
            label=case.text,
        )
        if not verdict.passed:
            refused.append((case.text, verdict.findings))

    look()
    return refused


@pytest.mark.parametrize(("name", "precision"), [pair for pair in PAIRS if pair[1] in RUNTIME])
def test_a_variant_passes_the_check(name, precision):
    family = FAMILIES.get(name, "motif" if HONEST[name].rung == "direct" else "conv")
    assert not passes(name, precision, family)
