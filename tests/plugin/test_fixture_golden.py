"""The fixture `trt_golden`: what it compares, when it skips, fails or refuses, and what the summary tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt.golden.store import open_store
from tests.plugin.conftest import Trt
from tests.plugin.golden_model import FAULTS, MACHINE, MODEL, TESTS


def run(trt: Trt, *options: str, body: str | None = None, precision: str = "fp32") -> pytest.RunResult:
    trt.tests(TESTS if body is None else MODEL + body)
    return trt.run(*MACHINE, f"--trt-precision={precision}", *options)


def keys(trt: Trt, folder: str = "golden") -> list[str]:
    kept = open_store(trt.pytester.path / folder).keys()
    return [key.title for key in kept]


def test_missing_goldens_skip_and_say_how_to_record(bare_trt: Trt) -> None:
    result = run(bare_trt, "-rs")
    result.assert_outcomes(skipped=2)
    text = " ".join(result.stdout.str().split())
    assert "SKIPPED [1] test_it.py" in text and "to get it: record it: --trt-golden=record" in text
    assert "skipped for lack of golden, 1 test: no golden of emulator+tensorrt-10.13." in text
    result.stdout.fnmatch_lines(["*not applicable: no golden of this processor*--trt-golden=update=new"])
    assert not (bare_trt.pytester.path / "golden").exists()


def test_missing_goldens_fail_where_they_are_required(bare_trt: Trt) -> None:
    result = run(bare_trt, "--trt-require=golden")
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*--trt-require=golden is not met: no golden of emulator+*"])


def test_switched_off(bare_trt: Trt) -> None:
    assert run(bare_trt, "--trt-golden=off", "-rs").parseoutcomes() == {"skipped": 2}
    result = run(bare_trt, "--trt-golden=off", "--trt-require=golden")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*goldens are switched off by --trt-golden=off*"])


def test_a_golden_of_another_version_is_offered(bare_trt: Trt) -> None:
    run(bare_trt, "--trt-golden=record").assert_outcomes(passed=2)
    result = run(bare_trt, "--trt-emulate=tensorrt-11.4", "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(
        ["*or compare with another version's: --trt-golden-from=emulator+tensorrt-10.13.*"]
    )
    result = run(bare_trt, "--trt-emulate=tensorrt-11.4", "--trt-golden-from=emulator+tensorrt-10.13")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["Goldens of emulator+tensorrt-10.13 in *:*", "  2 identical"])


def test_what_is_exact_is_kept_for_every_machine(bare_trt: Trt) -> None:
    run(bare_trt, "--trt-golden=record", "--trt-golden-dir=there").assert_outcomes(passed=2)
    real, whole = keys(bare_trt, "there")
    assert "whole (fp32, t4, emulator+tensorrt-10.13." in whole and "+cpu-" not in whole
    assert real.startswith("real (fp32, t4, ") and "+cpu-" in real


def test_the_store_lies_beside_the_ini_file(bare_trt: Trt) -> None:
    bare_trt.ini("")
    below = bare_trt.pytester.mkdir("below")
    (below / "test_it.py").write_text(TESTS)
    bare_trt.monkeypatch.chdir(below)
    bare_trt.run(*MACHINE, "--trt-precision=fp32", "--trt-golden=record").assert_outcomes(passed=2)
    assert len(keys(bare_trt)) == 2 and not (below / "golden").exists()


def test_a_zip_is_a_store(bare_trt: Trt) -> None:
    run(bare_trt, "--trt-golden=record", "--trt-golden-dir=g.zip").assert_outcomes(passed=2)
    assert (bare_trt.pytester.path / "g.zip").is_file()
    run(bare_trt, "--trt-golden-dir=g.zip").assert_outcomes(passed=2)


def test_outputs_of_a_session_are_held_against_the_model(bare_trt: Trt) -> None:
    body = """
def test_it(trt_golden, trt_session):
    with trt_session(gemm()) as session:
        outputs = session.run(REAL)
    assert trt_golden("mine", outputs, REAL, model=gemm()).outcome in ("missing", "identical")
    assert {one.key.case for one in trt_golden.comparisons} == {"mine"}
"""
    for mode in ("record", "check"):
        run(bare_trt, f"--trt-golden={mode}", body=body, precision="int8,fp16").assert_outcomes(passed=2)


def test_limits_of_ones_own(bare_trt: Trt) -> None:
    body = """
import os
Y = np.ones(8, np.float32)

def test_it(trt_golden):
    y = Y + float(os.environ["SHIFT"])
    trt_golden("mine", {"y": y}, limits={"y": (Y - 0.5, Y + 0.5)})
"""
    bare_trt.monkeypatch.setenv("SHIFT", "0")
    run(bare_trt, "--trt-golden=record", body=body).assert_outcomes(passed=1)
    bare_trt.monkeypatch.setenv("SHIFT", "1")
    result = run(bare_trt, body=body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*golden 'mine': regression: output 'y': 8 of 8 elements outside*"])


def test_without_a_reference_a_change_is_drift(bare_trt: Trt) -> None:
    body = """
import os
def test_it(trt_golden):
    trt_golden("mine", {"y": np.float32([1, 2]) + float(os.environ["SHIFT"])})
"""
    bare_trt.monkeypatch.setenv("SHIFT", "0")
    run(bare_trt, "--trt-golden=record", body=body).assert_outcomes(passed=1)
    bare_trt.monkeypatch.setenv("SHIFT", "1")
    result = run(bare_trt, body=body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*golden 'mine': drift: *without a reference (model=, inputs=)*"])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("trt_golden('a')", "there are no outputs, and no model with inputs to get them from"),
        ("trt_golden('a', {})", "outputs are a mapping of name to array"),
        ("trt_golden('a', np.ones(3))", "outputs are a mapping of name to array"),
        ("trt_golden('', {'y': np.ones(3)})", "a golden needs a name"),
        ("trt_golden('a', {'y': np.ones(3)}, limits={'y': 7})", "neither a Bound nor a pair"),
        ("trt_golden('a', {'y': np.array(['b'])})", "which a golden cannot hold"),
        (
            "trt_golden('a', {'y': np.ones(3)}, {'x': 1}), trt_golden('a', {'y': np.ones(3)}, {'x': 2})",
            "test_it.py::test_it[[]fp32[]] twice, with other inputs",
        ),
    ],
)
def test_wrong_use(bare_trt: Trt, call: str, words: str) -> None:
    result = run(bare_trt, "--trt-golden=record", body=f"\ndef test_it(trt_golden):\n    {call}\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{words}*"])


def test_two_tests_with_one_name(bare_trt: Trt) -> None:
    body = """
def test_a(trt_golden):
    trt_golden("same", model=gemm(), inputs=WHOLE)

def test_b(trt_golden):
    trt_golden("same", model=gemm(), inputs=WHOLE)
"""
    result = run(bare_trt, "--trt-golden=record", body=body)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*asked for by test_it.py::test_a[[]fp32[]] and by test_it.py::test_b[[]fp32[]]*"]
    )


def test_two_tests_with_one_name_in_two_processes(bare_trt: Trt) -> None:
    """No process sees both: the controller does, and fails the session."""
    pytest.importorskip("xdist")
    body = """
def test_a(trt_golden):
    trt_golden("same", model=gemm(), inputs=WHOLE)
"""
    bare_trt.tests(MODEL + body, test_other=MODEL + body)
    apart = ("-p", "trt", "-p", "xdist", "-n2", "--dist=loadfile", "--trt-precision=fp32", *MACHINE)
    result = bare_trt.run_apart(*apart, "--trt-golden=record")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["problem: golden same (fp32, *) is asked for by test_*.py::test_a* and by test_*"]
    )


def test_another_model_makes_the_golden_unusable(bare_trt: Trt) -> None:
    body = "\ndef test_it(trt_golden):\n    trt_golden('a', model=gemm({}), inputs=WHOLE)\n"
    run(bare_trt, "--trt-golden=record", body=body.format(0)).assert_outcomes(passed=1)
    result = run(bare_trt, body=body.format(12))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*golden 'a': the golden cannot be used: *recorded with another model*"])
    run(bare_trt, "--trt-golden=update=changed", body=body.format(12)).assert_outcomes(passed=1)
    run(bare_trt, body=body.format(12)).assert_outcomes(passed=1)


def test_hybrid_int8_has_a_key_of_its_own(bare_trt: Trt) -> None:
    run(bare_trt, "--trt-golden=record", "--trt-hybrid=fp16", precision="int8").assert_outcomes(passed=2)
    assert all("(int8+fp16, t4" in title for title in keys(bare_trt))


@pytest.mark.parametrize(
    ("option", "precision"),
    [
        ("--trt-int8=implicit", "int8+implicit"),
        ("--trt-typing=weak", "int8+weak"),
        ("--trt-constraints=obey", "int8+obey"),
        ("--trt-rewriter=onnxruntime", "int8+onnxruntime"),
    ],
)
def test_what_makes_another_graph_has_a_key_of_its_own(bare_trt: Trt, option: str, precision: str) -> None:
    one = TESTS.replace('["whole", "real"]', '["whole"]').removeprefix(MODEL)
    run(bare_trt, "--trt-golden=record", option, body=one, precision="int8").assert_outcomes(passed=1)
    assert [title.partition(",")[0] for title in keys(bare_trt)] == [f"whole ({precision}"]


def test_int8_does_not_depend_on_the_seed(bare_trt: Trt) -> None:
    """Scales of inner tensors come from the inputs, and not from what is drawn."""
    body = """
def test_it(trt_golden):
    trt_golden("deep", model=gemm(deep=True), inputs=REAL)
"""
    run(bare_trt, "--trt-golden=record", body=body, precision="int8").assert_outcomes(passed=1)
    result = run(bare_trt, "--trt-seed=7", body=body, precision="int8")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["  1 identical"])


def test_what_was_recorded_outside_of_its_limits_is_told_and_never_passes(bare_trt: Trt) -> None:
    wrong = FAULTS + "last_input_channel_dropped"
    result = run(bare_trt, "--trt-golden=record", wrong)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*written although outside of their limits*"])
    result = run(bare_trt, wrong)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*already wrong*when the golden was recorded*"])


def test_unused_and_strange_files_are_told_where_the_whole_file_ran(bare_trt: Trt) -> None:
    run(bare_trt, "--trt-golden=record").assert_outcomes(passed=2)
    one = TESTS.replace('["whole", "real"]', '["whole"]').removeprefix(MODEL)
    folder = Path(bare_trt.pytester.path / "golden")
    (folder / "whole" / "notes.txt").write_text("")
    for options in (
        ("-k", "whole"),
        ("test_it.py::test_it",),
        ("--trt-golden-from=emulator+tensorrt-10.13",),
    ):
        result = run(bare_trt, *options, body=one)
        result.assert_outcomes(passed=1)
        assert "unused, no test" not in result.stdout.str()
    result = run(bare_trt, body=one)
    result.stdout.fnmatch_lines(
        [
            "*unused, no test asks for them: real (fp32, t4, *+cpu-*); to remove*",
            "*them: python -m pytest_trt golden prune --yes",
            "*wrong in the store: whole/notes.txt: unknown file*",
        ]
    )
    run(bare_trt, body=one, precision="fp16")  # says nothing of float32
    pruned = bare_trt.pytester.run(*_python(), "-m", "pytest_trt", "golden", "prune", "--yes")
    pruned.stdout.fnmatch_lines(["unused: real (fp32, t4, *", "removed 1 goldens and 0 files"])
    assert len(keys(bare_trt)) == 1


def _python() -> tuple[str, ...]:
    import sys

    return (sys.executable,)


def test_a_test_that_skips_leaves_its_golden_used(bare_trt: Trt) -> None:
    run(bare_trt, "--trt-golden=record").assert_outcomes(passed=2)
    body = TESTS.removeprefix(MODEL).replace(
        "    trt_golden", "    kind == 'real' and pytest.skip('no')\n    trt_golden"
    )
    result = run(bare_trt, body=body)
    result.assert_outcomes(passed=1, skipped=1)
    assert "unused, no test" not in result.stdout.str()


def test_nothing_is_told_of_goldens_where_none_was_asked_for(bare_trt: Trt) -> None:
    result = run(bare_trt, body="\ndef test_it(trt_session):\n    pass\n")
    assert "Goldens of" not in result.stdout.str()


def test_goldens_made_elsewhere_are_held(bare_trt: Trt) -> None:
    body = """
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import BUILD, Golden

def test_it(trt_golden, trt_settings):
    golden = Golden(Key("b", "fp32", "t4", "tensorrt_rtx-1.7.1.116"), BUILD, {}, {"outcome": "built"})
    found = trt_golden.hold(golden)
    assert found.outcome == ("missing" if trt_settings.golden == "record" else "identical")
"""
    run(bare_trt, body=body).assert_outcomes(skipped=1)
    run(bare_trt, "--trt-golden=record", body=body).assert_outcomes(passed=1)
    run(bare_trt, body=body).assert_outcomes(passed=1)
