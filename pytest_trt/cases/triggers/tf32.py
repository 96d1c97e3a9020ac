"""Bugs of TF32: products of fewer bits than were asked for."""

from __future__ import annotations

from pytest_trt.cases.triggers.registry import STAND_IN, trigger
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.strategies import Case

_CASES = (
    "matmul-n3-m8-k256-o31-i0-w_real-s4",
    "conv2d-n2-c33-o16-i6x6-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-w_real-s2",
)


@trigger("B51", precisions="fp32 tf32", fidelity=STAND_IN, faults="tf32_although_it_is_off")
def fp32_means_24_bits_where_tf32_is_off(trial: Trial) -> None:
    """Products of an engine that was built without TF32 have the accuracy of FP32; with it, that of TF32."""
    for text in _CASES:
        case = Case.parse(text)
        trial.check(
            case.model(),
            data=("uniform11", "normal"),
            shapes=case.input_shapes,
            profile=case.profile,
            label=case.text,
        )
