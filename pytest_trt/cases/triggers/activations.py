"""Bugs of activations behind products."""

from __future__ import annotations

import numpy as np

from pytest_trt.cases.triggers.registry import trigger
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.strategies import Case


@trigger("B01", precisions="fp32 fp16", faults="clip_upper_dropped")
def clip_keeps_its_upper_bound(trial: Trial) -> None:
    """MatMul, Add and Clip(0, max): no value is larger than max."""
    case = Case.parse("matmul_add_clip-n4-c64-o32-k1-lo0-hi6-w_int-s1")
    rng = np.random.default_rng(1)
    shape = next(iter(case.input_shapes.values()))
    trial.check(
        case.model(), {name: rng.integers(-8, 9, shape).astype(np.float32) for name in case.input_shapes}
    )
    trial.check(case.model(), profile=case.profile, shapes=case.input_shapes, label=case.text)
