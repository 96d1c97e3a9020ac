"""Each rule of the lint has a planted defect that it and only it tells of, and a sound neighbour on which all are silent."""

from __future__ import annotations

import pytest

from pytest_trt.hardware import get
from pytest_trt.lint import RULES, SEVERITIES, lint
from tests.unit.lint.models import NEGATIVE, POSITIVE

T4 = get("t4")
SEVERITY = {
    "prelu-uniform": "warning",
    "prelu-per-channel": "advice",
    "channels-off-multiple": "advice",
    "noop": "warning",
    "transpose-pair": "advice",
    "batch-norm-unfolded": "advice",
    "bias-apart": "advice",
    "dynamic-axis": "advice",
    "wide-input": "advice",
    "weights-beside": "advice",
    "qdq-integer-operator": "error",
    "qdq-unpaired": "error",
    "qdq-zero-point": "error",
    "qdq-unsigned": "error",
    "qdq-weight-scale": "error",
    "qdq-before-fusion": "advice",
}


def test_every_rule_has_a_defect_and_a_sound_neighbour() -> None:
    assert len(RULES) > 20
    assert set(POSITIVE) == set(NEGATIVE) == set(RULES)


@pytest.mark.parametrize("rule", POSITIVE)
def test_one_rule_tells_of_the_defect(rule: str) -> None:
    found = lint(POSITIVE[rule](), gpu=T4, precisions=["fp16", "int8"])
    assert {advice.rule for advice in found} == {rule}
    advice = found[0]
    assert advice.severity == SEVERITY.get(rule, "warning") and advice.severity in SEVERITIES
    assert advice.what and advice.why and advice.mend
    assert (
        "\n" not in advice.what + advice.why + advice.mend
        and "{" not in advice.what + advice.why + advice.mend
    )
    assert advice.node or advice.tensor or rule in ("opset-old", "weights-beside")


@pytest.mark.parametrize("rule", NEGATIVE)
def test_every_rule_is_silent_about_the_sound_neighbour(rule: str) -> None:
    assert lint(NEGATIVE[rule](), gpu=T4, precisions=["fp16", "int8"]) == ()
