"""For every check of a deep network a subject that only that check catches."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.check import tell
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import ConformanceError
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from tests.unit.check.deep_models import PROFILE, SHAPE, deep_model

# A TensorRT that cannot show tensors between layers: marked outputs and the logits are all that is seen.
BLIND = "tensorrt-10.0"


def bench(fault="", emulate="tensorrt-10.13"):
    faults = (f"tests.bite.deep_faults:{fault}",) if fault else ()
    made = Settings(runtime="emulator", gpu="a100", emulate=emulate, faults=faults)
    return Workbench(made, discover(made))


def judge(fault="", precision="fp16", data=("uniform11",), inputs=None, emulate="tensorrt-10.13"):
    made = bench(fault, emulate)
    return made.judge(deep_model(), inputs, precision=precision, profile=PROFILE, data=data)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16", "int8"])
def test_an_honest_deep_network_conforms(precision):
    verdict = judge(precision=precision, data=("uniform11", "normal", "int_small"))
    assert verdict.status.startswith("conforms") and not verdict.findings


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_fault_of_the_plain_engine_alone_is_seen_end_to_end(precision):
    verdict = judge("only_the_plain_engine", precision, emulate=BLIND)
    assert [found.check for found in verdict.findings] == ["end-to-end"]
    assert verdict.status == "suspicious"
    found = verdict.findings[0]
    assert found.fits[0].startswith("scaled: got = 1.0") and found.sources[0][0] == "12 standard deviations"
    assert found.low < found.want < found.high < found.got or found.got < found.low
    with pytest.raises(ConformanceError, match="suspicious: end-to-end"):
        bench("only_the_plain_engine", BLIND).check(
            deep_model(), precision=precision, profile=PROFILE, data=("uniform11",), drawn=True
        )


@pytest.mark.parametrize(("precision", "tensor"), [("fp16", "r3"), ("fp32", "r3"), ("int8", "r3_q")])
def test_the_first_wrong_layer_is_named_and_explained(precision, tensor):
    verdict = judge("bias_left_out", precision)
    first = verdict.findings[0]
    assert (first.tensor, first.status) == (tensor, "violates") and first.layer
    assert first.axes == ("N", "C", "H", "W") and first.fits == ("bias left out",)
    assert "wrong layer 1 of 1 in graph order" in first.note and "Relu <- Conv" in first.rule
    assert first.rule.endswith("K = 108")
    text = str(tell.failure(verdict, "pytest suites"))
    assert text.startswith(f"layer {first.layer!r}, tensor {tensor!r}: ")
    assert "  fits   bias left out\n" in text and len(text.splitlines()) <= 10


@pytest.mark.parametrize(("fault", "check"), [("head_strays", "statistics"), ("head_noisy", "slices")])
def test_errors_of_a_layer_inside_its_hard_limit_are_suspicious(fault, check):
    x = np.random.default_rng(0).uniform(-1, 1, SHAPE).astype(np.float32)
    verdict = judge(fault, "fp32", inputs={"x": x})
    assert [(f.check, f.status, f.layer) for f in verdict.findings] == [(check, "suspicious", "head")]
    assert judge(precision="fp32", inputs={"x": x}).status == "conforms"


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_layer_that_is_wrong_in_the_plain_engine_alone_is_seen_where_tensors_are_shown(precision):
    found = judge("plain_layer_scaled", precision).findings[0]
    assert (found.tensor, found.layer, found.status) == ("r3", "relu3", "violates")
    blind = judge("plain_layer_scaled", precision, emulate=BLIND)
    assert "relu3" not in {other.layer for other in blind.findings}
