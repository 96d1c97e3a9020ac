"""`--trt-seed`: all drawing is repeatable."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    check_precedence(trt, "--trt-seed", 0, (("7", 7), ("-3", -3), ("8", 8)))


def test_a_negative_seed_draws_data_of_its_own(bare_trt: Trt) -> None:
    bare_trt.tests("""
        from onnx import parser
        from pytest_trt.check import workbench
        MODEL = parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> n (float[4] x) => (float[4] y) { y = Relu (x) }')
        def test_a(trt_check, monkeypatch):
            draw, first = workbench.draw_feeds, []
            def spy(*args):
                first.append(draw(*args))
                return first[-1]
            monkeypatch.setattr(workbench, "draw_feeds", spy)
            trt_check(MODEL)
            print("DRAWN", first[0]["x"].tobytes().hex())
    """)
    seen = []
    for seed in ("-3", "3", "-3"):
        result = bare_trt.run_apart(
            "-p",
            "trt",
            "-s",
            f"--trt-seed={seed}",
            "--trt-precision=fp32",
            "--gpu=t4",
            "--trt-runtime=emulator",
        )
        result.assert_outcomes(passed=1)
        seen += [line for line in result.outlines if "DRAWN" in line]
    assert seen[0] == seen[2] != seen[1]


def test_unknown(trt: Trt) -> None:
    check_refusal(trt, "--trt-seed", "1.5", "an integer, or random")


def test_random_is_printed_and_repeats(trt: Trt) -> None:
    trt.tests("def test_a(trt_settings): print(f'SEED {trt_settings.seed} END')")
    result = trt.run("--trt-seed=random", "-s")
    printed = next(line for line in result.outlines if "SEED" in line).partition("SEED ")[2].split()[0]
    result.stdout.fnmatch_lines([f"trt: *seed {printed}"])
    assert trt.settings(f"--trt-seed={printed}")["seed"] == int(printed)
