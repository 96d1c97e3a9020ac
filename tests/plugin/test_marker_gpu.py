"""`gpu(*classes, min_sm=None, max_sm=None)`: tests of other classes are not applicable."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Trt


@pytest.mark.parametrize(
    ("arguments", "gpu", "runs"),
    [
        ("'t4'", "t4", True),
        ("'T4', 'a10'", "a10", True),
        ("'a100'", "t4", False),
        ("min_sm=75", "t4", True),
        ("min_sm=80", "t4", False),
        ("max_sm=75", "a10", False),
        ("'sm86'", "a10", True),
        ("'t4', min_sm=80", "t4", False),
        ("", "t4", True),
    ],
)
def test_admits(trt: Trt, arguments: str, gpu: str, runs: bool) -> None:
    trt.tests(f"import pytest\n@pytest.mark.gpu({arguments})\ndef test_a(): pass")
    result = trt.run(f"--gpu={gpu}")
    result.assert_outcomes(passed=int(runs), deselected=int(not runs))
    if not runs:
        result.stdout.fnmatch_lines([f"not applicable on {gpu}: marker gpu names others: 1 test"])


def test_every_marker_has_to_admit(trt: Trt) -> None:
    trt.tests("""
        import pytest
        pytestmark = pytest.mark.gpu(min_sm=80)
        @pytest.mark.gpu("t4", "a10")
        def test_a(): pass
    """)
    trt.run("--gpu=a10").assert_outcomes(passed=1)
    trt.run("--gpu=t4").assert_outcomes(deselected=1)
    trt.run("--gpu=a100").assert_outcomes(deselected=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("'a1000'", "unknown GPU class 'a1000'"),
        ("75", "75 is no GPU class"),
        ("min_sm='7.5'", "min_sm='7.5' is no compute capability"),
        ("min=75", "unknown argument 'min'"),
    ],
)
def test_wrong_arguments(trt: Trt, arguments: str, words: str) -> None:
    trt.tests(f"import pytest\n@pytest.mark.gpu({arguments})\ndef test_a(): pass")
    told = trt.refusal()
    assert f"marker gpu({arguments}): {words}" in told
    assert "mend   write gpu(*classes, min_sm=None, max_sm=None)" in told or "did you mean" in told
    assert "auto" not in told, "a marker has no auto"
