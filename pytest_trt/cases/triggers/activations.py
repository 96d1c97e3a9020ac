"""Bugs of activations behind products."""

from __future__ import annotations

from pytest_trt.cases.triggers.nets import integers
from pytest_trt.cases.triggers.registry import trigger
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.strategies import Case


@trigger("B01", precisions="fp32 fp16", faults="clip_upper_dropped")
def clip_keeps_its_upper_bound(trial: Trial) -> None:
    """MatMul, Add and Clip(0, max): no value is larger than max."""
    case = Case.parse("matmul_add_clip-n4-c64-o32-k1-lo0-hi6-w_int-s1")
    trial.check(case.model(), {name: integers(shape, 8, 1) for name, shape in case.input_shapes.items()})
    trial.check(case.model(), profile=case.profile, shapes=case.input_shapes, label=case.text)
