"""Bugs of refitted engines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from pytest_trt.cases.triggers.registry import trigger
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.check.rebuild import check_refit, why_no_refit
from pytest_trt.check.relations import Base, Broken
from pytest_trt.check.subject import Subject
from pytest_trt.strategies import Case

CASES = (
    "conv2d-n2-c9-o17-i7x6-k3x3-t1x1-p0x1x2x0-d1x1-g1-b1-w_int-s1",
    "conv_bn_relu-n2-c8-o17-i5x4-k3-lo0-hi1-w_real-s1",
    "matmul_add_clip-n9-c33-o17-k1-lo0-hi6-w_int-s6",
)
FAULTS = "refit_permutes_weights refit_ignored refit_gives_nan_in_fp16 refit_fails"


@trigger("B47", precisions="fp32 fp16", faults=FAULTS)
def a_refit_changes_the_weights_and_nothing_else(trial: Trial) -> None:
    """A refit with the same weights changes nothing, and with others gives what an engine gives that was built with them."""
    for text in CASES:
        case = Case.parse(text)
        relations = partial(_refitted, trial)
        trial.relate(
            case.model(), relations, ("int_small", "uniform11"), shapes=case.input_shapes, label=text
        )


def _refitted(trial: Trial, subject: Subject, bases: Sequence[Base]) -> Iterator[tuple[str, Broken | None]]:
    lacking = why_no_refit(subject)
    if lacking:
        trial.skip(lacking)
    yield from check_refit(subject, bases)
