"""Under pytest-xdist: the same results, line and summary; in workers and with the plugin blocked."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt.xdist import choose_gpu, set_gpu
from tests.plugin.conftest import Trt

pytest.importorskip("xdist")

TESTS = """
    import pytest
    def test_a(trt_check): trt_check(b"m")
    def test_b(trt_builder): pass
    @pytest.mark.gpu("a100")
    def test_c(): pass
    @pytest.mark.trt_precision("fp16")
    def test_d(trt_precision): pass
    def test_e(trt_settings): print(f"SEED {trt_settings.seed} END")
"""
XDIST = ("-p", "trt", "-p", "xdist.plugin")


def test_two_workers_tell_what_one_process_tells(trt: Trt) -> None:
    trt.tests(TESTS)
    wanted = [
        "test_it.py::test_a  int8            1  conforms     1,000       25 %",
        "deselected, no precision of the test was asked for: 1 test",
        "not applicable on t4: bf16 has no tensor-core or native path: 1 test",
        "not applicable on t4: marker gpu names others: 1 test",
        "skipped for lack of build, 1 test: *",
    ]
    for args in (("-n2", *XDIST), ("-n0", *XDIST), ("-p", "trt")):
        result = trt.run_apart(*args, "--trt-precision=int8,bf16")
        assert result.parseoutcomes()["passed"] == 2
        assert result.parseoutcomes()["skipped"] == 1
        result.stdout.fnmatch_lines(
            ["trt: emulator (tensorrt-10.13.3.9) on cpu as t4 (sm_75); int8 bf16; *", *wanted]
        )
        assert result.outlines.count(next(line for line in result.outlines if line.startswith("trt: "))) == 1


def test_without_an_option_the_line_heads_the_summary(trt: Trt) -> None:
    trt.tests(TESTS)
    result = trt.run_apart("-n2", *XDIST)
    result.stdout.fnmatch_lines(["*= TensorRT conformance =*", "trt: emulator (*", "test * precision *"])


def test_workers_share_a_random_seed(trt: Trt) -> None:
    trt.tests("""
        import pytest
        @pytest.mark.parametrize("n", range(4))
        def test_a(trt_settings, record_property, n): record_property("trt_support", ["f", "int8", "t4", str(trt_settings.seed)])
    """)
    result = trt.run_apart("-n2", *XDIST, "--trt-seed=random")
    result.assert_outcomes(passed=4)
    line = next(line for line in result.outlines if line.startswith("trt: "))
    result.stdout.fnmatch_lines([f"*{line.split()[-1]} 4"])


def test_wrong_markers_are_told_by_name(trt: Trt) -> None:
    trt.tests("import pytest\n@pytest.mark.gpu('a100', ram=3)\ndef test_a(): pass")
    result = trt.run_apart("-n2", *XDIST)
    assert result.ret != 0
    result.stdout.fnmatch_lines(["test_it.py::test_a: marker gpu('a100', ram=3): unknown argument 'ram'"])
    assert "INTERNALERROR" not in result.stdout.str()


def test_an_unknown_precision_of_a_test_is_told_by_name(trt: Trt) -> None:
    trt.tests("""
        import pytest
        @pytest.mark.parametrize("trt_precision", ["fp16", "fp15"])
        def test_a(trt_precision): pass
    """)
    result = trt.run_apart("-n2", *XDIST)
    assert result.ret not in (0, pytest.ExitCode.INTERNAL_ERROR)
    assert "test_it.py::test_a: trt_precision 'fp15' is unknown" in result.stdout.str()


def test_what_cannot_be_had_is_told_before_workers_start(trt: Trt) -> None:
    trt.have("absent")
    trt.tests(TESTS)
    result = trt.run_apart("-n2", *XDIST, "--trt-runtime=tensorrt")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: TensorRT is not usable: ImportError: libnvinfer.so.10*"])


def test_what_cannot_be_had_by_an_ini_key_fails_its_users(trt: Trt) -> None:
    trt.have("absent")
    trt.ini("trt_runtime = tensorrt")
    trt.tests("def test_a(trt_runtime): pass\ndef test_b(): pass")
    result = trt.run_apart("-n2", *XDIST)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["trt: TensorRT is not usable: ImportError: libnvinfer.so.10*"])


def test_xdist_blocked(trt: Trt) -> None:
    trt.tests(TESTS)
    trt.run_apart("-p", "trt", "-p", "no:xdist", "--trt-precision=int8").assert_outcomes(
        passed=2, skipped=1, deselected=2
    )


@pytest.mark.parametrize(
    ("worker", "visible", "nodes", "chosen"),
    [
        ("gw0", None, 2, "0"),
        ("gw3", None, 2, "1"),
        ("gw1", "4,7", 8, "7"),
        ("gw2", "GPU-a, GPU-b", 8, "GPU-a"),
        ("gw1", "5", 8, None),
        ("gw1", "", 8, None),
        ("gw1", None, 1, None),
        ("gw1", None, 0, None),
        ("main", None, 4, None),
    ],
)
def test_choose_gpu(worker: str, visible: str | None, nodes: int, chosen: str | None) -> None:
    assert choose_gpu(worker, visible, nodes) == chosen


def test_set_gpu_counts_device_nodes(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    environ: dict[str, str] = {}
    set_gpu("gw1", environ, tmp_path)
    assert environ == {"CUDA_VISIBLE_DEVICES": "1"}


@pytest.mark.parametrize(("option", "seen"), [("--trt-seed=1", {"7", "9"}), ("--verbose", {"7,9"})])
def test_workers_get_a_gpu_each_before_conftests_load(trt: Trt, option: str, seen: set[str]) -> None:
    """Only where an option of ours is given: the workers of other projects keep what they have."""
    trt.monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,9")
    trt.monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    path = trt.pytester.path / "conftest.py"
    path.write_text("import os\nVISIBLE = os.environ['CUDA_VISIBLE_DEVICES']\n" + path.read_text())
    trt.tests("""
        import pytest
        @pytest.mark.parametrize("n", range(8))
        def test_a(n):
            import conftest, os
            open(f"seen-{os.getpid()}", "w").write(conftest.VISIBLE)
    """)
    trt.run_apart("-n2", option).assert_outcomes(passed=8)
    assert {path.read_text() for path in trt.pytester.path.glob("seen-*")} == seen
